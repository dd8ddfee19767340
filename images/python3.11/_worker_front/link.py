"""Frames over the link to init (docs/protocol.md, "On the link")."""

import os

from _worker_front.events import header_bytes, read_json

LINK = 3


class Stop(Exception):
    """The link has ended, or init says stop."""


class Reader:
    """Frames from the link."""

    def __init__(self):
        self.buffer = bytearray()

    def take(self, count):
        buffer = self.buffer
        if len(buffer) < count:
            if count > 65536:
                return self.take_long(count)
            while len(buffer) < count:
                data = os.read(LINK, 65536)
                if not data:
                    raise Stop
                buffer += data
        taken = bytes(buffer[:count])
        del buffer[:count]
        return taken

    def take_long(self, count):
        whole = bytearray(count)
        have = len(self.buffer)
        whole[:have] = self.buffer
        self.buffer.clear()
        view = memoryview(whole)
        while have < count:
            got = os.readv(LINK, [view[have:]])
            if got == 0:
                raise Stop
            have += got
        return whole

    def waits(self, seconds):
        """Whether anything comes within the time."""
        import select

        return bool(self.buffer or select.select([LINK], [], [], seconds)[0])

    def frame(self):
        if not self.buffer:
            data = os.read(LINK, 8192)
            if len(data) >= 8:
                start = 8 + int.from_bytes(data[:4], "little")
                if len(data) == start + int.from_bytes(data[4:8], "little"):
                    return read_json(data[8:start].decode()), data[start:]
            if not data:
                raise Stop
            self.buffer += data
        prefix = self.take(8)
        header = self.take(int.from_bytes(prefix[:4], "little"))
        body = self.take(int.from_bytes(prefix[4:], "little"))
        return read_json(header.decode()), body


def send(header, body=b""):
    head = header if isinstance(header, bytes) else header_bytes(header)
    head = len(head).to_bytes(4, "little") + len(body).to_bytes(4, "little") + head
    if len(body) <= 65536:
        # One piece for one plain write: most frames.
        head += body
        written = os.write(LINK, head)
        if written == len(head):
            return
        parts = [memoryview(head)[written:]]
    else:
        parts = [memoryview(head), memoryview(body)]
    while parts:
        written = os.writev(LINK, parts)
        while parts and written >= len(parts[0]):
            written -= len(parts[0])
            parts.pop(0)
        if parts and written:
            parts[0] = parts[0][written:]

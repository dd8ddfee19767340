"""Frames of its own on the runtime's link to init (docs/protocol.md)."""

import json
import os
import time

from _worker_front import calls

LINK = 3
MIB = 1 << 20


def frame(header, body=b"", length=None):
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "little") + (len(body) if length is None else length).to_bytes(4, "little") + text + body


def send(data):
    view = memoryview(data)
    while view:
        view = view[os.write(LINK, view) :]


def done(call, body, **more):
    return frame({"type": "done", "id": call, "durationMs": 1, **more}, body)


def wait():
    while True:
        time.sleep(1)


class Raw:
    """A result that is written as it is, whatever it is."""

    def __init__(self, text):
        self.text = text


def write_raw(result, limit, written=calls.write):
    return result.text.encode() if isinstance(result, Raw) else written(result, limit)


def raw_result(event, call):
    """What writes results is within reach of whoever runs in the same process."""
    calls.write = write_raw
    return Raw(event["text"])


def brackets(event, call):
    return raw_result({"text": "[" * (3 * MIB) + "]" * (3 * MIB)}, call)


def endless_result(event, call):
    send(frame({"type": "done", "id": call, "durationMs": 1}, b" ", length=6 * MIB))
    wait()


def endless_frames(event, call):
    """Output as frames, which init takes only where several calls run at once."""
    line = frame({"type": "log", "id": None, "stream": "stdout"}, b"x")
    end = time.monotonic() + event["seconds"]
    while time.monotonic() < end:
        send(line * 1000)
    return "sent"


def twice(event, call):
    send(done(call, b'"first"') + done(call, b'"second"'))
    return "third"


def raw(event, call):
    header = {"id": call, **event["header"]}
    send(frame(header, event.get("body", "").encode(), event.get("length")))
    wait()


def huge(event, call):
    send(b"\xff" * 8)
    wait()


def closed(event, call):
    os.close(LINK)
    wait()


def early(what):
    """While the handler is loaded."""
    frames = {
        "done": done("early", b"1"),
        "ready": frame({"type": "ready"}) * 2,
        "hello": frame({"type": "hello", "environment": "java17"}),
        "huge": b"\xff" * 8,
    }
    send(frames[what])
    wait()




DEEDS = {
    "raw-result": raw_result,
    "brackets": brackets,
    "endless-result": endless_result,
    "endless-frames": endless_frames,
    "done-twice": twice,
    "frame": raw,
    "huge": huge,
    "close": closed,
}

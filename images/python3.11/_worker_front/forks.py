"""The template of `process` isolation, and its forks."""

import _ctypes
import _socket
import gc
import os
import sys

from _worker_front import link
from _worker_front.calls import flush, serve, serve_one


def rehearse(settings):
    """Calls that do nothing, over a link of its own: what Python and the linker find out and remember at a first time is then there for every fork."""
    real, ends = link.LINK, [end.detach() for end in _socket.socketpair()]
    head = b'{"type":"start","id":"rehearsal","deadlineMs":1000,"requestId":null}'
    event = b'{"statusCode":200,"body":"ok"}'
    frame = len(head).to_bytes(4, "little") + len(event).to_bytes(4, "little") + head + event
    try:
        link.LINK = os.dup2(ends[0], os.dup(ends[0]), False)
        ends.append(link.LINK)
        for _ in range(20):
            os.write(ends[1], frame)
            serve_one(link.Reader(), lambda event, context: event, settings)
            os.read(ends[1], 4096)
    finally:
        link.LINK = real
        for end in ends:
            os.close(end)


def cannot_fork(error):
    print(f"worker-front: cannot fork: {error}", file=sys.stderr, flush=True)


def fork_each(descriptors, reader, handler, settings):
    """
    A process for each three descriptors (link, stdout, stderr), made by one in between that ends at once: they become children of init, which
    hears of their end.
    """
    hello = b'\x10\0\0\0\0\0\0\0{"type":"hello"}'
    while descriptors:
        own, out, err = descriptors[:3]
        os.dup2(own, link.LINK, False)
        os.dup2(out, 1)
        os.dup2(err, 2)
        for descriptor in descriptors[:3]:
            os.close(descriptor)
        del descriptors[:3]
        try:
            child = os.fork()
        except OSError as error:
            cannot_fork(error)
            break
        if child == 0:
            # None may hold the link of another.
            for descriptor in descriptors:
                os.close(descriptor)
            os.setsid()
            os.write(link.LINK, hello)
            serve_one(reader, handler, settings)
            break
    os._exit(0)


def serve_forks(reader, handler, settings):
    """The template of `process` isolation: gives fresh forks for each `fork` frame, never calls the handler itself."""
    if reader.buffer:
        # A `start` came with `load`: an invocation waits for this very process.
        return serve(reader, handler, settings)
    # PR_SET_DUMPABLE: forks inherit it. Else a call could write to this process' memory (ptrace, /proc/<pid>/mem), and so into later ones.
    _ctypes.call_function(_ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl"), (4, 0, 0, 0, 0))

    rehearse(settings)
    # The collector would touch, and so copy, every page that the forks share.
    gc.freeze()
    connection = _socket.socket(-1, -1, -1, link.LINK)
    space = _socket.CMSG_SPACE(4 * 3 * 64)
    while True:
        data, extra, _, _ = connection.recvmsg(4096, space)
        if not data:
            raise link.Stop
        if not extra:
            reader.buffer += data
            return serve(reader, handler, settings)
        descriptors = memoryview(extra[0][2]).cast("i").tolist()
        flush()
        try:
            child = os.fork()
        except OSError as error:
            cannot_fork(error)
            child = None
        if child == 0:
            connection.detach()
            fork_each(descriptors, reader, handler, settings)
        for descriptor in descriptors:
            os.close(descriptor)
        if child:
            os.waitpid(child, 0)

"""The Python runtime of a sandbox: loads the handler and calls it, speaking frames with init over descriptor 3.

See docs/protocol.md. Only what every call needs is imported here; the rest when it is needed, because the time until
`hello` is part of every cold start. For the same reason images have it compiled, which also spares each sandbox
the megabyte that the compiler leaves behind. What runs in a fork does without detours: each object that it touches may be
on a page of its own, which the fork has to copy, and that is most of what a call in a fresh process costs. The handler's
module is imported by a plain `__import__`, so that Python itself leaves the import machinery out of traces; its own
frames are cut off in `describe`.
"""

import sys

# Neither here nor for the function: nothing can be written beside the code.
sys.dont_write_bytecode = True

import os

from _worker_front.calls import context_of, flush, leave, serve
from _worker_front.failures import describe
from _worker_front.link import LINK, Reader, Stop, send
from _worker_front.loading import load


def main():
    sys.argv = [""]
    os.set_inheritable(LINK, False)
    sys.stdout.reconfigure(line_buffering=True)
    reader = Reader()
    send({"type": "hello", "environment": f"python{sys.version_info[0]}.{sys.version_info[1]}", "fork": True})
    if not reader.waits(0.1):
        # A sandbox without function: what most handlers import first is then there.
        import json  # noqa: F401
    settings, _ = reader.frame()
    if settings["type"] != "load":
        return
    try:
        handler = load(settings)
    except SystemExit as error:
        leave(error)
    except BaseException as error:
        flush()
        send({"type": "failed", "id": None, **describe(error)})
        reader.frame()
        return
    flush()
    isolation = settings["isolation"]
    settings["context"] = context_of(settings)
    send(b'{"type":"ready"}')
    if isolation == "process":
        from _worker_front.forks import serve_forks

        serve_forks(reader, handler, settings)
    elif settings["concurrency"] > 1:
        from _worker_front.threads import serve_many

        serve_many(reader, handler, settings)
    else:
        serve(reader, handler, settings)


try:
    main()
except (Stop, BrokenPipeError, ConnectionResetError):
    pass
flush()
os._exit(0)

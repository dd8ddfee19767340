"""Several calls at once in one process."""

import contextvars
import sys
import threading

from _worker_front.calls import call
from _worker_front.link import Stop, send


def serve_many(reader, handler, settings):
    """Several invocations at once, each in a thread of its own; their language-level output carries their id."""
    current = contextvars.ContextVar("invocation", default=None)
    lock = threading.Lock()

    class Output:
        """Stands in for sys.stdout and sys.stderr: whole lines as log frames of the invocation that writes them."""

        def __init__(self, stream, name):
            self._stream, self._name = stream, name

        def __getattr__(self, name):
            return getattr(self._stream, name)

        def write(self, text):
            lines = current.get()
            if lines is None:
                return self._stream.write(text)
            parts = lines[self._name]
            parts.append(text)
            lines["size"] += len(text)
            if "\n" in text or lines["size"] > 8192:
                emit(lines, self._name)
            return len(text)

        def flush(self):
            lines = current.get()
            if lines is None:
                return self._stream.flush()
            return emit(lines, self._name)

    def emit(lines, name):
        data = "".join(lines[name]).encode("utf-8", "backslashreplace")
        lines[name].clear()
        lines["size"] = 0
        header = b'{"type":"log","id":"%s","stream":"%s"}' % (lines["id"].encode(), name.encode())
        for start in range(0, len(data), 1024 * 1024):
            with lock:
                if not lines["ended"]:
                    send(header, data[start : start + 1024 * 1024])

    def run(header, body):
        lines = {"id": header["id"], "stdout": [], "stderr": [], "size": 0, "ended": False}
        current.set(lines)
        head, answer = call(handler, settings, header, body)
        for name in ("stdout", "stderr"):
            emit(lines, name)
        with lock:
            lines["ended"] = True
            send(head, answer)

    sys.stdout = Output(sys.stdout, "stdout")
    sys.stderr = Output(sys.stderr, "stderr")
    while True:
        header, body = reader.frame()
        if header["type"] != "start":
            raise Stop
        threading.Thread(target=run, args=(header, body), daemon=True).start()

"""The Python runtime of a sandbox: loads the handler and calls it, speaking frames with init over descriptor 3.

See docs/protocol.md. Only what every call needs is imported here; the rest when it is needed, because the time until
`hello` is part of every cold start. For the same reason images have this file compiled, which also spares each sandbox
the megabyte that the compiler leaves behind. What runs in a fork does without detours: each object that it touches may be
on a page of its own, which the fork has to copy, and that is most of what a call in a fresh process costs. The handler's
module is imported by a plain `__import__`, so that Python itself leaves the import machinery out of traces; frames of this
file are cut off in `describe`.
"""

import json
import os
import sys
import time

try:
    from json.encoder import c_make_encoder, encode_basestring
except ImportError:
    c_make_encoder = None

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

    def frame(self):
        if not self.buffer:
            data = os.read(LINK, 8192)
            if len(data) >= 8:
                start = 8 + int.from_bytes(data[:4], "little")
                if len(data) == start + int.from_bytes(data[4:8], "little"):
                    return read_json(data[8:start].decode(), scan_header), data[start:]
            if not data:
                raise Stop
            self.buffer += data
        prefix = self.take(8)
        header = self.take(int.from_bytes(prefix[:4], "little"))
        body = self.take(int.from_bytes(prefix[4:], "little"))
        return json.loads(header), body


def send(header, body=b""):
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
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


class LambdaContext:
    """What AWS Lambda's Python runtime hands to a handler as `context`."""

    identity = None
    client_context = None

    def __init__(self, settings, header):
        self.__dict__ = {
            "aws_request_id": header["id"],
            **settings["context"],
            "_deadline": time.monotonic() + header["deadlineMs"] / 1000,
        }

    def get_remaining_time_in_millis(self):
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def context_of(settings):
    """What is the same in the context of every call."""
    function, version = settings["function"], settings["version"]
    return {
        "function_name": function,
        "function_version": version,
        "memory_limit_in_mb": settings["memoryBytes"] // (1024 * 1024),
        "invoked_function_arn": f"arn:aws:lambda:local:000000000000:function:{function}",
        "log_group_name": f"/aws/lambda/{function}",
        "log_stream_name": version,
    }


class Failed(Exception):
    """A failure that is not the handler's own exception."""

    def __init__(self, kind, message):
        self.kind = kind
        self.message = message


def cut(text, limit):
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def describe(error):
    """The fields of `failed` for an exception, in Python's own form and without frames of this file."""
    if isinstance(error, Failed):
        return {"kind": error.kind, "message": cut(error.message, 16384)}
    kind = "memory" if isinstance(error, MemoryError) else "error"
    try:
        message = str(error)
    except Exception:
        message = "(the exception cannot be shown as text)"
    try:
        import traceback

        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == describe.__code__.co_filename:
            trace = trace.tb_next
        lines = [cut(line.rstrip("\n"), 2048) for line in traceback.format_exception(type(error), error, trace)]
    except Exception:
        lines = []
    if len(lines) > 64:
        lines = lines[:32] + ["  ..."] + lines[-31:]
    return {
        "kind": kind,
        "errorType": cut(type(error).__name__, 256),
        "message": cut(message, 16384),
        "trace": lines,
    }


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


def leave(exit):
    """Ends the process as an uncaught SystemExit would; threads and exit handlers of the function are not waited for."""
    code = exit.code
    if code is None:
        code = 0
    elif not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    flush()
    os._exit(code & 0xFF)


def load(settings):
    """Makes the sandbox ready for the function's code and gives its handler."""
    folder = os.environ.pop("WORKER_FRONT_FUNCTION_DIR", "/function")
    os.environ.update(settings["env"])
    if "TZ" in settings["env"]:
        time.tzset()
    code, installed = f"{folder}/code", f"{folder}/python"
    os.chdir(code)
    own = [code, installed] if settings["dependencies"] == "first" else [installed, code]
    # The first entry is this file's folder: the function must not be able to import it by accident.
    sys.path[:1] = own
    name = settings["handler"] or "main.lambda_handler"
    module_name, _, function_name = name.replace("/", ".").rpartition(".")
    if not module_name or not function_name:
        raise Failed("error", f"the handler '{name}' has not the form 'module.function'")
    module = import_module(module_name, code)
    handler = getattr(module, function_name, None)
    if not callable(handler):
        raise Failed("error", f"the module '{module_name}' has no function '{function_name}'")
    return handler


def import_module(name, code):
    top = name.partition(".")[0]
    # The handler itself is always the bundle's, also where installed packages come first.
    if sys.path[0] != code and top not in sys.modules:
        from importlib.machinery import PathFinder
        from importlib.util import module_from_spec

        spec = PathFinder.find_spec(top, [code])
        if spec is not None and spec.loader is not None:
            module = module_from_spec(spec)
            sys.modules[top] = module
            spec.loader.exec_module(module)
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        # Only when it is the handler's module itself that is missing; a missing import inside it keeps its trace.
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise
        raise Failed("error", f"the handler's module '{name}' was not found in the function's code") from None
    return sys.modules[name]


def refuse_constant(text):
    raise ValueError(f"{text} is not JSON")


scan_header = json.JSONDecoder().scan_once
scan_event = json.JSONDecoder(parse_constant=refuse_constant).scan_once


def read_json(text, scan):
    """One JSON value."""
    try:
        value, end = scan(text, 0)
    except StopIteration:
        end = -1
    # What has space around it, or is wrong, takes the long way: it knows what to say.
    return value if end == len(text) else json.loads(text, parse_constant=refuse_constant)


def parse(body):
    try:
        return read_json(body.decode("utf-8"), scan_event)
    except RecursionError:
        raise Failed("invalid_event", "the event is nested too deeply") from None
    except ValueError as error:
        raise Failed("invalid_event", f"the event is not JSON: {error}") from None


plain_encoder = json.JSONEncoder()


def write(result, limit):
    try:
        if c_make_encoder is None:
            text = json.dumps(result, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        else:
            # The same, without the objects around it.
            encode = c_make_encoder({}, plain_encoder.default, encode_basestring, None, ":", ",", False, False, False)
            text = "".join(encode(result, 0))
    except MemoryError:
        raise
    except RecursionError:
        raise Failed("invalid_result", "the result cannot be written as JSON: it is nested too deeply") from None
    except Exception as error:
        raise Failed("invalid_result", f"the result cannot be written as JSON: {error}") from None
    try:
        body = text.encode("utf-8")
    except UnicodeEncodeError:
        # Lone surrogates have no UTF-8 form; as escapes they are legal JSON.
        body = json.dumps(result, allow_nan=False, separators=(",", ":")).encode()
    if len(body) > limit:
        raise Failed("too_large", f"the result has {len(body)} bytes, at most {limit} are allowed")
    return body


async def _coroutine():
    pass


probe = _coroutine()
COROUTINE = type(probe)
probe.close()


def call(handler, settings, header, body):
    """Runs one invocation; gives header and body of the answer."""
    invocation_id = header["id"]
    context = LambdaContext(settings, header)
    started = None
    try:
        event = parse(body)
        body = None
        started = time.perf_counter_ns()
        result = handler(event, context)
        if type(result) is COROUTINE:
            import asyncio

            result = asyncio.run(result)
        micros = (time.perf_counter_ns() - started) // 1000
        answer = write(result, settings["resultLimit"])
        head = '{"type":"done","id":"' + invocation_id + '","durationMs":' + str(micros) + "e-3}"
        return head.encode(), answer
    except SystemExit as error:
        leave(error)
    except BaseException as error:
        duration = None if started is None else (time.perf_counter_ns() - started) / 1e6
        return {"type": "failed", "id": invocation_id, "durationMs": duration, **describe(error)}, b""


def serve_one(reader, handler, settings):
    header, body = reader.frame()
    if header["type"] != "start":
        raise Stop
    head, answer = call(handler, settings, header, body)
    flush()
    send(head, answer)


def serve(reader, handler, settings):
    while True:
        serve_one(reader, handler, settings)


def serve_many(reader, handler, settings):
    """Several invocations at once, each in a thread of its own; their language-level output carries their id."""
    import contextvars
    import threading

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


def rehearse(settings):
    """Calls that do nothing, over a link of its own: what Python and the linker find out and remember at a first time is then there for every fork."""
    global LINK
    import _socket

    real, ends = LINK, [end.detach() for end in _socket.socketpair()]
    head = b'{"type":"start","id":"rehearsal","deadlineMs":1000,"requestId":null}'
    event = b'{"statusCode":200,"body":"ok"}'
    frame = len(head).to_bytes(4, "little") + len(event).to_bytes(4, "little") + head + event
    try:
        LINK = os.dup2(ends[0], os.dup(ends[0]), False)
        ends.append(LINK)
        for _ in range(20):
            os.write(ends[1], frame)
            serve_one(Reader(), lambda event, context: event, settings)
            os.read(ends[1], 4096)
    finally:
        LINK = real
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
        link, out, err = descriptors[:3]
        os.dup2(link, LINK, False)
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
            os.write(LINK, hello)
            serve_one(reader, handler, settings)
            break
    os._exit(0)


def serve_forks(reader, handler, settings):
    """The template of `process` isolation: gives fresh forks for each `fork` frame, never calls the handler itself."""
    if reader.buffer:
        # A `start` came with `load`: an invocation waits for this very process.
        return serve(reader, handler, settings)
    import gc

    import _ctypes
    import _socket

    # PR_SET_DUMPABLE: forks inherit it. Else a call could write to this process' memory (ptrace, /proc/<pid>/mem), and so into later ones.
    _ctypes.call_function(_ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl"), (4, 0, 0, 0, 0))

    rehearse(settings)
    # The collector would touch, and so copy, every page that the forks share.
    gc.freeze()
    link = _socket.socket(-1, -1, -1, LINK)
    space = _socket.CMSG_SPACE(4 * 3 * 64)
    while True:
        data, extra, _, _ = link.recvmsg(4096, space)
        if not data:
            raise Stop
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
            link.detach()
            fork_each(descriptors, reader, handler, settings)
        for descriptor in descriptors:
            os.close(descriptor)
        if child:
            os.waitpid(child, 0)


def main():
    sys.dont_write_bytecode = True
    sys.argv = [""]
    os.set_inheritable(LINK, False)
    sys.stdout.reconfigure(line_buffering=True)
    reader = Reader()
    send({"type": "hello", "environment": f"python{sys.version_info[0]}.{sys.version_info[1]}", "fork": True})
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
        serve_forks(reader, handler, settings)
    elif settings["concurrency"] > 1:
        serve_many(reader, handler, settings)
    else:
        serve(reader, handler, settings)


try:
    main()
except (Stop, BrokenPipeError, ConnectionResetError):
    pass
flush()
os._exit(0)

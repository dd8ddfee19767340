"""One call of the handler, from event bytes to result bytes; one after the other."""

import os
import sys
import time

from _worker_front.events import parse, write
from _worker_front.failures import describe
from _worker_front.link import Stop, send


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

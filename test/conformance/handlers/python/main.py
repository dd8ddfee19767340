"""Behaviours of the conformance suite; see the table in test/conformance/bootstrap.ts."""

import base64
import os
import signal
import subprocess
import sys
import time

count = 0


def deep(message):
    raise ValueError(message)


def context_facts(event, context):
    return {
        "id": context.aws_request_id,
        "function": context.function_name,
        "version": context.function_version,
        "memoryMB": context.memory_limit_in_mb,
        "remainingMs": context.get_remaining_time_in_millis(),
        "cwd": os.getcwd(),
        "env": os.environ.get(event["env"]),
    }


def leave(code):
    print("leaving")
    sys.exit(code)


def print_both(event):
    sys.stdout.write(event["stdout"])
    sys.stderr.write(event["stderr"])


def lines(event):
    for i in range(event["count"]):
        print("line", i)
    return event["count"]


def wait_for_ever(text):
    print(text, flush=True)
    while True:
        time.sleep(1000)


def spin():
    print("spinning", flush=True)
    while True:
        pass


def on_sigterm(do, text):
    signal.signal(signal.SIGTERM, do)
    wait_for_ever(text)


def tidy(*_):
    # Not print: the signal may have come in the middle of one.
    os.write(1, b"tidied\n")
    os._exit(0)


def sleep(event):
    print("begin", event["value"])
    time.sleep(event["ms"] / 1000)
    print("end", event["value"])
    return event["value"]


def close_link():
    os.close(3)
    while True:
        time.sleep(1000)


def memory():
    # Python's heap has no limit of its own: the address space is given one, so that MemoryError comes.
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
    kept = []
    while True:
        kept.append(bytearray(16 << 20))


def state(event):
    global count
    count += 1
    folder = os.environ.get("WORKER_FRONT_TMP", "/tmp")
    before = {"left": os.environ.get("LEFT"), "files": os.listdir(folder)}
    os.environ["LEFT"] = event["name"]
    open(f"{folder}/{event['name']}", "w").close()
    return {"count": count, "pid": os.getpid(), **before}


def is_open(descriptor):
    try:
        os.fstat(descriptor)
        return True
    except OSError:
        return False


def neighbourhood():
    """What this process holds, and how many there are in its sandbox (or machine)."""
    descriptors = [descriptor for descriptor in range(100) if is_open(descriptor)]
    return {"pid": os.getpid(), "descriptors": descriptors, "processes": sum(map(str.isdigit, os.listdir("/proc")))}


def lambda_handler(event, context):
    match event["do"]:
        case "echo":
            return event["value"]
        case "context":
            return context_facts(event, context)
        case "fail":
            return deep(event["message"])
        case "exit":
            return leave(event["code"])
        case "print":
            return print_both(event)
        case "lines":
            return lines(event)
        case "native":
            os.write(1, event["text"].encode())
            return None
        case "child":
            return subprocess.call(["/bin/sh", "-c", event["command"]])
        case "stdin":
            return sys.stdin.read()
        case "hang":
            return wait_for_ever("hanging")
        case "tidy":
            return on_sigterm(tidy, "working")
        case "deaf":
            return on_sigterm(signal.SIG_IGN, "deaf")
        case "spin":
            return spin()
        case "sleep":
            return sleep(event)
        case "link":
            os.write(3, base64.b64decode(event["base64"]))
            return None
        case "closeLink":
            return close_link()
        case "unwritable":
            return {1, 2, 3}
        case "big":
            return "x" * event["bytes"]
        case "memory":
            return memory()
        case "state":
            return state(event)
        case "neighbourhood":
            return neighbourhood()
        case unknown:
            raise ValueError(f"unknown behaviour {unknown}")


async def asynchronous(event, context):
    return event


def nan(event, context):
    return float(event)

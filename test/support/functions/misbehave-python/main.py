"""Does what the event's `do` says: every way in which a handler can go wrong while it runs."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

MIB = 1 << 20
KEPT = []


def lambda_handler(event, context):
    return ACTIONS[event["do"]](event)


def throw(event):
    raise ValueError("thrown on purpose")


def value(event):
    return event["value"]


def leave(event):
    print("last words", flush=True)
    os._exit(3)


def die(event):
    os.kill(os.getpid(), 9)


def eat(event):
    while True:
        KEPT.append(bytearray(8 * MIB))
        for offset in range(0, 8 * MIB, 4096):
            KEPT[-1][offset] = 1


def grow(event):
    """Takes so many MiB for a moment, after it has filled /tmp when it is told to."""
    if event.get("tmp"):
        fill_tmp(event)
    return len([bytearray(b"x" * MIB) for _ in range(event["mib"])])


def eat_in_child(event):
    code = "kept = [bytearray(b'x' * (8 << 20)) for _ in range(100)]"
    child = subprocess.run([sys.executable, "-c", code], check=False)
    return {"childCode": child.returncode}


def eat_heap(event):
    return len(bytearray(1 << 62))


def fill_tmp(event):
    written = 0
    try:
        with open("/tmp/filled", "wb", buffering=0) as file:
            while written < 1024 * MIB:
                written += file.write(b"x" * MIB)
    except OSError as error:
        return {"written": written, "error": error.strerror}
    return {"written": written, "error": None}


def overfill_tmp(event):
    try:
        with open("/tmp/filled", "wb", buffering=0) as file:
            while True:
                file.write(b"x" * MIB)
    finally:
        os.remove("/tmp/filled")


def fill_tmp_and_eat(event):
    fill_tmp(event)
    return eat(event)


def answer_much(event):
    return "x" * (7 * MIB)


def print_much(event):
    for _ in range(1024):
        print("o" * 1023)
        print("e" * 1023, file=sys.stderr)
    return {"statusCode": 200, "body": "printed"}


def write_code(event):
    try:
        with open("written", "w") as file:
            file.write("x")
    except OSError as error:
        return type(error).__name__
    return None


def write_to_link(event):
    os.write(3, b"garbage" * 1000)
    return "unnoticed"


def leave_child(event):
    subprocess.Popen(["sleep", "1000"])
    return "left"


def eat_in_child_and_throw(event):
    raise RuntimeError(f"the child ended with {eat_in_child(event)}")


def eat_in_child_and_exit(event):
    eat_in_child(event)
    sys.exit(4)


def leave_eater(event):
    """Leaves a child that grows without end when the call has ended."""
    subprocess.Popen(["sh", "-c", "sleep 1; head -c 1000000000 /dev/zero | tail -n 1"], stdout=subprocess.DEVNULL)
    return "left"


def hang(event):
    while True:
        time.sleep(1)


def tell(event):
    """Tells the test (test/support/beacon.ts) that it runs, waits for the test's word, and goes on with `next`."""
    with open("/run/worker-front/sandbox.json") as file:
        sandbox = json.load(file)["sandbox"]
    with socket.socket(socket.AF_UNIX) as beacon:
        beacon.connect("/run/worker-front/beacon.sock")
        beacon.sendall(json.dumps({"sandbox": sandbox, "word": event["word"]}).encode() + b"\n")
        word = beacon.makefile().readline().strip()
    return ACTIONS[event["next"]](event) if "next" in event else word


def show(event):
    print(event["text"], flush=True)
    return "shown"


def start_many(event):
    return len([subprocess.Popen(["sleep", "1000"]) for _ in range(1000)])


def recurse(event):
    return recurse(event)


ACTIONS = {
    "throw": throw,
    "value": value,
    "exit": lambda event: sys.exit(event.get("code", 3)),
    "leave": leave,
    "die": die,
    "segfault": lambda event: signal.raise_signal(signal.SIGSEGV),
    "hang": hang,
    "tell": tell,
    "show": show,
    "eat": eat,
    "grow": grow,
    "eat-in-child-and-throw": eat_in_child_and_throw,
    "eat-in-child-and-exit": eat_in_child_and_exit,
    "leave-eater": leave_eater,
    "overfill-tmp": overfill_tmp,
    "eat-in-child": eat_in_child,
    "eat-heap": eat_heap,
    "fill-tmp": fill_tmp,
    "fill-tmp-and-eat": fill_tmp_and_eat,
    "answer-much": answer_much,
    "print-much": print_much,
    "no-json": lambda event: {1, 2},
    "no-number": lambda event: float("nan"),
    "write-code": write_code,
    "write-to-link": write_to_link,
    "leave-child": leave_child,
    "start-many": start_many,
    "recurse": recurse,
}

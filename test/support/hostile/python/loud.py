"""What takes as much as it can get, or does not want to end."""

import os
import resource
import signal
import socket
import time


def bomb(event, call):
    while True:
        try:
            os.fork()
        except OSError:
            pass


def deaf(event, call):
    """Processes that hear no signal, have left their session and their parent, one of them stopped; then no answer."""
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            stay(event)
    stay(event)


def left(event, call):
    """The same, with an answer."""
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        stay(event)
    return os.getpid()


def stay(event):
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    if os.fork() == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
    while True:
        time.sleep(1)


def lines(event, call):
    block = b"nothing to see\n" * 4096
    for _ in range(event["lines"] // 4096 + 1):
        view = memoryview(block)
        while view:
            view = view[os.write(1, view) :]
    return "printed"


def drip(event, call):
    """Single bytes, each to the other stream: as many frames as can be had."""
    end = time.monotonic() + event["seconds"]
    while time.monotonic() < end:
        os.write(1, b"o")
        os.write(2, b"e")
    return "dripped"


def dial(event, call):
    """Dials the daemon again and again, from several processes; answers how often it got through."""
    readers = []
    for _ in range(4):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.write(writer, dial_on(event["seconds"]).to_bytes(8, "little"))
            os._exit(0)
        os.close(writer)
        readers.append(reader)
    return sum(int.from_bytes(os.read(reader, 8), "little") for reader in readers)


def dial_on(seconds):
    through = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket(socket.AF_UNIX) as end_of_mine:
            try:
                end_of_mine.connect("/run/worker-front/channel.sock")
                through += 1
            except OSError:
                pass
    return through


def files(event, call):
    """Small files until there is no room for one more, or the time is over."""
    end = time.monotonic() + event["seconds"]
    count = 0
    try:
        while time.monotonic() < end:
            os.close(os.open(f"/tmp/{count}", os.O_CREAT | os.O_WRONLY))
            count += 1
    except OSError:
        pass
    return "made"


def signals(event, call):
    """Every signal there is, to init; again with what a sender from outside would look like."""
    for number in range(1, signal.NSIG):
        try:
            os.kill(1, number)
        except (OSError, ValueError):
            pass
    return "sent"


def freeze(event, call):
    """Stops every process of the sandbox but its own."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (1, os.getpid()):
            try:
                os.kill(int(name), signal.SIGSTOP)
            except ProcessLookupError:
                pass  # It has ended since the folder was read.
    return "frozen"


def starve(event, call):
    """Takes init's limits away: the kernel lets the same user do so."""
    for limit, value in ((resource.RLIMIT_NOFILE, 0), (resource.RLIMIT_AS, 1), (resource.RLIMIT_NPROC, 0)):
        resource.prlimit(1, limit, (value, value))
    return "starved"


DEEDS = {
    "bomb": bomb,
    "deaf": deaf,
    "left": left,
    "lines": lines,
    "drip": drip,
    "dial": dial,
    "files": files,
    "signals": signals,
    "freeze": freeze,
    "starve": starve,
}

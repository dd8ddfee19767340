"""Processes that are not the sandbox's own."""

import os

OWN = ("/opt/worker-front/init", "init\0--exec", "python3\0/opt/worker-front/bootstrap.py")


def strangers(_):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline") as file:
                    words = file.read()
            except OSError:
                continue
            if words and not words.startswith(OWN):
                found.append(words)
    return found


def waiting(_):
    """How many there are besides init and this one."""
    return sum(name.isdigit() and int(name) not in (1, os.getpid()) for name in os.listdir("/proc"))


def session(pid):
    try:
        return os.getsid(pid)
    except OSError:
        return 1


def count(_):
    """All of the sandbox: init, this one, and those that wait for calls, up to sixteen. What an ended call leaves is in a session whose leader is gone."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return len(pids) <= 20 and all(session(pid) in pids for pid in pids)


ATTEMPTS = {
    "processes: of others": strangers,
    "processes: few": count,
    "processes: that wait": waiting,
    "processes: the first": lambda _: first(),
}


def first():
    with open("/proc/1/cmdline") as file:
        return file.read().split("\0")[0]

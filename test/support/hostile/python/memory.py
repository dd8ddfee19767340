"""Other processes of the sandbox: init, the runtime's others, and (to show that the attempt works) a child of one's own."""

import ctypes
import errno
import os
import signal

from outcome import libc, outcome, syscall

ATTACH, DETACH, SEIZE, INTERRUPT = 16, 17, 0x4206, 0x4207


class Part(ctypes.Structure):
    _fields_ = [("at", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def open_memory(pid):
    os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))


def read(path):
    with open(path, "rb") as file:
        # Of a process that is ending there is nothing to be read, and nobody refuses it.
        if not file.read(64):
            raise OSError(errno.ESRCH, path)


def attach(pid, how):
    libc("ptrace", ctypes.c_long(how), ctypes.c_long(pid), None, None)
    if how == ATTACH:
        os.waitpid(pid, 0)
        libc("ptrace", ctypes.c_long(DETACH), ctypes.c_long(pid), None, None)


def transfer(name, pid, address):
    buffer = ctypes.create_string_buffer(8)
    mine, theirs = Part(ctypes.addressof(buffer), 8), Part(address, 8)
    libc(name, pid, ctypes.byref(mine), ctypes.c_ulong(1), ctypes.byref(theirs), ctypes.c_ulong(1), ctypes.c_ulong(0))


def descriptor(pid):
    """A copy of its first descriptor above the standard ones."""
    process = syscall("pidfd_open", pid, 0)
    try:
        os.close(syscall("pidfd_getfd", process, 3, 0))
    finally:
        os.close(process)


SECRET = ctypes.create_string_buffer(b"readable", 8)
WAYS = {
    "memory file": open_memory,
    "ptrace": lambda pid: attach(pid, ATTACH),
    "ptrace without a stop": lambda pid: attach(pid, SEIZE),
    "read": lambda pid: transfer("process_vm_readv", pid, ctypes.addressof(SECRET)),
    "write": lambda pid: transfer("process_vm_writev", pid, ctypes.addressof(SECRET)),
    "descriptor": descriptor,
    "environment": lambda pid: read(f"/proc/{pid}/environ"),
    "map": lambda pid: read(f"/proc/{pid}/maps"),
    "descriptors": lambda pid: os.listdir(f"/proc/{pid}/fd"),
    "root folder": lambda pid: os.listdir(f"/proc/{pid}/root"),
    "program": lambda pid: os.readlink(f"/proc/{pid}/exe"),
}


def all_ways(pid):
    return {name: outcome(lambda: way(pid) and None) for name, way in WAYS.items()}


def child(_):
    pid = os.fork()
    if pid == 0:
        # It may be the fork of a process that cannot be looked into.
        libc("prctl", 4, 1, 0, 0, 0)
        while True:
            signal.pause()
    try:
        while outcome(lambda: open_memory(pid)) == "EACCES":
            os.sched_yield()
        return all_ways(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def others(_):
    """Ways that were open into any process of the runtime but this one."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in (1, os.getpid()):
            continue
        ways = all_ways(int(name))
        # It may have ended meanwhile.
        found.update({way: result for way, result in ways.items() if result == "done"})
    return found


ATTEMPTS = {
    "memory: of init": lambda _: all_ways(1),
    "memory: of the runtime's other processes": others,
    "memory: of a child of its own": child,
}

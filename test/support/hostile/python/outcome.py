"""What comes of an attempt, and system calls for which Python has no function of its own."""

import ctypes
import errno
import os

library = ctypes.CDLL(None, use_errno=True)
library.syscall.restype = ctypes.c_long
AARCH64 = os.uname().machine == "aarch64"
# x86_64, aarch64; include/uapi/asm-generic/unistd.h
NUMBERS = {
    "pivot_root": (155, 41),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "init_module": (175, 105),
    "userfaultfd": (323, 282),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "capset": (126, 91),
}


def outcome(attempt):
    try:
        found = attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "done" if found is None else found


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def libc(name, *arguments):
    """Calls a function of the C library; raises OSError when it fails. Gives nothing."""
    checked(getattr(library, name)(*arguments))


def syscall(name, *arguments):
    """As `libc`, for system calls without a function; gives the result."""
    return checked(library.syscall(NUMBERS[name][AARCH64], *map(ctypes.c_void_p, arguments)))

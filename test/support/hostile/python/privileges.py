"""Becoming root, and gaining capabilities or what they are for."""

import ctypes
import os
import pty
import resource
import socket
import stat
import time

from outcome import libc, syscall

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
SYS_ADMIN = 21


def capset(_):
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
    syscall("capset", ctypes.addressof(header), ctypes.addressof(data))


def held(_):
    """Capabilities of any kind that this process has, and whether a program may still give it more."""
    with open("/proc/self/status") as file:
        lines = dict(line.split(":\t", 1) for line in file.read().splitlines())
    sets = {name: lines[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if int(lines[name], 16)}
    return [sets, lines["NoNewPrivs"], lines["Uid"].split(), lines["Gid"].split(), lines.get("Groups", "").split()]


def setuid_program(_):
    """`su` waits for a password as who it runs; without walls that is root."""
    programs = [path for path in ("/bin/su", "/usr/bin/su") if os.path.exists(path)]
    if not programs or not os.stat(programs[0]).st_mode & stat.S_ISUID:
        return "there is no set-id program to try"
    child, terminal = pty.fork()
    if child == 0:
        os.execv(programs[0], ["su", "-c", "id"])
    # Until it is another program: before, it is this process' copy.
    for _ in range(1000):
        with open(f"/proc/{child}/status") as file:
            status = file.read()
        if status.startswith("Name:\tsu\n"):
            break
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    os.close(terminal)
    return next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]


def run_as(path):
    """Who a program of the image is run as."""
    import subprocess

    mode = stat.filemode(os.stat(path).st_mode)
    code = "import os; print(os.geteuid(), open('/proc/self/status').read().split('CapEff:\\t')[1].split()[0])"
    run = subprocess.run([path, "-c", code], capture_output=True, text=True, check=True)
    return [mode, *run.stdout.split()]


def raise_limit(_):
    resource.prlimit(0, resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))


def raw_socket(family, kind):
    socket.socket(family, kind, 1).close()


def mount(flags, target=b"/tmp"):
    libc("mount", b"none", target, b"tmpfs", ctypes.c_ulong(flags), None)


def own_namespace(_):
    with open("/proc/self/ns/mnt") as namespace:
        libc("setns", namespace.fileno(), 0)


def shield(_):
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")


ATTEMPTS = {
    "root: setuid": lambda _: os.setuid(0),
    "root: seteuid": lambda _: os.seteuid(0),
    "root: setresuid": lambda _: os.setresuid(0, 0, 0),
    "root: setgid": lambda _: os.setgid(0),
    "root: setgroups": lambda _: os.setgroups([0]),
    "root: a set-id program": setuid_program,
    "root: a set-id program of its own image": lambda _: run_as("/usr/local/bin/rootly"),
    "root: a program with capabilities of its own image": lambda _: run_as("/usr/local/bin/capable"),
    "capabilities: held": held,
    "capabilities: capset": capset,
    "capabilities: ambient": lambda _: libc("prctl", 47, 2, SYS_ADMIN, 0, 0),
    "capabilities: chroot": lambda _: os.chroot("/tmp"),
    "capabilities: mount": lambda _: mount(0),
    "capabilities: remount": lambda _: mount(MS_REMOUNT | MS_BIND, b"/"),
    "capabilities: umount": lambda _: libc("umount2", b"/tmp", 2),
    "capabilities: pivot_root": lambda _: syscall("pivot_root", 0, 0),
    "capabilities: user namespace": lambda _: libc("unshare", CLONE_NEWUSER),
    "capabilities: mount namespace": lambda _: libc("unshare", CLONE_NEWNS),
    "capabilities: process namespace": lambda _: libc("unshare", CLONE_NEWPID),
    "capabilities: network namespace": lambda _: libc("unshare", CLONE_NEWNET),
    "capabilities: setns": own_namespace,
    "capabilities: memory device": lambda _: os.mknod("/tmp/mem", 0o600 | stat.S_IFCHR, os.makedev(1, 1)),
    "capabilities: disk device": lambda _: os.mknod("/tmp/disk", 0o600 | stat.S_IFBLK, os.makedev(8, 0)),
    "capabilities: bpf": lambda _: syscall("bpf", 0, 0, 0),
    "capabilities: perf": lambda _: syscall("perf_event_open", 0, 0, 0, 0, 0),
    "capabilities: keyctl": lambda _: syscall("keyctl", 0, -4, 1),
    "capabilities: add_key": lambda _: syscall("add_key", 0, 0, 0, 0, -4),
    "capabilities: kernel module": lambda _: syscall("init_module", 0, 0, 0),
    "capabilities: userfaultfd": lambda _: syscall("userfaultfd", 0),
    "capabilities: file handles": lambda _: libc("open_by_handle_at", 0, bytes(16), 0),
    "capabilities: kernel log": lambda _: libc("klogctl", 3, ctypes.create_string_buffer(99), 99),
    "capabilities: host name": lambda _: libc("sethostname", b"mine", 4),
    "capabilities: clock": lambda _: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "capabilities: accounting": lambda _: libc("acct", None),
    "capabilities: swap": lambda _: libc("swapon", b"/tmp/none", 0),
    "capabilities: real-time": lambda _: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "capabilities: priority": lambda _: os.setpriority(os.PRIO_PROCESS, 0, -5),
    "capabilities: limits": raise_limit,
    "capabilities: raw socket": lambda _: raw_socket(socket.AF_INET, socket.SOCK_RAW),
    "capabilities: packet socket": lambda _: raw_socket(socket.AF_PACKET, socket.SOCK_RAW),
    "capabilities: shield from the kernel's choice": shield,
}

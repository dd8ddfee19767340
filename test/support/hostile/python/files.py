"""Writing where a function must not write."""

import mmap
import os
import shutil
import stat

CODE = "/function/code/main.py"


def folders(root, leave_out):
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if os.path.join(folder, name) not in leave_out]
        yield folder, names


def writable_folders(_):
    """All folders in which a file can be made."""
    found = []
    for folder, _ in folders("/", {"/proc", "/sys"}):
        path = os.path.join(folder, "written")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            os.remove(path)
            found.append(folder)
        except OSError:
            pass
    return sorted(found)


# Masks of the engine (/dev/null in their place), and what says how busy the machine is: the kernel lets everybody ask to be told.
HARMLESS = ("/proc/keys", "/proc/timer_list", "/proc/pressure/")


def writable_files(_):
    """Files that can be written to, outside of the writable folders and of what is a process' own."""
    found = []
    for folder, names in folders("/", {"/tmp", "/dev/shm", "/dev/mqueue", "/dev/fd", "/proc"}):
        found += [path for path in (os.path.join(folder, name) for name in names) if writable(path)]
    for folder, names in folders("/proc", {f"/proc/{name}" for name in os.listdir("/proc") if name.isdigit()}):
        found += [path for path in (os.path.join(folder, name) for name in names) if writable(path)]
    return sorted(path for path in found if not path.startswith(HARMLESS))


def writable(path):
    """Devices are those that every container has; none can be made (privileges.py)."""
    return not os.path.islink(path) and not stat.S_ISCHR(os.lstat(path).st_mode) and os.access(path, os.W_OK)


def append(path):
    with open(path, "a") as file:
        file.write("\n")


def reopen(_):
    """A descriptor for reading, opened anew for writing."""
    with open(CODE) as file:
        os.close(os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDWR))


def replace(_):
    append("/tmp/other")
    os.replace("/tmp/other", CODE)


def map_shared(_):
    with open(CODE, "rb") as file:
        mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE).close()


ATTEMPTS = {
    "files: folders that can be written to": writable_folders,
    "files: files that can be written to": writable_files,
    "files: a host's core pattern": lambda _: append("/proc/sys/kernel/core_pattern"),
    "files: kernel's keys": lambda _: append("/proc/sysrq-trigger"),
    "code: append": lambda _: append(CODE),
    "code: reopen for writing": reopen,
    "code: shared memory": map_shared,
    "code: remove": lambda _: os.remove(CODE),
    "code: rename": lambda _: os.rename("/function/code", "/function/other"),
    "code: replace": replace,
    "code: hard link": lambda _: os.link(CODE, "/tmp/linked"),
    "code: mode": lambda _: os.chmod(CODE, 0o666),
    "code: owner": lambda _: os.chown(CODE, 10001, 10001),
    "code: attribute": lambda _: os.setxattr(CODE, "user.mine", b"1"),
    "code: time": lambda _: os.utime(CODE),
    "code: remove all": lambda _: shutil.rmtree("/function"),
    "runtime: append": lambda _: append("/opt/worker-front/bootstrap.py"),
    "runtime: replace init": lambda _: append("/opt/worker-front/init"),
}

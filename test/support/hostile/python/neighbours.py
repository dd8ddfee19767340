"""What is of other functions: code, environment, memory, /tmp."""

import os

from files import folders

OWN = {"/proc", "/sys", "/usr"}
MOUNTS = ("/proc", "/sys", "/dev", "/tmp", "/function", "/run/worker-front")
FILES = ("/", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts")


def contents(path):
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""


def places(event):
    """Where the event's `mark` is found: in files, environments and command lines."""
    # Not as it came: this process' memory has it anyway, files that it writes must not.
    mark = event["mark"].encode()
    found = []
    for folder, names in folders("/", OWN):
        paths = (os.path.join(folder, name) for name in names)
        found += [path for path in paths if os.path.isfile(path) and mark in contents(path)]
    for name in os.listdir("/proc"):
        if name.isdigit():
            found += [f"process' {what}" for what in ("environ", "cmdline") if mark in contents(f"/proc/{name}/{what}")]
    found += ["environment" for value in os.environ.values() if value == event["mark"]]
    return sorted(set(found))


def mark(event):
    """Leaves the function's own mark where another function could look for it."""
    for path in ("/tmp/mark", "/dev/shm/mark"):
        with open(path, "w") as file:
            file.write(os.environ["MARK"])


def mounts(_):
    """Mount points that a sandbox should not have."""
    with open("/proc/self/mountinfo") as file:
        points = [line.split()[4] for line in file]
    known = [point for point in points if point in FILES or point.startswith(MOUNTS)]
    return sorted(set(points) - set(known))


ATTEMPTS = {"neighbours: leave a mark": mark, "neighbours: find a mark": places, "neighbours: mounts": mounts}

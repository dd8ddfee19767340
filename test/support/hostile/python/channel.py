"""The channel folder, the daemon's socket in it, and other sockets."""

import json
import os
import socket
import stat

from files import append, folders

FOLDER = "/run/worker-front"


def dial(path):
    with socket.socket(socket.AF_UNIX) as end:
        end.connect(path)


def sockets(_):
    """All sockets in the file system."""
    found = []
    for folder, names in folders("/", {"/proc", "/sys"}):
        found += [path for path in (os.path.join(folder, name) for name in names) if stat.S_ISSOCK(mode(path))]
    return found


def mode(path):
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0


def descriptors(_):
    """What this process has open: kinds of things, by their descriptor."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}").partition(":")[0]
        except OSError:
            pass  # The listing's own.
    return found


def settings(_):
    """What init was told; its token is not for others."""
    with open(f"{FOLDER}/sandbox.json") as file:
        return sorted(json.load(file))


def listen(_):
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(f"{FOLDER}/channel.sock")


ATTEMPTS = {
    "channel: dial the daemon": lambda _: dial(f"{FOLDER}/channel.sock"),
    "channel: settings": settings,
    "channel: listen in the daemon's place": listen,
    "channel: new file": lambda _: append(f"{FOLDER}/new"),
    "channel: new folder": lambda _: os.mkdir(f"{FOLDER}/folder"),
    "channel: change the settings": lambda _: append(f"{FOLDER}/sandbox.json"),
    "channel: remove the settings": lambda _: os.remove(f"{FOLDER}/sandbox.json"),
    "channel: rename the settings": lambda _: os.rename(f"{FOLDER}/sandbox.json", f"{FOLDER}/x"),
    "channel: mode of the folder": lambda _: os.chmod(FOLDER, 0o777),
    "channel: descriptors": descriptors,
    "sockets: in the file system": sockets,
    "sockets: Docker": lambda _: dial("/var/run/docker.sock"),
    "sockets: Docker's other place": lambda _: dial("/run/docker.sock"),
    "sockets: containerd": lambda _: dial("/run/containerd/containerd.sock"),
    "sockets: Docker by TCP": lambda _: socket.create_connection(("127.0.0.1", 2375), 2).close(),
}

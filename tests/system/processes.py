"""Processes as /proc shows them, and waiting for what they do."""

import contextlib
import os
import time
from pathlib import Path

# How long anything may take that should take a second: the machine may be small and busy.
PATIENCE_S = 60


def eventually(condition, what, timeout_s=PATIENCE_S, pause_s=0.02):
    """Waits until `condition()` is true and returns its value."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(pause_s)


def _stat(pid):
    """The fields of /proc/PID/stat after the command's name; none when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2:].split()
    return None if fields[0] in "ZX" else fields


def is_alive(pid):
    return _stat(pid) is not None


def is_stopped(pid):
    fields = _stat(pid)
    return fields is not None and fields[0] == "T"


def session(leader):
    """The living processes of a session. Children keep it, also those whose parent has died."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return {pid for pid in pids if (fields := _stat(pid)) and int(fields[3]) == leader}


def children(parent):
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return {pid for pid in pids if (fields := _stat(pid)) and int(fields[1]) == parent}


def program(pid):
    """The name of the executable, or "" when the process is gone."""
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return ""


def thread_names(pid):
    return [(task / "comm").read_text().strip() for task in Path(f"/proc/{pid}/task").iterdir()]


def peak_memory_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError(f"no VmHWM for process {pid}")


def title(pid):
    """What `ps` shows, or "" when the process is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""


def user(pid):
    """As which it runs. The owner of its folder in /proc may be root all the same."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[2])
    raise AssertionError(f"no Uid for process {pid}")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def private_memory_kib(pid):
    """Resident, without files and shared memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise AssertionError(f"no RssAnon for process {pid}")


def proportional_memory_kib(pid):
    """Resident, and of what is shared with others its part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise AssertionError(f"no Pss for process {pid}")


def segments_of(*pids):
    """Names in /dev/shm of what processes have open; none of those that have ended."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):  # closed meanwhile
                    if os.readlink(descriptor).startswith("/dev/shm/"):
                        inodes.add(descriptor.stat().st_ino)
    return {entry.name for entry in os.scandir("/dev/shm") if entry.inode() in inodes}

#!/usr/bin/python3
"""Frames for an inferpool on the same host, from Python: an example of a producer.

    inferpool_frames.py --redis /run/redis/redis.sock --camera door-3 PICTURE...

puts each file into a ring in shared memory, and its handle into the camera's stream. A program of
your own takes the class:

    ring = Ring(slots=20, frame_bytes=1280 * 720 * 3)
    handle = ring.put(pixels, "bgr", 1280, 720)     # None: all slots are in use, drop the frame
    redis.xadd(key, {"frame": handle, "epoch": epoch, "seq": seq, "time": milliseconds}, maxlen=16)

inferpool_frames.h explains the protocol, which this follows; that header is faster, and runs on
other processors too. Python cannot say in which order its stores reach other processors. Those of
x86 get them in the program's order, and a lock that is taken between the store of a generation and
the look at the rows makes the look wait for the store. So this runs on x86-64 only.
"""

import argparse
import contextlib
import fcntl
import mmap
import os
import platform
import secrets
import struct
import threading
import time

FOLDER = "/dev/shm"
PREFIX = "inferpool."
PAGE = 4096
MAX_SLOTS = 256
SLOT_LINE = 64  # bytes between two generations
ROWS, ROW_LINE = 64, 64
ROWS_AT = PAGE + MAX_SLOTS * SLOT_LINE
DATA_AT = ROWS_AT + ROWS * ROW_LINE
HEADER = struct.Struct("=8sIIQ40sQQ")  # magic, version, slots, slot bytes, boot id, written, dropped
WRITTEN_AT, DROPPED_AT = 64, 72


def lock(file, byte, kind=fcntl.F_WRLCK):
    """Locks a byte of the segment until the process ends. False: somebody else has it."""
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0))
        return True
    except BlockingIOError:
        return False


def sweep():
    """Removes the segments of producers that are dead."""
    for name in os.listdir(FOLDER):
        if not name.startswith(PREFIX):
            continue
        with contextlib.suppress(OSError):  # somebody else's, or another producer was faster
            file = os.open(f"{FOLDER}/{name}", os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if lock(file, 0):
                    os.unlink(f"{FOLDER}/{name}")
            finally:
                os.close(file)


class Ring:
    """A segment for frames of at most `frame_bytes`. For one thread, in a process that does not fork."""

    def __init__(self, slots, frame_bytes):
        if platform.machine() != "x86_64":
            raise RuntimeError("use inferpool_frames.h on this machine")
        if not 1 <= slots <= MAX_SLOTS or frame_bytes < 1:
            raise ValueError("a ring has 1 to 256 slots of at least one byte")
        sweep()
        self.slots, self.next = slots, 0
        self.slot_bytes = -(-frame_bytes // PAGE) * PAGE
        size = DATA_AT + slots * self.slot_bytes
        self.file = os.open(FOLDER, os.O_TMPFILE | os.O_RDWR, 0o660)
        os.posix_fallocate(self.file, 0, size)
        self.memory = mmap.mmap(self.file, size)
        # Views of whole words: they are stored and loaded in one piece.
        self.words = memoryview(self.memory)[:DATA_AT].cast("Q")
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            self.boot_id = file.read().strip()
        HEADER.pack_into(self.memory, 0, b"IPFRAMES", 1, slots, self.slot_bytes, self.boot_id.encode(), 0, 0)
        self.fence = threading.Lock()
        lock(self.file, 0)
        self.name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
        # The name comes last: nobody ever sees it without its lock and its memory.
        # Only with a folder, which the whole path makes needless, does Python follow the link.
        os.link(f"/proc/self/fd/{self.file}", f"{FOLDER}/{self.name}", src_dir_fd=self.file)

    def close(self):
        os.unlink(f"{FOLDER}/{self.name}")
        self.words.release()
        self.memory.close()
        os.close(self.file)

    def is_pinned(self, slot):
        """Whether a living reader has the slot. Frees the rows of dead ones."""
        bit = 1 << slot % 64
        for row in range(ROWS):
            at = ROWS_AT + row * ROW_LINE
            if not self.words[at // 8 + slot // 64] & bit:
                continue
            if not lock(self.file, at):
                return True
            for word in range(MAX_SLOTS // 64):
                self.words[at // 8 + word] = 0
            lock(self.file, at, fcntl.F_UNLCK)
        return False

    def put(self, data, form, width=0, height=0, stride=0):
        """The handle of a frame with these bytes. None: it is to be dropped, and was counted.

        `data` is bytes, or whatever has its bytes in one piece, such as a numpy array.
        """
        data = memoryview(data).cast("B")
        if len(data) > self.slot_bytes:
            raise ValueError("the frame is larger than its slot")
        for _ in range(self.slots):
            slot = self.next
            self.next = (slot + 1) % self.slots
            generation = (PAGE + slot * SLOT_LINE) // 8
            before = self.words[generation]
            if self.is_pinned(slot):
                continue
            after = before
            try:
                self.words[generation] = before + 1
                with self.fence:
                    pass
                if self.is_pinned(slot):
                    continue
                after = before + 2  # also when the copy fails: then no handle ever names it
                at = DATA_AT + slot * self.slot_bytes
                self.memory[at:at + len(data)] = data
            finally:
                self.words[generation] = after
            self.words[WRITTEN_AT // 8] += 1
            if width and not stride:
                stride = width * (3 if form in ("rgb", "bgr") else 1)
            return (f"{self.name} {slot} {before + 2} {len(data)} {form} "
                    f"{width} {height} {stride} {self.boot_id}")
        self.words[DROPPED_AT // 8] += 1
        return None


def key_of(camera, shards=32):
    """The camera's stream."""
    number = 0xcbf29ce484222325
    for byte in camera.encode():
        number = (number ^ byte) * 0x100000001b3 % 2**64
    return f"{{s{number % shards:02}}}:cam:{camera}"


def main():
    import redis  # Debian's python3-redis

    parser = argparse.ArgumentParser(description="Frames for inferpool through shared memory")
    parser.add_argument("--redis", required=True, help="the path of its socket")
    parser.add_argument("--camera", required=True)
    parser.add_argument("pictures", nargs="+", help="JPEG, PNG or WebP files")
    options = parser.parse_args()
    client = redis.Redis(unix_socket_path=options.redis)
    client.sadd("inferpool:cameras", options.camera)
    files = [open(path, "rb").read() for path in options.pictures]
    ring = Ring(slots=20, frame_bytes=max(map(len, files)))
    epoch = secrets.token_hex(8)
    try:
        for seq, data in enumerate(files, 1):
            form = {b"\x89PNG": "png", b"RIFF": "webp"}.get(data[:4], "jpeg")
            handle = ring.put(data, form)
            if handle is not None:
                client.xadd(key_of(options.camera), {"frame": handle, "epoch": epoch, "seq": seq,
                                                     "time": time.time_ns() // 1_000_000},
                            maxlen=16, approximate=False)
        while client.xlen(key_of(options.camera)) > 0:  # its frames are gone with the ring
            time.sleep(0.02)
    finally:
        ring.close()


if __name__ == "__main__":
    main()

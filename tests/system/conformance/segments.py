"""POSIX shared memory of a client: plain files of /dev/shm."""

import itertools
import mmap
import os

import numpy as np

_NUMBER = itertools.count()


class Segment:
    """Some bytes that a server can map under `key`."""

    def __init__(self, size):
        self.name = f"ipconf-{os.getpid()}-{next(_NUMBER)}"
        self.key = f"/{self.name}"
        self.path = f"/dev/shm/{self.name}"
        self.size = size
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.ftruncate(self._file, size)
        self.memory = mmap.mmap(self._file, size)

    def put(self, data, offset=0):
        data = data if isinstance(data, bytes) else data.tobytes()
        self.memory[offset:offset + len(data)] = data

    def array(self, dtype, count=-1, offset=0):
        return np.frombuffer(self.memory, dtype, count, offset).copy()

    def truncate(self, size):
        """From now on only the file's owner is safe: self.memory must not be touched past it."""
        os.ftruncate(self._file, size)

    def unlink(self):
        if os.path.exists(self.path):
            os.unlink(self.path)

    def close(self):
        self.unlink()
        self.memory.close()
        os.close(self._file)

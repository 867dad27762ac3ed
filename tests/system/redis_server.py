"""A real Redis in a folder of its own, on a Unix socket."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import redis

from processes import PATIENCE_S, eventually


class RedisServer:
    """Keeps what it is told through `kill` and `start`. Use stop() at the end."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ipredis", dir="/tmp"))
        self.socket = self.folder / "redis.sock"
        self.process = None
        self.client = redis.Redis(unix_socket_path=str(self.socket))
        self.start()

    @property
    def address(self):
        return f"unix:{self.socket}"

    def start(self):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", "redis-server", "--port", "0", "--unixsocket", self.socket,
             "--dir", self.folder, "--save", "", "--appendonly", "yes", "--appendfsync", "always",
             "--logfile", self.folder / "log"],
            stdin=subprocess.DEVNULL, start_new_session=True)

        def answers():
            try:
                return self.client.ping()
            except redis.exceptions.ConnectionError:
                return False
        eventually(answers, "Redis answers")

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def stop(self):
        self.client.close()
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def shard_of(camera, shards=32):
    """As producers compute it: FNV-1a of 64 bits."""
    number = 0xCBF29CE484222325
    for byte in camera.encode():
        number = (number ^ byte) * 0x100000001B3 % 2 ** 64
    return number % shards


def key(camera, what):
    """"{s07}:results", or "{s07}:snap:door-3" for a `what` that ends in a colon."""
    return f"{{s{shard_of(camera):02}}}:{what}" + (camera if what.endswith(":") else "")

"""A real Redis of a test's own on a Unix socket, a client of a few lines, and a producer of frames.

Nothing of ours is used: keys, shards and fields are as docs/streams.md tells producers.
"""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from processes import eventually


class RedisError(Exception):
    pass


class Client:
    """Speaks RESP. One thread at a time."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, *words):
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(
            b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))

    def receive(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("Redis has closed the connection")
        kind, text = line[:1], line[1:-2]
        if kind == b"+":
            return text.decode()
        if kind == b"-":
            return RedisError(text.decode())
        if kind == b":":
            return int(text)
        if kind == b"$":
            return None if text == b"-1" else self.file.read(int(text) + 2)[:-2]
        assert kind == b"*", line
        return None if text == b"-1" else [self.receive() for _ in range(int(text))]

    def __call__(self, *words):
        self.send(*words)
        answer = self.receive()
        if isinstance(answer, RedisError):
            raise answer
        return answer


class RedisServer:
    def __init__(self, *options):
        self.folder = Path(tempfile.mkdtemp(prefix="ipredis", dir="/tmp"))
        self.socket = self.folder / "redis.sock"
        self.options = options
        self.process = None
        self.start()

    @property
    def address(self):
        return f"unix:{self.socket}"

    def start(self):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", "redis-server", "--port", "0", "--unixsocket",
             self.socket, "--unixsocketperm", "777", "--dir", self.folder, "--save", "",
             "--logfile", self.folder / "log", *self.options], stdin=subprocess.DEVNULL)

        def answers():
            assert self.process.poll() is None, "redis-server ended; is it installed?"
            try:
                client = Client(self.socket)
                client("PING")
            except (OSError, RedisError):
                return False
            client.close()
            return True
        eventually(answers, "Redis answers")

    def kill(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def connect(self):
        return Client(self.socket)

    def destroy(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def shard_of(camera, shards=32):
    number = 0xcbf29ce484222325
    for byte in camera.encode():
        number = (number ^ byte) * 0x100000001b3 % 2 ** 64
    return number % shards


def tag(shard):
    return f"{{s{shard:02}}}"


def frames_key(camera):
    return f"{tag(shard_of(camera))}:cam:{camera}"


class Camera:
    """Writes frames, each number once: one that Redis has not surely taken is written again only
    when it is not there."""

    def __init__(self, name, epoch="e1"):
        self.name, self.epoch, self.seq = name, epoch, 0

    def fields(self, picture, **more):
        fields = {"picture": picture, "epoch": self.epoch, "seq": self.seq,
                  "time": int(time.time() * 1000), **more}
        return [part for item in fields.items() for part in item]

    def put(self, client, picture, **more):
        self.seq += 1
        return client("XADD", frames_key(self.name), "*", *self.fields(picture, **more))


def results(client):
    """The answers of all shards by camera, each a dict, in the order in which they were stored."""
    found = {}
    for shard in range(32):
        for entry, flat in client("XRANGE", f"{tag(shard)}:results", "-", "+"):
            answer = {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2])}
            answer["entry"] = entry.decode()
            found.setdefault(answer["camera"], []).append(answer)
    return found


ENDS = ("published", "superseded", "stale", "trimmed", "overwritten", "failed", "pending")


def wait_answers(test, client, cameras):
    """Until each has as many answers as it has frames: all of them, in order, once. Answers by camera."""
    def done():
        found = results(client)
        return all(len(found.get(camera.name, ())) >= camera.seq for camera in cameras)
    eventually(done, "all frames are answered")
    found = results(client)
    for camera in cameras:
        test.assertEqual([str(seq) for seq in range(1, camera.seq + 1)],
                         [answer["seq"] for answer in found[camera.name]], camera.name)
    return found


def ledger(client):
    """By camera. One look at each shard, so that each is of one moment."""
    found = {}
    for shard in range(32):
        flat = client("HGETALL", f"{tag(shard)}:ledger")
        for field, value in zip(flat[::2], flat[1::2]):
            camera, _, what = field.decode().rpartition(":")
            if what == "produced" or what in ENDS:
                found.setdefault(camera, dict.fromkeys(("produced", *ENDS), 0))[what] = int(value)
    return found


def unbalanced(client):
    """The cameras whose ledger does not add up."""
    return {camera: counts for camera, counts in ledger(client).items()
            if counts["produced"] != sum(counts[end] for end in ENDS)}

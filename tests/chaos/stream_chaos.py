"""Cameras' frames that are written and answered while something is done to the pool, and what must hold
afterwards."""

import os
import random
import signal
import threading
import time

from chaos import SECONDS  # it knows where the helpers are
import pictures
import processes
from harness import SystemTest
from processes import eventually
from redis_server import Camera, RedisError, RedisServer, frames_key, ledger, results, tag, unbalanced

SMALL = pictures.plain(64, 64, "JPEG")
SETTINGS = {"streams.model": "faces_cascade", "streams.policy": "all", "streams.workers": 3,
            "workers": 1, "threads": 2}


class Producer(threading.Thread):
    """Writes frames of all cameras in turn and leaves none out: one that it does not know to be
    written is looked for."""

    def __init__(self, redis, cameras, pause_s):
        super().__init__(daemon=True)
        self.redis, self.cameras, self.pause_s = redis, cameras, pause_s
        self.stopped = threading.Event()
        self.refused = 0

    def run(self):
        client = None
        for camera in iter(lambda: self.next_camera(), None):
            camera.seq += 1
            tried = False
            while True:
                try:
                    client = client or self.redis.connect()
                    if tried and self.is_written(client, camera):
                        break
                    tried = True
                    client("XADD", frames_key(camera.name), "*", *camera.fields(SMALL))
                    break
                except (OSError, ValueError):
                    if client:
                        client.close()
                    client = None
                    time.sleep(0.05)
                except RedisError:  # no memory, or it loads
                    self.refused += 1
                    time.sleep(0.05)

    def next_camera(self):
        if self.stopped.wait(self.pause_s):
            return None
        return random.choice(self.cameras)

    def is_written(self, client, camera):
        """In the stream, in work, or answered: its owner has counted it."""
        counted = client("HGET", f"{tag_of(camera)}:ledger", f"{camera.name}:seq")
        if counted and int(counted) >= camera.seq:
            return True
        last = client("XREVRANGE", frames_key(camera.name), "+", "-", "COUNT", "1")
        return bool(last) and str(camera.seq).encode() == last[0][1][last[0][1].index(b"seq") + 1]


def tag_of(camera):
    return frames_key(camera.name).partition(":")[0]


class StreamsChaosTest(SystemTest):
    def begin(self, *options, cameras=24, pause_s=0.01, settings=None):
        self.redis = RedisServer("--appendonly", "yes", "--appendfsync", "always", *options)
        self.addCleanup(self.redis.destroy)
        self.cameras = [Camera(f"cam{i}") for i in range(cameras)]
        client = self.redis.connect()
        for camera in self.cameras:
            client("SADD", "inferpool:cameras", camera.name)
        client.close()
        self.instance = self.start({**SETTINGS, "streams.redis": self.redis.address,
                                    **(settings or {})}, cleanup=self.addCleanup, nginx=False)
        self.producer = Producer(self.redis, self.cameras, pause_s)
        self.producer.start()

    def ingest_pids(self):
        alive = processes.children(self.instance.serve.pid)
        return [line["pid"] for line in self.instance.log()
                if line.get("event") == "ingest ready" and line["pid"] in alive]

    def every(self, seconds, disturb):
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            time.sleep(seconds)
            disturb()
            self.look()

    def look(self):
        """The ledger adds up at this moment too, when it can be read."""
        try:
            client = self.redis.connect()
        except OSError:
            return
        try:
            self.assertEqual({}, unbalanced(client))
        except (OSError, RedisError):
            pass
        finally:
            client.close()

    def finish(self):
        self.producer.stopped.set()
        self.producer.join(60)
        client = self.redis.connect()
        self.addCleanup(client.close)

        def done():
            found = results(client)
            return all(len(found.get(camera.name, ())) >= camera.seq for camera in self.cameras)
        eventually(done, "all frames are answered", timeout_s=120, pause_s=0.2)
        found = results(client)
        counts = ledger(client)
        for camera in self.cameras:
            if camera.seq == 0:
                continue
            self.assertEqual([str(seq) for seq in range(1, camera.seq + 1)],
                             [answer["seq"] for answer in found[camera.name]], camera.name)
            self.assertEqual(camera.seq, counts[camera.name]["produced"], camera.name)
            self.assertEqual(camera.seq, counts[camera.name]["published"], camera.name)
        self.assertEqual({}, unbalanced(client))
        moments = sorted(int(answer["answered"]) for answers in found.values() for answer in answers)
        return max((after - before for before, after in zip(moments, moments[1:])), default=0)

    def kill_one(self):
        pids = self.ingest_pids()
        if pids:
            try:
                os.kill(random.choice(pids), signal.SIGKILL)
            except ProcessLookupError:
                pass

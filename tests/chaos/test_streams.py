"""Cameras' streams while processes, Redis and the model server are killed, stopped and filled.

With the policy `all` every frame has exactly one answer, in the order of its camera, and the ledger
adds up at every look. INFERPOOL_CHAOS_SECONDS: as in chaos.py.
"""

import os
import random
import signal
import threading
import time
import unittest

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


class KillsTest(StreamsChaosTest):
    def test_a_process_killed_each_second(self):
        self.begin()
        self.every(1, self.kill_one)
        self.finish()

    def test_a_process_stopped_and_continued(self):
        self.begin()

        def stop_one():
            pids = self.ingest_pids()
            if not pids:
                return
            victim = random.choice(pids)
            os.kill(victim, signal.SIGSTOP)
            time.sleep(random.uniform(0.5, 4))
            os.kill(victim, signal.SIGCONT)
        self.every(0.5, stop_one)
        self.finish()

    def test_the_model_server_killed(self):
        self.begin()

        def kill():
            os.kill(self.instance.modelserver(), signal.SIGKILL)
        self.every(2, kill)
        self.finish()

    def test_leases_that_are_stolen(self):
        self.begin()
        client = self.redis.connect()
        self.addCleanup(client.close)

        def steal():
            shard = random.randrange(32)
            client("SET", f"{tag(shard)}:lease", "a thief's", "PX", random.choice([50, 1500]))
        self.every(0.1, steal)
        self.finish()

    def test_another_pool_that_comes_and_goes(self):
        self.begin()

        def join():
            other = self.start({**SETTINGS, "streams.redis": self.redis.address},
                               cleanup=lambda stop: None, nginx=False)
            time.sleep(1)
            other.stop()
        self.every(0.5, join)
        self.finish()


class RedisTest(StreamsChaosTest):
    def test_a_redis_that_is_killed_and_stopped(self):
        self.begin()

        def disturb():
            if random.random() < 0.5:
                self.redis.kill()
                time.sleep(random.uniform(0, 1))
                self.redis.start()
            else:
                self.redis.pause()
                time.sleep(random.uniform(0, 3))
                self.redis.go_on()
            time.sleep(0.5)
        self.every(0.5, disturb)
        self.finish()

    def test_a_redis_that_is_full(self):
        self.begin("--maxmemory", "24mb", "--maxmemory-policy", "noeviction")
        client = self.redis.connect()
        self.addCleanup(client.close)

        def fill():
            number = 0
            try:
                while True:
                    number += 1
                    client("SET", f"filling:{number}", b"x" * 200_000)
            except RedisError:
                pass
            self.kill_one()
            time.sleep(1)
            for i in range(1, number):
                client("DEL", f"filling:{i}")
        self.every(0.5, fill)
        self.finish()
        self.assertGreater(self.producer.refused, 0)


if __name__ == "__main__":
    unittest.main()

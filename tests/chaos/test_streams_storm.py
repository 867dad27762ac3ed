"""All that test_streams.py does to cameras' streams, at once.

Meanwhile no camera that has a frame waits for its answer longer than four seconds, while there is a Redis
and a model; and memory stays as it is. It goes on for a minute, and for ten where
INFERPOOL_CHAOS_SECONDS is 20 or more.
"""

import contextlib
import os
import random
import signal
import statistics
import threading
import time
import unittest

from chaos import SECONDS  # it knows where the helpers are
import processes
from processes import eventually
from redis_server import RedisError, ledger, tag, unbalanced
from stream_chaos import SETTINGS, StreamsChaosTest

STORM_SECONDS = 600 if SECONDS >= 20 else 15 * SECONDS


class Follower(threading.Thread):
    """Reads the answers as they come, as a consumer does that remembers how far it is."""

    def __init__(self, redis):
        super().__init__(daemon=True)
        self.redis = redis
        self.last = {f"{tag(shard)}:results": "0-0" for shard in range(32)}
        self.answers = {}  # by camera: (seq, captured, answered)
        self.stopped = threading.Event()

    def run(self):
        client = None
        while not self.stopped.is_set():
            try:
                client = client or self.redis.connect()
                self.read(client("XREAD", "COUNT", "1000", "BLOCK", "200", "STREAMS",
                                 *self.last.keys(), *self.last.values()) or ())
            except (OSError, ValueError, RedisError):
                if client:
                    client.close()
                client = None
                time.sleep(0.05)

    def read(self, streams):
        for key, entries in streams:
            for entry, flat in entries:
                answer = dict(zip(flat[::2], flat[1::2]))
                self.answers.setdefault(answer[b"camera"].decode(), []).append(
                    tuple(int(answer[name]) for name in (b"seq", b"captured", b"answered")))
                self.last[key.decode()] = entry.decode()


class StormTest(StreamsChaosTest):
    MOST_GAP_MS = 4_000
    # How much more a process of ours, and Redis, may take at the end than at the beginning.
    MORE_MEMORY_KIB = 16 * 1024

    def setUp(self):
        self.away = []  # when Redis or the model server could not be used, in Unix milliseconds
        self.memory = {"ingest": [], "live": []}
        self.segments = set()

    def finish(self):
        """As above, by what the follower has read: Redis keeps the latest answers only."""
        self.producer.stopped.set()
        self.producer.join(60)
        follower = self.follower
        eventually(lambda: all(len(follower.answers.get(camera.name, ())) >= camera.seq for camera in self.cameras),
                   "all frames are answered", timeout_s=120, pause_s=0.2)
        time.sleep(1)  # one that came twice would have come by now
        follower.stopped.set()
        follower.join(30)
        client = self.redis.connect()
        self.addCleanup(client.close)
        counts = ledger(client)
        self.assertEqual({}, unbalanced(client))
        for camera in self.cameras:
            self.assertEqual(list(range(1, camera.seq + 1)),
                             [seq for seq, _, _ in follower.answers.get(camera.name, ())], camera.name)
            if camera.seq:
                self.assertEqual((camera.seq, camera.seq, 0), tuple(
                    counts[camera.name][what] for what in ("produced", "published", "pending")), camera.name)

    def gaps(self):
        """For how long each answer let its camera wait while there was a frame, Redis and a model."""
        for camera, answers in self.follower.answers.items():
            before = 0
            for seq, captured, answered in answers:
                begin = max(before, captured)
                yield answered - begin - self.overlap(begin, answered), camera, seq
                before = answered

    def overlap(self, begin, end):
        covered, at = 0, begin
        for away, back in sorted(self.away):
            away, back = max(away, at), min(back, end)
            if back > away:
                covered, at = covered + back - away, back
        return covered

    @contextlib.contextmanager
    def outage(self, back_s):
        begin = time.time() * 1000
        try:
            yield
        finally:
            self.away.append((begin, time.time() * 1000 + back_s * 1000))

    # ------------------------------------------------------------ what is done to it

    def stop_one(self):
        pids = self.ingest_pids()
        if pids:
            victim = random.choice(pids)
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGSTOP)
                time.sleep(random.uniform(0.5, 4))
                os.kill(victim, signal.SIGCONT)

    def kill_model_server(self):
        with self.outage(back_s=1):
            os.kill(self.instance.modelserver(), signal.SIGKILL)
            time.sleep(0.5)
            eventually(lambda: self.instance.probe("/readyz").status == 200, "a model server is ready")

    def restart_redis(self):
        with self.outage(back_s=1):
            self.redis.kill()
            time.sleep(random.uniform(0, 1))
            self.redis.start()

    def pause_redis(self):
        with self.outage(back_s=1):
            self.redis.pause()
            time.sleep(random.uniform(0, 3))
            self.redis.go_on()

    def fill_redis(self):
        client, number = self.redis.connect(), 0
        for size in (200_000, 500):  # until nothing fits in any more
            with contextlib.suppress(RedisError):
                while True:
                    number += 1
                    client("SET", f"filling:{number}", b"x" * size)
        time.sleep(1)
        for i in range(1, number + 1):
            client("DEL", f"filling:{i}")
        client.close()

    def steal_leases(self):
        client = self.redis.connect()
        for shard in random.sample(range(32), 8):
            client("SET", f"{tag(shard)}:lease", "a thief's", "PX", random.choice([50, 1500]))
        client.close()

    def another_pool(self):
        other = self.start({**self.storm_settings, "streams.redis": self.redis.address},
                           cleanup=lambda stop: None, nginx=False)
        time.sleep(2)
        other.stop()

    # ------------------------------------------------------------ what is looked at

    def sample(self):
        for role, pids in (("ingest", self.ingest_pids()), ("live", self.live_pids())):
            with contextlib.suppress(OSError, AssertionError):  # one that has ended
                self.memory[role].append(max(map(processes.private_memory_kib, pids), default=0))
        self.segments |= processes.segments_of(*processes.session(self.instance.session))

    def redis_memory_kib(self):
        client = self.redis.connect()
        used = client("INFO", "memory").split(b"used_memory:")[1].split()[0]
        client.close()
        return int(used) / 1024

    def live_pids(self):
        alive = processes.children(self.instance.serve.pid)
        return [line["pid"] for line in self.instance.log()
                if line.get("event") == "live ready" and line["pid"] in alive]

    def test_everything_at_once(self):
        seed = random.randrange(1 << 32)
        random.seed(seed)
        print(f"seed {seed}")
        self.storm_settings = {"streams.results_max": 100}
        self.begin("--maxmemory", "48mb", "--maxmemory-policy", "noeviction",
                   settings=self.storm_settings, pause_s=0.02)
        self.storm_settings = {**SETTINGS, **self.storm_settings}
        redis_before = self.redis_memory_kib()
        self.follower = Follower(self.redis)
        self.follower.start()
        disturbances = [self.stop_one, self.kill_model_server, self.restart_redis, self.pause_redis,
                        self.fill_redis, self.steal_leases, self.another_pool]
        failures, done = [], []
        until = time.monotonic() + STORM_SECONDS

        def kill_and_look():
            while time.monotonic() < until:
                time.sleep(1)
                self.kill_one()
                try:
                    self.look()
                    self.sample()
                except AssertionError as error:
                    failures.append(error)
                    return
        killer = threading.Thread(target=kill_and_look)
        killer.start()
        # In this thread: what a thread has started dies with it (PR_SET_PDEATHSIG).
        while time.monotonic() < until:
            what = random.choice(disturbances)
            done.append(what.__name__)
            with contextlib.suppress(OSError, RedisError):  # Redis was away
                what()
            time.sleep(random.uniform(0, 1))
        killer.join(60)
        if failures:
            raise failures[0]
        self.finish()
        longest = sorted(self.gaps(), reverse=True)[:5]
        print(f"{sum(camera.seq for camera in self.cameras)} frames; {', '.join(done)}")
        print(f"longest gaps (ms, camera, seq): {longest}")
        self.assertLessEqual(longest[0][0], self.MOST_GAP_MS)
        for name, samples in self.memory.items():
            quarter = max(len(samples) // 4, 1)
            first, last = statistics.median(samples[:2 * quarter]), statistics.median(samples[-quarter:])
            print(f"memory of {name}: {first:.0f} KiB, later {last:.0f} KiB")
            self.assertLess(last, first + self.MORE_MEMORY_KIB, name)
        redis_after = self.redis_memory_kib()
        print(f"memory of Redis: {redis_before:.0f} KiB, later {redis_after:.0f} KiB")
        self.assertLess(redis_after, redis_before + self.MORE_MEMORY_KIB)
        self.instance.stop()
        self.assertTrue(self.segments)
        self.assertEqual(set(), self.segments & set(os.listdir("/dev/shm")))


if __name__ == "__main__":
    unittest.main()

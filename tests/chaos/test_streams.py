"""Cameras' streams while processes, Redis and the model server are killed, stopped and filled.

With the policy `all` every frame has exactly one answer, in the order of its camera, and the ledger
adds up at every look. INFERPOOL_CHAOS_SECONDS: as in chaos.py.
"""

import os
import random
import signal
import time
import unittest

from stream_chaos import SETTINGS, StreamsChaosTest  # it knows where the helpers are
from redis_server import RedisError, tag


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
            for size in (200_000, 500):  # until nothing fits in any more
                try:
                    while True:
                        number += 1
                        client("SET", f"filling:{number}", b"x" * size)
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

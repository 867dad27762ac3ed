"""Tensors by shared memory: whatever becomes of workers and model servers, the answers stay right
and nothing is left, neither in /dev/shm nor in a server's table.

    INFERPOOL_CHAOS_RECYCLINGS  goes on until so many workers have been replaced (default: as many as
                                INFERPOOL_CHAOS_SECONDS bring); the issue of leaks wants 10000
"""

import os
import sys
import time
import unittest
from pathlib import Path

from chaos import SECONDS, ChaosTest, Client, Pool  # it knows where the helpers are
import pictures
from model_servers import (ModelServer, embedded, outside, private_shared_memory, regions,
                           without_our_shared_memory)
from processes import eventually, segments_of

RECYCLINGS = int(os.environ.get("INFERPOOL_CHAOS_RECYCLINGS") or 0)
SHM = Path("/dev/shm")
INLINE = "the model server takes no shared memory: tensors go inline"
# Small pictures, so little memory does.
SHARED = {"backend.transport": "shm", "backend.arena_mb": 1}


def prefix_of(segment):
    """What the segments of one pool have in common."""
    return segment[:segment.rindex("-") + 1]


def segments(prefix):
    return {name for name in os.listdir(SHM) if name.startswith(prefix)}


class PoolWithoutRoom(Pool):
    """Its /dev/shm has no room for an arena: because it has one of its own, of one page; or because
    its arenas are larger than all of ours, which containers keep small."""

    def __init__(self, settings, **options):
        self.wrap = private_shared_memory("4k")
        if self.wrap is None:
            free = os.statvfs(SHM)
            settings = {**settings,
                        "backend.arena_mb": free.f_bavail * free.f_frsize // 2**20 + 1}
            self.wrap = ()
        super().__init__(settings, **options)


class SharedMemoryTest(ChaosTest):
    def start_server(self, *arguments, **options):
        server = ModelServer(*arguments, **options)
        self.addCleanup(server.destroy)
        return server

    def begin_with(self, *servers, **settings):
        self.servers = servers
        self.begin({**outside(*servers), **SHARED,
                    **{key.replace("__", "."): value for key, value in settings.items()}})
        self.prefix = prefix_of(next(name for pid in self.pool.worker_pids()
                                     for name in segments_of(pid)))

    def assert_only_live_workers_have_any(self):
        """Soon after the chaos: workers sweep every 5 s."""
        self.pool.wait_settled()

        def live():
            return {name for pid in self.pool.worker_pids() for name in segments_of(pid)}
        eventually(lambda: segments(self.prefix) == live(), "only live segments are there")
        for server in self.servers:
            eventually(lambda: server.regions() <= live(), "the server knows only live ones")

    def stop_and_assert_nothing_left(self):
        self.pool.stop()
        self.assertEqual(set(), segments(self.prefix))
        for server in self.servers:
            self.assertEqual(set(), server.regions())


class RecyclingTest(SharedMemoryTest):
    def replaced(self):
        return self.pool.metrics().sum("inferpool_worker_ends_total")

    def churn(self, enough, **settings):
        """Recycles and kills under load until `enough(workers replaced)`."""
        self.begin_with(self.start_server(), workers=settings.pop("workers", 4))
        self.assertTrue(self.pool.reload(**settings)["ok"])
        begin = time.monotonic()
        with self.chaos(lossy=True) as (load, _):
            turn = 0
            while not load.failures:
                turn += 1
                if turn % 5 == 0:
                    self.pool.kill_random_worker()
                time.sleep(0.2)
                count = self.replaced()
                if enough(count, time.monotonic() - begin):
                    break
        took = time.monotonic() - begin
        ends = {reason: self.pool.metrics().value("inferpool_worker_ends_total", reason=reason)
                for reason in ("planned", "crash")}
        print(f"\n    {ends['planned']:.0f} workers recycled and {ends['crash']:.0f} killed, "
              f"{sum(ends.values()) / took:.1f} a second ", end="", file=sys.stderr)
        self.assertGreater(min(ends.values()), 0)
        self.assert_only_live_workers_have_any()
        self.stop_and_assert_nothing_left()

    def test_recycled_and_killed_workers_leave_nothing(self):
        self.churn(lambda _, seconds: seconds > 2.5 * SECONDS,
                   recycle__requests=20, recycle__jitter=0, recycle__concurrent=2)

    def test_workers_that_live_for_one_request(self):
        """As many recyclings as the machine can do."""
        self.churn(lambda count, seconds: count >= RECYCLINGS and seconds > 2.5 * SECONDS, workers=8,
                   recycle__requests=1, recycle__jitter=0, recycle__concurrent=8)


class RestartTest(SharedMemoryTest):
    def away(self, answer, begin):
        return answer.status == 503 and any(gone <= begin + answer.seconds and begin <= back
                                            for gone, back in self.absences)

    def assert_registered_anew(self):
        workers = self.pool.worker_pids()
        client = Client(self.pool)
        self.addCleanup(client.close)

        def known():
            self.assert_good(client.predict(self.album.pictures[0]))
            used = {name for pid in workers for name in segments_of(pid)}
            return all(used & server.regions() for server in self.servers)
        eventually(known, "the memory is registered")

    def test_the_only_model_server_restarted_under_load(self):
        server = self.start_server()
        self.begin_with(server)
        self.absences = []
        with self.chaos(excuse=self.away) as (load, _):
            for _ in range(3):
                # A worker finds it within a second of its return, a busy one a bit later.
                gone = time.monotonic()
                self.absences.append((gone, float("inf")))
                back = server.restart()
                self.absences[-1] = (gone, back + 3)
                time.sleep(max(0, back + 3.2 - time.monotonic()))
                load.wait_right()
        self.assert_registered_anew()
        self.assert_only_live_workers_have_any()
        self.stop_and_assert_nothing_left()

    def test_one_of_two_restarted_under_load(self):
        self.begin_with(self.start_server(), self.start_server())
        with self.chaos() as (load, _):
            for server in (*self.servers, *self.servers):
                server.restart()
                time.sleep(0.6)
                load.wait_right()
        self.assert_registered_anew()
        self.assert_only_live_workers_have_any()
        self.stop_and_assert_nothing_left()


class StopTest(SharedMemoryTest):
    def test_a_pool_whose_model_server_hangs_leaves_nothing_when_it_stops(self):
        """Its own model server, with which the table goes as well."""
        self.begin(SHARED)
        self.prefix = prefix_of(next(name for pid in self.pool.worker_pids()
                                     for name in segments_of(pid)))
        self.pool.stop_modelserver()
        self.pool.stop()  # which looks at what is left, too
        self.assertEqual(set(), segments(self.prefix))


class UnusableTest(SharedMemoryTest):
    def assert_inline(self, workers):
        """Each worker that has served says so once."""
        lines = self.pool.events(INLINE)
        pids = [line["pid"] for line in lines]
        self.assertTrue(pids)
        self.assertEqual(len(set(pids)), len(pids), "said more than once")
        self.assertLessEqual(set(pids), set(workers))

    def test_a_model_server_that_cannot_open_the_segment(self):
        server = self.start_server(tcp=True, wrap=without_our_shared_memory())
        self.begin({**outside(server), "backend.arena_mb": 1})
        with self.chaos():
            time.sleep(SECONDS / 2)
        self.assert_inline(self.pool.worker_pids())
        self.assertEqual(set(), server.regions())

    def test_shared_memory_alone_says_what_to_do_about_it(self):
        server = self.start_server(tcp=True, wrap=without_our_shared_memory())
        self.instance = self.pool = Pool({**outside(server), **SHARED}, wait_ready=False)
        self.addCleanup(self.pool.stop)
        def answer():
            found = self.pool.predict("faces_cascade", pictures.ASTRONAUT)
            return found if b"takes no shared memory" in found.body else None
        problem = self.assert_problem(eventually(answer, "a worker says why"), 503,
                                      "model-server-away")
        self.assertIn("backend.transport", problem["detail"])

    def test_a_dev_shm_without_room(self):
        """The pool's own; its model server shares it."""
        self.begin({}, kind=PoolWithoutRoom)
        with self.chaos():
            time.sleep(SECONDS / 2)
        self.assertTrue(self.pool.events("no shared memory for tensors"))
        self.assertEqual([], self.pool.events(INLINE))  # the model server is not to blame
        client = embedded(self.pool)
        self.addCleanup(client.close)
        self.assertEqual(set(), regions(client))


if __name__ == "__main__":
    unittest.main()

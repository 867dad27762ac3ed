"""Workers leave by number of requests, age and memory, one after the other, each replaced first."""

import unittest

from chaos import SECONDS, ChaosTest  # it knows where the helpers are
from processes import eventually


class RecycleTest(ChaosTest):
    def assert_replaced_first(self, watch, wanted):
        """Guarantees 1 and 2: never fewer ready ones than wanted, and departures take turns."""
        self.assert_never(watch, lambda gauges: gauges["ready"] < wanted, "a worker missing")
        self.assert_never(watch, lambda gauges: gauges["draining"] > 1, "two leave")
        self.assert_never(watch, lambda gauges: gauges["ready"] + gauges["starting"]
                          + gauges["draining"] > wanted + 1, "more than one on its way")

    def replaced(self):
        return self.pool.metrics().value("inferpool_worker_ends_total", reason="planned")

    def test_eight_workers_that_recycle_every_50_requests(self):
        self.begin({"workers": 8, "recycle.requests": 50, "recycle.jitter": 0})
        first = set(self.pool.worker_pids())
        with self.chaos(clients=8) as (load, watch):
            load.wait_right(int(8 * 50 * max(1.5, SECONDS / 4)))
            eventually(lambda: self.replaced() >= 8 or load.failures, "eight have been replaced")
        self.assert_replaced_first(watch, 8)
        self.assertFalse(first & set(self.pool.worker_pids()))
        drained = [line["served"] for line in self.pool.events("worker drained")]
        self.assertGreaterEqual(min(drained), 50)

    def test_workers_that_grow_old(self):
        self.begin({"workers": 3, "recycle.age_s": 2})
        first = set(self.pool.worker_pids())
        with self.chaos() as (load, watch):
            eventually(lambda: not first & set(self.pool.worker_pids()) or load.failures,
                       "all have been replaced")
            self.assertTrue(self.pool.reload(recycle__age_s=0)["ok"])
        self.assert_replaced_first(watch, 3)

    def test_workers_that_grow_large(self):
        self.begin({"workers": 3})
        largest = max(slot["rss_mb"] for slot in self.pool.status()["slots"])
        # No room for a third leak of 64 MiB.
        self.assertTrue(self.pool.reload(recycle__rss_mb=largest + 150)["ok"])
        first = self.pool.wait_settled()

        def leaky(picture, turn=iter(range(10**9))):
            return picture + b"inferpool-fault:leak" if next(turn) % 50 == 0 else picture
        with self.chaos(spoil=leaky) as (load, watch):
            eventually(lambda: self.replaced() >= 3 or load.failures, "three have been replaced")
        self.assert_replaced_first(watch, 3)
        self.assertTrue(first)
        self.assertEqual(0, self.pool.crashes())


if __name__ == "__main__":
    unittest.main()

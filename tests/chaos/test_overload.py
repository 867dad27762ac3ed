"""More requests than the pool can answer: what it accepts is answered in time, the rest told so."""

import threading
import time
import unittest

from chaos import SECONDS, ChaosTest, Client  # it knows where the helpers are

QUEUE_MS = 1000
THREADS = 4  # of the whole pool
SLOW = b"inferpool-fault:slow"  # 300 ms more, which cost no processor


def slow(picture):
    return picture + SLOW


class OverloadTest(ChaosTest):
    def setUp(self):
        self.begin({"workers": 2, "threads": THREADS // 2, "limits.queue_ms": QUEUE_MS})

    def assert_in_time(self, load):
        for _, answer in load.right:
            self.assertLessEqual(answer.json()["timing_ms"]["queue"], QUEUE_MS)

    def refused(self, answer, _):
        self.assert_problem(answer, 503, "overloaded")  # with Retry-After
        return True

    def rate(self, load, seconds):
        """Right answers a second."""
        before, begin = len(load.right), time.monotonic()
        time.sleep(seconds)
        return (len(load.right) - before) / (time.monotonic() - begin)

    def test_at_four_times_the_capacity_goodput_stays_and_nobody_waits_too_long(self):
        with self.chaos(spoil=slow, least=8, clients=THREADS) as (load, _):
            peak = self.rate(load, SECONDS / 2)
        self.assertFalse(load.excused)
        # Four times as many requests as there are answers: those who are refused come at once again.
        with self.chaos(spoil=slow, least=8, clients=16 * THREADS,
                        excuse=self.refused) as (load, _):
            time.sleep(QUEUE_MS / 1000 + 0.5)
            self.assertGreaterEqual(self.rate(load, SECONDS), 0.9 * peak)
        self.assertGreater(load.sent, 2 * len(load.right))
        self.assert_in_time(load)
        # Told so as soon as a thread is free to tell it.
        self.assertLess(max(answer.seconds for _, answer in load.excused), QUEUE_MS / 1000 + 4)

    def test_a_full_backlog_is_a_503_at_once(self):
        self.assertTrue(self.pool.reload(listen__backlog=2)["ok"])
        with self.chaos(spoil=slow, least=8, clients=16 * THREADS,
                        excuse=self.refused) as (load, _):
            time.sleep(SECONDS / 2)
        self.assert_in_time(load)
        self.assertGreater(len(load.excused), len(load.right))

    def test_clients_that_leave_while_they_wait_cost_no_work(self):
        def leave():
            client = Client(self.pool, timeout_s=0.3)
            while not stop.is_set():
                try:
                    client.predict(slow(self.album.pictures[0]))
                except TimeoutError:
                    left.append(time.monotonic())
                client.close()
        left, stop = [], threading.Event()
        impatient = [threading.Thread(target=leave, daemon=True) for _ in range(3 * THREADS)]
        with self.chaos(spoil=slow, least=8, clients=2 * THREADS,
                        excuse=self.refused) as (load, _):
            for thread in impatient:
                thread.start()
            time.sleep(SECONDS / 2)
            stop.set()
            for thread in impatient:
                thread.join()
        dropped = self.pool.metrics().value("inferpool_requests_total", status="499")
        self.assertGreater(dropped, len(left) / 4)
        self.assert_in_time(load)


if __name__ == "__main__":
    unittest.main()

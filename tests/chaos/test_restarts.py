"""Processes that served end again and again: each is replaced at once, and innocents are answered."""

import concurrent.futures
import contextlib
import http.client
import itertools
import signal
import sys
import threading
import time
import unittest

from chaos import QUERY, ChaosTest  # it knows where the helpers are
import pictures
from processes import eventually


class Gaps:
    """Asks again and again whether something is good, and knows the longest time between two good
    answers, which is how long nobody could have had one."""

    def __init__(self, is_good):
        self.is_good = is_good
        self.good, self.longest_s = 0, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        latest = time.monotonic()
        while not self._stop.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):  # cut off in the middle
                if self.is_good():
                    now = time.monotonic()
                    self.longest_s = max(self.longest_s, now - latest)
                    self.good += 1
                    latest = now
            time.sleep(0.02)
        self.longest_s = max(self.longest_s, time.monotonic() - latest)

    def stop(self):
        self._stop.set()
        self._thread.join()
        return self.longest_s


class PoisonTest(ChaosTest):
    def poisons(self):
        """No two of them alike, so the quarantine knows none before it has crashed a worker."""
        picture = pictures.encode(pictures.astronaut().resize((100, 100)), "JPEG")
        for number in itertools.count():
            yield picture + b"inferpool-fault:crash %d" % number

    def test_a_new_poison_every_100_ms(self):
        self.begin({"workers": 2})
        poisons = self.poisons()
        sent = []
        with concurrent.futures.ThreadPoolExecutor(64) as attackers:
            with self.chaos(lossy=True, clients=4):
                self.every(0.1, lambda: sent.append(
                    attackers.submit(self.pool.predict, "faces_cascade", next(poisons), QUERY)))
        for poison in sent:
            self.assert_problem(poison.result(), 422, "quarantined")
        self.assertEqual(len(sent), self.pool.crashes(), "each costs one worker, once")

    def test_a_dozen_poisons_at_once(self):
        self.begin({"workers": 2})
        poisons = list(itertools.islice(self.poisons(), 12))
        with self.chaos(lossy=True, clients=4):
            with concurrent.futures.ThreadPoolExecutor(12) as attackers:
                answers = list(attackers.map(lambda poison: self.pool.predict("faces_cascade", poison, QUERY), poisons))
        for answer in answers:
            self.assert_problem(answer, 422, "quarantined")
        self.assertEqual(12, self.pool.crashes())


class KillTest(ChaosTest):
    def test_one_of_two_workers_killed_every_200_ms(self):
        self.begin({"workers": 2})
        with self.chaos(lossy=True, clients=4):
            self.every(0.2, self.pool.kill_random_worker)

    def crash_again_and_again(self, find, is_good):
        """Each time when it has served. A back-off that doubles from 100 ms would come to 10 s."""
        gaps = Gaps(is_good)
        for _ in range(8):
            good = gaps.good
            eventually(lambda: gaps.good > good + 1, "it is back")  # two, as one may be from before
            time.sleep(1)  # it has served: a model server's first half second does not count
            for pid in find():
                self.pool.kill(pid, signal.SIGSEGV)
        longest_s = gaps.stop()
        print(f"\n    away for up to {longest_s:.2f} s ({gaps.good} answers) ", end="", file=sys.stderr)
        self.assertLess(longest_s, 8)

    def test_a_sidecar_that_crashes_again_and_again(self):
        self.begin({"workers": 2})
        self.crash_again_and_again(
            self.pool.sidecar_pids, lambda: self.pool.request("GET", "/readyz").status == 200)

    def test_a_model_server_that_crashes_again_and_again(self):
        self.begin({"workers": 2})
        self.crash_again_and_again(
            lambda: [self.pool.modelserver()],
            lambda: self.pool.predict("faces_cascade", self.album.pictures[0], QUERY).status == 200)
        eventually(lambda: self.pool.request("GET", "/readyz").status == 200, "/readyz is back")


if __name__ == "__main__":
    unittest.main()

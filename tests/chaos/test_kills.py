"""Workers and sidecars are killed and stopped, and no client sees it."""

import os
import signal
import time
import unittest

from chaos import SECONDS, ChaosTest, Client, essence  # it knows where the helpers are
import processes
from processes import eventually


class KillTest(ChaosTest):
    def test_a_random_worker_killed_every_200_ms(self):
        self.begin({"workers": 8})
        with self.chaos(lossy=True):
            self.every(0.2, self.pool.kill_random_worker)

    def test_a_sidecar_killed_again_and_again(self):
        self.begin()
        workers, modelserver = self.pool.worker_pids(), self.pool.modelserver()
        killed = set()

        def kill():
            killed.update(pid for pid in self.pool.sidecar_pids() if self.pool.kill(pid))
        with self.chaos(blind=True):
            self.every(0.2, kill)
        self.assertGreater(len(killed), 2)
        eventually(lambda: self.pool.request("GET", "/readyz").status == 200, "/readyz is back")
        self.assertEqual((set(workers), modelserver),
                         (set(self.pool.worker_pids()), self.pool.modelserver()))


class StopTest(ChaosTest):
    def test_a_stopped_worker_is_replaced_and_its_requests_are_answered(self):
        self.begin({"timeouts.request_s": 3})
        with self.chaos(lossy=True, clients=12) as (load, _):
            victim = eventually(self.stop_a_busy_worker, "a worker is stopped at work", pause_s=0)
            eventually(lambda: not processes.is_alive(victim), "it was replaced")
        self.assertEqual(1, self.pool.crashes())
        self.assertLess(max(answer.seconds for _, answer in load.right), 20)

    def busy_workers(self):
        return [slot["pid"] for slot in self.pool.status()["slots"] if slot["in_work"] > 0]

    def stop_a_busy_worker(self):
        """Its pid; None when it had nothing in work any more: then it goes on."""
        for victim in self.busy_workers()[:1]:
            os.kill(victim, signal.SIGSTOP)
            eventually(lambda: processes.is_stopped(victim), "it is stopped")
            if victim in self.busy_workers():
                return victim
            os.kill(victim, signal.SIGCONT)
        return None

    def test_an_idle_worker_that_is_stopped_keeps_no_request_waiting(self):
        self.begin({"timeouts.request_s": 3})
        client = Client(self.pool)
        self.addCleanup(client.close)
        for victim in self.pool.workers()[:3]:
            os.kill(victim, signal.SIGSTOP)
            eventually(lambda: processes.is_stopped(victim), "it is stopped")
            for picture, expected in zip(self.album.pictures[:12], self.album.answers):
                answer = client.predict(picture)
                self.assert_good(answer)
                self.assertEqual(expected, essence(answer))
                self.assertLess(answer.seconds, 2)
            self.pool.kill(victim, signal.SIGCONT)

    def test_a_stopped_master_harms_no_request(self):
        self.begin()
        with self.chaos():
            self.pool.tell(signal.SIGSTOP)
            time.sleep(2)
            self.assertEqual(4, self.pool.status()["workers"]["ready"])
            self.pool.tell(signal.SIGCONT)


class CombinedTest(ChaosTest):
    def test_kills_recycling_reloads_and_scaling_at_once(self):
        self.begin({"workers": 6, "recycle.requests": 50, "recycle.jitter": 10})
        turn = 0

        def disturb():
            nonlocal turn
            turn += 1
            self.pool.kill_random_worker()
            if turn % 3 == 0:
                self.pool.configure(predict__confidence=turn % 50 / 100)
                self.pool.tell(signal.SIGHUP)
            if turn % 4 == 0:
                self.assertTrue(self.pool.command("scale", workers=3 + turn % 6)["ok"])
        with self.chaos(lossy=True):
            self.every(0.25, disturb, SECONDS * 1.5)
            self.assertTrue(self.pool.reload(workers=6)["ok"])
        self.assertEqual(6, len(self.pool.worker_pids()))


if __name__ == "__main__":
    unittest.main()

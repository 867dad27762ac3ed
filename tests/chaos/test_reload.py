"""The configuration changes under load: reloads good and bad, scaling, generations that fail."""

import json
import signal
import time
import unittest

from chaos import SECONDS, ChaosTest  # it knows where the helpers are
import harness
from processes import eventually


class ReloadTest(ChaosTest):
    def bad_configuration(self, turn):
        """One of several kinds."""
        good = harness.nested(self.pool.settings)
        kinds = ['{"workers": 4,', json.dumps({**good, "workers": -1}),
                 json.dumps({**good, "wokers": 3}), json.dumps({**good, "threads": "many"}),
                 json.dumps({**good, "state": "/tmp/elsewhere"})]
        self.pool.configure(kinds[turn % len(kinds)])

    def outcomes(self):
        """What the master made of each reload that it has heard of."""
        return [line["outcome"] for line in self.pool.events("reload", what="reload")
                if line["outcome"] in ("begun", "refused")]

    def test_100_reloads(self):
        """Good ones of workers' settings, of the number of workers alone, and bad ones."""
        self.begin()
        with self.chaos(clients=5):
            for turn in range(100):
                heard = len(self.outcomes())
                if turn % 5 == 1:
                    self.bad_configuration(turn // 5)
                elif turn % 5 == 3:
                    self.pool.configure(workers=2 + turn // 5 % 4)
                elif turn % 2:
                    self.pool.configure(predict__confidence=round(0.2 + turn / 1000, 3))
                else:
                    self.pool.configure(limits__pixels=1_000_000 + turn)
                if turn % 10 == 7:
                    self.assertTrue(self.pool.command("reload")["ok"])
                else:
                    self.pool.tell(signal.SIGHUP)
                [outcome] = eventually(lambda: self.outcomes()[heard:], "the reload is heard of")
                self.assertEqual("refused" if turn % 5 == 1 else "begun", outcome)
                time.sleep(SECONDS / 100)
                if turn % 20 == 19:
                    self.pool.wait_settled(idle=False)
            # No detection is as sure as that: all workers must have heard it.
            self.assertTrue(self.pool.reload(predict__confidence=1, workers=4)["ok"])
        self.pool.wait_settled(4)
        for picture in self.album.pictures[:20]:
            self.assertEqual([], self.assert_good(self.pool.predict("faces_cascade", picture))["detections"])
        self.assertEqual([], self.pool.events("reload", outcome="given up"))

    def test_a_bad_configuration_changes_nothing_and_says_why(self):
        self.begin({"workers": 2})
        pids = self.pool.wait_settled()
        with self.chaos():
            for turn in range(5):
                self.bad_configuration(turn)
                answer = self.pool.command("reload")
                self.assertFalse(answer["ok"])
                self.assertTrue(all(answer["problems"]), answer)
                self.assertEqual("refused", self.pool.status()["reload"]["outcome"])
        self.assertEqual(pids, set(self.pool.worker_pids()))
        self.pool.configure()
        self.assertTrue(self.pool.command("reload")["ok"])
        self.assertEqual(pids, self.pool.wait_settled())


class ScaleTest(ChaosTest):
    def test_scaling_starts_or_drains_only_the_difference(self):
        self.begin({"workers": 1})
        with self.chaos() as (load, watch):
            before = self.pool.wait_settled(1, idle=False)
            for workers, how in ((8, "scale"), (2, "reload"), (5, "scale"), (4, "signal")):
                if how == "scale":
                    answer = self.pool.command("scale", workers=workers)
                    self.assertTrue(answer["ok"], answer)
                else:
                    self.pool.configure(workers=workers)
                    self.pool.tell(signal.SIGHUP)
                after = self.pool.wait_settled(workers, idle=False)
                self.assertEqual(min(len(before), workers), len(before & after))
                load.wait_right(20)
                before = after
            self.assertFalse(self.pool.command("scale", workers=0)["ok"])
            self.assertFalse(self.pool.command("scale", workers=1000)["ok"])
        self.assert_never(watch, lambda gauges: gauges["ready"] < 1, "no worker")
        self.assertEqual(0, self.pool.crashes())

    def test_a_reload_while_new_workers_start_is_no_crash(self):
        self.begin({"workers": 2})
        with self.chaos():
            self.assertTrue(self.pool.command("scale", workers=8)["ok"])
            answer = self.pool.reload(workers=8, predict__confidence=0.3)
            self.assertTrue(answer["ok"], answer)
            self.pool.wait_reloaded(answer["generation"])
        self.assertEqual(8, len(self.pool.worker_pids()))
        self.assertEqual([], self.pool.status()["crashes"])


class GivenUpTest(ChaosTest):
    def test_a_generation_that_cannot_get_ready_is_given_up_and_the_old_one_serves(self):
        self.begin({"workers": 3, "timeouts.start_s": 2})
        workers = self.pool.wait_settled()
        port, = harness.free_ports(1)
        with self.chaos(lossy=True) as (load, watch):  # the failed one counts as ended
            answer = self.pool.reload(backend__targets=[f"127.0.0.1:{port}"])
            self.assertTrue(answer["ok"], answer)
            self.pool.wait_reloaded(answer["generation"] - 1, "given up")
            load.wait_right()
            self.assertEqual("given up", self.pool.status()["reload"]["outcome"])
            self.pool.wait_settled(idle=False)
        self.assertEqual(workers, set(self.pool.worker_pids()))
        self.assert_never(watch, lambda gauges: gauges["ready"] < 3, "a worker missing")
        self.assert_never(watch, lambda gauges: gauges["pool ready"] == 0, "not ready")
        # Nothing of it is left: the next good one is as good as ever.
        with self.chaos():
            answer = self.pool.reload(backend__targets=[], predict__confidence=0.3)
            self.assertTrue(answer["ok"], answer)
            self.pool.wait_reloaded(answer["generation"])
        self.assertFalse(workers & set(self.pool.worker_pids()))


if __name__ == "__main__":
    unittest.main()

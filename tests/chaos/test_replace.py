"""The program is replaced, the model server comes and goes, and the pool is stopped, under load."""

import os
import signal
import time
import unittest

from chaos import SECONDS, ChaosTest, Load  # it knows where the helpers are
from processes import eventually


class ProgramTest(ChaosTest):
    def runs(self, pid):
        """It runs the file that lies at the program's path now."""
        return os.path.samefile(f"/proc/{pid}/exe", self.pool.program)

    def become_next(self):
        """SIGUSR2, and until it is done; the workers."""
        def done():
            return len(self.pool.events("reload", what="new program", outcome="done"))
        before = done()
        self.pool.tell(signal.SIGUSR2)
        eventually(lambda: done() > before, "the program is replaced")
        return self.pool.wait_settled(idle=False)

    def test_the_program_is_replaced(self):
        self.begin({"workers": 3}, own_program=True)
        master, modelserver = self.pool.serve.pid, self.pool.modelserver()
        workers, sidecar = self.pool.wait_settled(), self.pool.sidecar_pids()
        with self.chaos() as (load, watch):
            self.every(0.1, lambda: None, SECONDS / 4)
            for _ in range(2):
                self.pool.replace_program()
                self.assertFalse(self.runs(master))
                fresh = self.become_next()
                self.assertTrue(self.runs(master))
                self.assertTrue(all(map(self.runs, fresh)))
                self.assertFalse(fresh & workers, "a worker stayed")
                self.assertNotEqual(sidecar, self.pool.sidecar_pids())
                self.assertEqual(str(master), (self.pool.state / "inferpool.pid").read_text().strip())
                self.assertEqual(modelserver, self.pool.modelserver())
                load.wait_right()
                workers, sidecar = fresh, self.pool.sidecar_pids()
        self.assert_never(watch, lambda gauges: gauges["ready"] < 3, "a worker missing")
        self.assert_never(watch, lambda gauges: gauges["pool ready"] == 0, "not ready")
        self.assertIsNone(self.pool.serve.poll())

    def test_what_only_a_start_can_change_stays_when_the_program_is_replaced(self):
        self.begin({"workers": 2}, own_program=True)
        workers = self.pool.wait_settled()
        with self.chaos() as (load, _):
            self.pool.configure(sidecar__port=self.pool.sidecar_port + 1, workers_max=3,
                                listen__socket=str(self.pool.state / "other.sock"),
                                modelserver__listen="unix:" + str(self.pool.state / "models.sock"))
            self.pool.replace_program()
            self.assertFalse(self.become_next() & workers)
            load.wait_right()
        self.assertEqual(200, self.pool.probe("/readyz").status)
        self.assertFalse((self.pool.state / "other.sock").exists())

    def test_a_program_that_cannot_run_is_refused(self):
        self.begin({"workers": 2}, own_program=True)
        workers = self.pool.wait_settled()
        with self.chaos():
            for content in (b"#!/bin/sh\necho no; exit 1\n", b"#!/nowhere/sh\n", b"\x7fELF"):
                refused = len(self.pool.events("reload", outcome="refused"))
                self.pool.replace_program(content)
                self.pool.tell(signal.SIGUSR2)
                eventually(lambda: len(self.pool.events("reload", outcome="refused")) > refused,
                           "the program is refused")
        self.assertEqual(workers, set(self.pool.worker_pids()))
        self.assertFalse(self.runs(self.pool.serve.pid))

    def test_a_program_replaced_while_scaled_keeps_its_workers(self):
        self.begin({"workers": 2}, own_program=True)
        with self.chaos():
            self.assertTrue(self.pool.command("scale", workers=5)["ok"])
            self.pool.tell(signal.SIGHUP)  # back to the file's
            self.pool.wait_settled(2, idle=False)
            self.assertTrue(self.pool.command("scale", workers=5)["ok"])
            self.pool.replace_program()
            self.assertEqual(5, len(self.become_next()))
        self.assertEqual(0, self.pool.crashes())


class ModelServerTest(ChaosTest):
    def test_a_model_server_that_ends_costs_503_until_it_is_back(self):
        self.begin()
        workers = self.pool.wait_settled()
        away = []  # [when it was killed, when /readyz was 200 again]

        def excuse(answer, begin):
            if not away or answer.status != 503:
                return False
            self.assert_problem(answer, 503, "model-server-away")  # with Retry-After
            return begin < away[-1][1] and answer.seconds < 1

        with self.chaos(excuse=excuse) as (load, _):
            for number in (signal.SIGKILL, signal.SIGTERM):
                old = self.pool.modelserver()
                away.append([time.monotonic(), float("inf")])
                self.assertTrue(self.pool.kill(old, number))
                eventually(lambda: self.ready().status == 503, "/readyz is 503", pause_s=0.005)
                eventually(lambda: self.ready().status == 200, "/readyz is 200", pause_s=0.005)
                away[-1][1] = time.monotonic()
                self.assertNotEqual(old, self.pool.modelserver())
                load.wait_right()
        self.assertTrue(load.excused, "nobody noticed")
        self.assertEqual(workers, set(self.pool.worker_pids()))

    def ready(self):
        return self.pool.request("GET", "/readyz")


class StopTest(ChaosTest):
    def test_sigterm_under_load(self):
        """What a worker took is answered; to all others nginx says 503, and never anything else."""
        self.begin({"log.access": True})
        stopped = []

        def excuse(answer, _):
            self.assert_problem(answer, 503)
            return bool(stopped)
        load = Load(self.pool, self.album, excuse=excuse, clients=8)
        self.addCleanup(load.stop)
        load.wait_right(100)
        stopped.append(True)
        self.pool.tell(signal.SIGTERM)
        self.assertEqual(0, self.pool.serve.wait(30))
        eventually(lambda: len(load.excused) > 20 or load.failures, "503 after the end")
        load.stop()
        load.check()
        # Whatever a worker took, its client got.
        taken = {line["request_id"] for line in self.pool.events("request")}
        self.assertLessEqual({answer.header("X-Request-ID") for _, answer in load.right}, taken)
        self.assertEqual(len(load.right), sum(line["status"] == 200 for line in
                                              self.pool.events("request")) - len(self.album.pictures))


if __name__ == "__main__":
    unittest.main()

"""The pool's life: crashes, recycling, stopping, and what clients notice of it: nothing."""

import concurrent.futures
import os
import signal
import stat
import threading
import time
import unittest

import harness
import pictures
import processes
from harness import SystemTest
from http_client import multipart
from pictures import ASTRONAUT
from processes import eventually

SMALL = pictures.encode(pictures.astronaut().crop((120, 20, 330, 230)), "JPEG", quality=90)


class Load:
    """Clients that send the same request again and again and keep the answers."""

    def __init__(self, instance, clients=4):
        self.instance = instance
        self.answers, self.failures = [], []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        while not self._stop.is_set():
            try:
                answer = self.instance.predict("faces_cascade", SMALL)
                self.answers.append(answer)
                if answer.status != 200:
                    time.sleep(0.05)
            except Exception as error:  # each is a lost request
                self.failures.append(repr(error))
                time.sleep(0.05)

    def wait_answers(self, count, status=200):
        target = sum(answer.status == status for answer in self.answers) + count
        eventually(lambda: sum(answer.status == status for answer in self.answers) >= target
                   or self.failures, f"{count} more answers of status {status}")

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive(), "a request hangs"


class CrashTest(SystemTest):
    def in_background(self, send):
        pool = concurrent.futures.ThreadPoolExecutor(1)
        self.addCleanup(pool.shutdown)
        return pool.submit(send)

    def test_a_worker_killed_in_mid_request_still_gives_its_client_a_200(self):
        self.instance = instance = self.start({"workers": 1}, self.addCleanup)
        form = multipart([("image", ASTRONAUT, "astronaut.jpg")])
        expected = instance.predict("faces_cascade", ASTRONAUT).detections
        for name, body, content_type in (("raw", ASTRONAUT, "image/jpeg"), ("form", *form)):
            with self.subTest(name):
                [worker] = instance.wait_workers()
                modelserver = instance.stop_modelserver()
                pending = self.in_background(
                    lambda: instance.predict("faces_cascade", body, content_type=content_type,
                                             headers={"X-Request-ID": "survivor"}))
                instance.wait_in_work(1)
                os.kill(worker, signal.SIGKILL)
                os.kill(modelserver, signal.SIGCONT)
                answer = pending.result()
                self.assertEqual(expected, self.assert_good(answer)["detections"])
                self.assertEqual("survivor", answer.header("X-Request-ID"))
                self.assertNotIn(worker, instance.wait_workers())

    def test_every_kind_of_death_of_a_worker_under_load_is_hidden(self):
        self.instance = instance = self.start({"workers": 3}, self.addCleanup)
        instance.wait_workers()
        load = Load(instance)
        self.addCleanup(load.stop)
        for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM):
            load.wait_answers(10)
            victim = instance.wait_workers()[0]
            os.kill(victim, number)
            eventually(lambda: victim not in instance.workers(), "the worker has ended")
            instance.wait_workers()
        load.wait_answers(10)
        load.stop()
        self.assertEqual([], load.failures)
        bad = [answer.body for answer in load.answers if answer.status != 200]
        self.assertEqual([], bad)
        self.assertEqual(3, instance.crashes())

    def test_a_worker_that_crashes_again_and_again_is_started_again_at_once(self):
        self.instance = instance = self.start({"workers": 1}, self.addCleanup)
        [worker] = instance.wait_workers()
        crashes = 8
        for _ in range(crashes):
            crashed = time.monotonic()
            os.kill(worker, signal.SIGSEGV)
            eventually(lambda: instance.workers() not in ([], [worker]), "a new worker", pause_s=0.005)
            # A back-off that doubles from 100 ms would come to 10 s. The machine may be slow.
            self.assertLess(time.monotonic() - crashed, 8)
            [worker] = instance.wait_workers()
        self.assertEqual(crashes, instance.crashes())
        starts = instance.metrics().value("inferpool_worker_starts_total")
        self.assertEqual(crashes + 1, starts)
        self.assert_good(instance.predict("faces_cascade", ASTRONAUT))

    def test_counters_never_fall_when_workers_go(self):
        self.instance = instance = self.start({"recycle.requests": 30, "recycle.jitter": 10},
                                              self.addCleanup)
        instance.wait_workers()
        load = Load(instance)
        self.addCleanup(load.stop)
        latest = instance.metrics().counters()
        scrapes = 0
        for _ in range(3):
            victim = instance.wait_workers()[0]
            os.kill(victim, signal.SIGKILL)
            until = time.monotonic() + 1.5
            while time.monotonic() < until or victim in instance.workers():
                counters = instance.metrics().counters()
                scrapes += 1
                self.assertEqual(latest.keys(), counters.keys())
                for key, value in latest.items():
                    self.assertGreaterEqual(counters[key], value, key)
                latest = counters
        load.stop()
        self.assertGreater(scrapes, 20)
        self.assertEqual([], load.failures)
        # What a killed worker had counted is still there; only the requests that it had in work were
        # not counted, and those were counted when they had been sent again.
        self.assertEqual({200}, {answer.status for answer in load.answers})
        counted = instance.metrics().value("inferpool_requests_total", status="200")
        self.assertGreaterEqual(counted, len(load.answers))

    def test_a_killed_sidecar_comes_back_and_nobody_else_notices(self):
        self.instance = instance = self.start({}, self.addCleanup)
        workers, modelserver = instance.wait_workers(), instance.modelserver()
        before = instance.metrics().counters()
        old = instance.sidecar()
        os.kill(old, signal.SIGKILL)
        self.assert_good(instance.predict("faces_cascade", ASTRONAUT))
        eventually(lambda: not processes.is_alive(old), "the sidecar is gone")
        self.assertNotEqual(old, instance.sidecar())
        eventually(lambda: instance.request("GET", "/readyz").status == 200, "/readyz is back")
        after = instance.metrics().counters()
        for key, value in before.items():
            self.assertGreaterEqual(after[key], value, key)
        self.assertEqual((workers, modelserver), (instance.workers(), instance.modelserver()))

    def test_a_killed_master_takes_all_its_children_along(self):
        self.instance = instance = self.start({}, self.addCleanup)
        instance.wait_workers()
        self.assertGreaterEqual(len(processes.session(instance.session)), 5)
        os.kill(instance.serve.pid, signal.SIGKILL)
        instance.serve.wait()
        eventually(lambda: not processes.session(instance.session), "no child is left")
        # The socket's file is left, and is no hindrance.
        self.assertTrue(os.path.exists(instance.socket))
        instance.start_serve()
        eventually(lambda: instance.request("GET", "/readyz").status == 200, "ready again")
        self.assert_good(instance.predict("faces_cascade", ASTRONAUT))

    def test_a_killed_master_takes_also_busy_children_along(self):
        self.instance = instance = self.start({"timeouts.request_s": 5}, self.addCleanup)
        instance.wait_workers()
        frozen = instance.stop_modelserver()
        pending = self.in_background(lambda: instance.predict("faces_cascade", ASTRONAUT))
        instance.wait_in_work(1)
        os.kill(instance.serve.pid, signal.SIGKILL)
        instance.serve.wait()
        self.assertIn(pending.result().status, (200, 503, 504))
        os.kill(frozen, signal.SIGCONT)
        eventually(lambda: not processes.session(instance.session), "no child is left")
        for path in instance.sockets():  # there is nobody left to remove them
            os.unlink(path)


class RecycleTest(SystemTest):
    SETTINGS = {"recycle.requests": 20, "recycle.jitter": 5}

    def test_recycling_under_load_loses_nothing(self):
        instance = self.instance
        first = set(instance.wait_workers())
        load = Load(instance, clients=6)
        self.addCleanup(load.stop)
        eventually(lambda: instance.metrics().value("inferpool_worker_ends_total", reason="planned") >= 6
                   or load.failures, "six workers have been recycled")
        load.stop()
        self.assertEqual([], load.failures)
        self.assertEqual([], [answer.body for answer in load.answers if answer.status != 200])
        for answer in load.answers:
            self.assert_good(answer)
        self.assertEqual(0, instance.crashes())
        self.assertFalse(first & set(instance.wait_workers()))
        metrics = instance.metrics()
        self.assertEqual(len(load.answers), metrics.sum("inferpool_requests_total"))
        # Each lived for 20 to 25 requests and those that its other threads had in hand.
        ends = metrics.value("inferpool_worker_ends_total", reason="planned")
        self.assertLessEqual(20 * ends, len(load.answers))


class StopTest(SystemTest):
    def setUp(self):
        self.pool = concurrent.futures.ThreadPoolExecutor(8)
        self.addCleanup(self.pool.shutdown)

    def busy_instance(self, requests, **settings):
        """An instance whose workers wait for a frozen model server; (it, that, the requests)."""
        instance = self.start(settings, self.addCleanup)
        self.instance = instance
        instance.wait_workers()
        self.assert_good(instance.predict("faces_cascade", ASTRONAUT))
        frozen = instance.stop_modelserver()
        pending = [self.pool.submit(instance.predict, "faces_cascade", ASTRONAUT) for _ in range(requests)]
        instance.wait_in_work(requests)
        return instance, frozen, pending

    def wait_draining(self):
        """Until no worker takes new requests. One that has none in work is gone at once."""
        eventually(lambda: self.instance.metrics().value("inferpool_workers", state="ready") == 0,
                   "the workers drain")

    def test_requests_in_work_are_answered_when_the_pool_stops(self):
        instance, frozen, pending = self.busy_instance(6)
        instance.serve.terminate()
        self.wait_draining()
        os.kill(frozen, signal.SIGCONT)
        for request in pending:
            self.assert_good(request.result())
        self.assertEqual(0, instance.serve.wait(60))
        self.assertFalse(os.path.exists(instance.socket))
        self.assert_problem(instance.predict("faces_cascade", ASTRONAUT), 503)

    def test_sigterm_under_load_loses_nothing(self):
        self.instance = instance = self.start({"log.access": True}, self.addCleanup)
        instance.wait_workers()
        load = Load(instance, clients=6)
        self.addCleanup(load.stop)
        load.wait_answers(30)
        instance.serve.terminate()
        self.assertEqual(0, instance.serve.wait(30))
        instance.assert_nothing_left()
        load.wait_answers(5, status=503)
        load.stop()
        self.assertEqual([], load.failures, "nginx was there all the time")
        for answer in load.answers:
            if answer.status == 200:
                self.assert_good(answer)
            else:
                self.assert_problem(answer, 503)
        # Whatever a worker took, its client got.
        got = {answer.header("X-Request-ID") for answer in load.answers if answer.status == 200}
        taken = {line["request_id"] for line in instance.log()
                 if line.get("event") in ("request", "slow request")}
        self.assertEqual(taken, got)

    def test_requests_that_outlast_the_drain_are_killed(self):
        instance, _, pending = self.busy_instance(2, **{"timeouts.drain_s": 1})
        begin = time.monotonic()
        instance.serve.terminate()
        status = instance.serve.wait(60)
        # One second for the workers, five for the frozen model server.
        self.assertGreaterEqual(time.monotonic() - begin, 1)
        self.assertLess(time.monotonic() - begin, 30)
        self.assertEqual(0, status)
        instance.assert_nothing_left()
        killed = {line["child"] for line in instance.log()
                  if line.get("event") == "child did not leave in time, killed"}
        self.assertTrue(any(child.startswith("worker") for child in killed), killed)
        for request in pending:
            self.assert_problem(request.result(), 503)

    def test_a_second_sigint_stops_at_once(self):
        instance, _, pending = self.busy_instance(2)
        begin = time.monotonic()
        instance.serve.send_signal(signal.SIGINT)
        eventually(lambda: any(line.get("event") == "stopping" for line in instance.log()), "stopping")
        time.sleep(0.3)
        self.assertIsNone(instance.serve.poll(), "the first SIGINT waits for the requests")
        instance.serve.send_signal(signal.SIGINT)
        instance.serve.wait(60)
        self.assertLess(time.monotonic() - begin, 20)  # drain_s is 30
        instance.assert_nothing_left()
        for request in pending:
            self.assert_problem(request.result(), 503)

    def test_one_sigint_drains(self):
        instance, frozen, pending = self.busy_instance(2)
        instance.serve.send_signal(signal.SIGINT)
        self.wait_draining()
        os.kill(frozen, signal.SIGCONT)
        for request in pending:
            self.assert_good(request.result())
        self.assertEqual(0, instance.serve.wait(60))

    def test_sigterm_right_after_the_start_stops_everything(self):
        self.instance = instance = self.start({}, self.addCleanup)
        instance.serve.terminate()
        instance.serve.wait(60)
        for pause_s in (0, 0.02, 0.1, 0.3):
            with self.subTest(pause_s=pause_s):
                instance.start_serve()
                time.sleep(pause_s)
                instance.serve.terminate()
                self.assertIn(instance.serve.wait(60), (0, -signal.SIGTERM))
                instance.assert_nothing_left()

    def test_while_the_pool_stops_readyz_says_so_and_livez_goes_on(self):
        instance, frozen, pending = self.busy_instance(1)
        instance.serve.terminate()
        answer = eventually(
            lambda: answer if (answer := instance.probe("/readyz")).status == 503 else None, "/readyz 503")
        self.assertFalse(answer.json()["workers"]["ready"])
        self.assertEqual(200, instance.probe("/livez").status)
        os.kill(frozen, signal.SIGCONT)
        self.assert_good(pending[0].result())


class MasterTest(SystemTest):
    SETTINGS = {}

    def setUp(self):
        self.workers = self.instance.wait_workers()

    def assert_undisturbed(self):
        self.assertEqual(self.workers, self.instance.workers())
        self.assertEqual(200, self.instance.request("GET", "/readyz").status)
        self.assert_good(self.instance.predict("faces_cascade", ASTRONAUT))

    def refused(self, *overrides):
        sets = [argument for override in overrides for argument in ("--set", override)]
        result = harness.inferpool("serve", "-c", self.instance.config_file, *sets)
        self.assertNotEqual(0, result.returncode)
        self.assertGreater(result.returncode, 0, "ended by a signal")
        self.assertEqual("", result.stdout)
        self.assertEqual(1, len(result.stderr.splitlines()), result.stderr)
        self.assert_undisturbed()
        return result.stderr

    def test_the_master_has_one_thread_and_no_connection(self):
        self.assert_good(self.instance.predict("faces_cascade", ASTRONAUT))
        self.assertEqual(["inferpool"], processes.thread_names(self.instance.serve.pid))

    def test_each_worker_has_its_threads(self):
        for pid in self.workers:
            self.assertGreaterEqual(len(processes.thread_names(pid)), self.instance.settings["threads"])

    def test_the_socket_is_for_owner_and_group(self):
        mode = os.stat(self.instance.socket).st_mode
        self.assertTrue(stat.S_ISSOCK(mode))
        self.assertEqual(0o660, stat.S_IMODE(mode))

    def test_a_second_pool_in_the_same_state_folder_is_refused(self):
        port, = harness.free_ports(1)
        self.assertIn(f"already runs from the state folder {self.instance.state} (process "
                      f"{self.instance.serve.pid})",
                      self.refused(f"sidecar.port={port}", "listen.socket=second.sock"))

    def test_a_second_pool_on_the_same_sidecar_port_is_refused(self):
        other = harness.tempfile.mkdtemp(prefix="ip", dir="/tmp")
        self.addCleanup(harness.shutil.rmtree, other)
        self.assertIn(str(self.instance.sidecar_port), self.refused(f"state={other}"))

    def test_a_second_pool_with_everything_the_same_is_refused(self):
        self.refused()

    def test_serve_refuses_what_cannot_work_in_one_sentence(self):
        other = harness.tempfile.mkdtemp(prefix="ip", dir="/tmp")
        self.addCleanup(harness.shutil.rmtree, other)
        sidecar = f"sidecar.port={harness.free_ports(1)[0]}"
        self.assertIn("/nowhere", self.refused(f"state={other}", sidecar,
                                               "modelserver.repository=/nowhere/models"))
        self.assertIn("/proc/x", self.refused("state=/proc/x", sidecar))
        (harness.Path(other) / "inferpool.sock").write_text("precious")
        self.assertIn("inferpool.sock", self.refused(f"state={other}", sidecar))
        self.assertEqual("precious", (harness.Path(other) / "inferpool.sock").read_text())

    def test_sighup_stops_nothing(self):
        os.kill(self.instance.serve.pid, signal.SIGHUP)
        eventually(lambda: any((line.get("event"), line.get("outcome")) == ("reload", "done")
                               for line in self.instance.log()), "SIGHUP is noticed")
        self.assert_undisturbed()

    def test_two_instances_run_side_by_side(self):
        other = self.start({}, self.addCleanup)
        self.assert_good(other.predict("faces_cascade", ASTRONAUT))
        self.assert_undisturbed()


class DepartureTest(SystemTest):
    """A client that leaves costs nothing from then on."""

    def send_and_leave(self, instance, leave):
        with instance.connect_tls() as connection:
            connection.sendall(b"POST /v1/predict/faces_cascade HTTP/1.1\r\nHost: localhost\r\n"
                               b"Content-Type: image/jpeg\r\n"
                               b"Content-Length: %d\r\n\r\n" % len(ASTRONAUT) + ASTRONAUT)
            leave()

    def left(self, instance):
        return instance.metrics().value("inferpool_requests_total", status="499")

    def test_a_client_that_leaves_in_mid_request_frees_its_thread_at_once(self):
        self.instance = instance = self.start({"workers": 1}, self.addCleanup)
        instance.wait_workers()
        self.assert_good(instance.predict("faces_cascade", ASTRONAUT))
        instance.stop_modelserver()
        self.send_and_leave(instance, lambda: instance.wait_in_work(1))
        left = time.monotonic()
        instance.wait_in_work(0)  # long before timeouts.request_s
        self.assertLess(time.monotonic() - left, 20)
        self.assertEqual(1, self.left(instance))
        os.kill(instance.modelserver(), signal.SIGCONT)
        self.assert_good(instance.predict("faces_cascade", ASTRONAUT))

    def test_a_request_whose_client_left_while_it_waited_is_dropped_without_work(self):
        self.instance = instance = self.start({"workers": 1, "limits.queue_ms": 0}, self.addCleanup)
        [worker] = instance.wait_workers()
        os.kill(worker, signal.SIGSTOP)
        for count in (1, 2, 3):
            self.send_and_leave(instance, lambda count=count: eventually(
                lambda: instance.metrics().value("inferpool_listen_queue") == count, "it waits"))
        time.sleep(0.2)  # nginx has noticed that they left
        os.kill(worker, signal.SIGCONT)
        eventually(lambda: self.left(instance) == 3, "they are dropped")
        received = instance.metrics().value("inferpool_received_bytes_total")
        self.assertEqual(0, received)


if __name__ == "__main__":
    unittest.main()

"""What load balancers and operators are told: /livez, /readyz, /metrics."""

import concurrent.futures
import datetime
import json
import os
import re
import resource
import signal
import socket
import subprocess
import time
import unittest
from pathlib import Path

import harness
import http_client
import pictures
import processes
from exposition import Metrics
from harness import SystemTest
from pictures import ASTRONAUT
from processes import eventually

# The bound is one second; the rest is for a busy machine.
SOON_S = 3


class HealthTest(SystemTest):
    def wait_ready(self, status, timeout_s=processes.PATIENCE_S, instance=None):
        """Until /readyz through nginx has that status; the answer, which must agree with itself."""
        instance = instance or self.instance
        answer = eventually(
            lambda: answer if (answer := instance.request("GET", "/readyz")).status == status else None,
            f"/readyz says {status}", timeout_s)
        content = answer.json()
        self.assertEqual(status == 200, content["ready"])
        for part in ("workers", "model_server"):
            self.assertLessEqual({"ready", "detail"}, set(content[part]))
        self.assertEqual(content["ready"], content["workers"]["ready"] and content["model_server"]["ready"])
        if status == 503:
            self.assertRegex(answer.header("Retry-After") or "", r"^\d+$")
        return content

    def assert_away(self, instance):
        """Predictions fail as they should, and what needs no model goes on."""
        for answer in (instance.predict("faces_cascade", ASTRONAUT), instance.request("GET", "/v1/models")):
            self.assert_problem(answer, 503, "model-server-away")
        self.assert_problem(instance.predict("faces_cascade", b"text"), 415)
        self.assertEqual(200, instance.request("GET", "/livez").status)
        self.assertEqual(0, instance.metrics().value("inferpool_model_server_ready"))
        self.assertEqual(0, instance.metrics().value("inferpool_ready"))


class ModelServerTest(HealthTest):
    """A model server of the test's own, which it can take away for as long as it likes."""

    def setUp(self):
        self.folder = harness.tempfile.mkdtemp(prefix="ip", dir="/tmp")
        self.addCleanup(harness.shutil.rmtree, self.folder)
        self.listen = f"unix:{self.folder}/m.sock"
        self.log = open(f"{self.folder}/modelserver.log", "ab")
        self.addCleanup(self.log.close)
        self.server = None
        self.start_server()

    def start_server(self):
        self.server = harness.start_modelserver(self.listen, self.log)
        self.addCleanup(self.end_server, self.server)

    @staticmethod
    def end_server(server, number=signal.SIGKILL):
        if server.poll() is None:
            server.send_signal(number)
        server.wait(60)

    def wait_server(self):
        """Until it says that its models are loaded; from then on the clock of the issue runs."""
        def says_ready():
            lines = open(self.log.name, encoding="utf-8").read().splitlines()
            return any(f'"pid":{self.server.pid},"event":"ready"' in line for line in lines)
        eventually(says_ready, "the model server is ready")

    def start_instance(self, **settings):
        self.instance = self.start({"modelserver.enabled": False, "backend.targets": [self.listen],
                                    **settings}, self.addCleanup)
        self.instance.wait_workers()
        return self.instance

    def test_a_killed_model_server_turns_readyz_and_predictions_to_503_and_back(self):
        instance = self.start_instance()
        pids = instance.workers()
        for _ in range(2):
            expected = self.assert_good(instance.predict("faces_cascade", ASTRONAUT))["detections"]
            self.end_server(self.server)
            content = self.wait_ready(503, SOON_S)
            self.assertFalse(content["model_server"]["ready"])
            self.assertTrue(content["model_server"]["detail"])
            self.assertTrue(content["workers"]["ready"])
            self.assert_away(instance)
            time.sleep(1)  # long enough for a reconnect's back-off to have grown
            self.assert_away(instance)
            self.start_server()
            self.wait_server()
            self.wait_ready(200, SOON_S)
            # Every worker has a connection of its own, which may notice up to half a second later.
            eventually(lambda: instance.predict("faces_cascade", ASTRONAUT).status == 200, "200 again", SOON_S)
            time.sleep(1)
            for _ in range(8):
                self.assertEqual(expected, self.assert_good(instance.predict("faces_cascade", ASTRONAUT))["detections"])
        self.assertEqual(pids, instance.workers())

    def test_a_model_server_that_ends_in_mid_request_gives_a_503(self):
        instance = self.start_instance()
        self.assert_good(instance.predict("faces_cascade", ASTRONAUT))
        for number in (signal.SIGKILL, signal.SIGTERM):
            with self.subTest(number.name):
                self.server.send_signal(signal.SIGSTOP)
                eventually(lambda: processes.is_stopped(self.server.pid), "frozen")
                with concurrent.futures.ThreadPoolExecutor(4) as pool:
                    pending = [pool.submit(instance.predict, "faces_cascade", ASTRONAUT) for _ in range(4)]
                    instance.wait_in_work(4)
                    self.server.send_signal(number)
                    self.server.send_signal(signal.SIGCONT)
                    self.server.wait(60)
                    for request in pending:
                        answer = request.result()
                        if answer.status != 200 or number == signal.SIGKILL:
                            self.assert_problem(answer, 503, "model-server-away")
                self.start_server()
                self.wait_ready(200)
                eventually(lambda: instance.predict("faces_cascade", ASTRONAUT).status == 200, "200 again")

    def test_a_frozen_model_server_is_noticed_too(self):
        instance = self.start_instance(**{"timeouts.request_s": 3})
        self.assert_good(instance.predict("faces_cascade", ASTRONAUT))
        self.server.send_signal(signal.SIGSTOP)
        content = self.wait_ready(503, SOON_S)
        self.assertFalse(content["model_server"]["ready"])
        self.assertEqual(200, instance.request("GET", "/livez").status)
        self.assert_problem(instance.predict("faces_cascade", ASTRONAUT), 504)
        self.server.send_signal(signal.SIGCONT)
        self.wait_ready(200, SOON_S)
        eventually(lambda: instance.predict("faces_cascade", ASTRONAUT).status == 200, "200 again")

    def test_a_pool_that_starts_before_its_model_server_waits_for_it(self):
        self.end_server(self.server)
        self.instance = instance = self.start(
            {"modelserver.enabled": False, "backend.targets": [self.listen]}, self.addCleanup,
            wait_ready=False)
        instance.wait_workers()
        self.wait_ready(503)
        self.assert_away(instance)
        self.start_server()
        self.wait_server()
        self.wait_ready(200, SOON_S)
        eventually(lambda: instance.predict("faces_cascade", ASTRONAUT).status == 200, "200 again", SOON_S)

    def test_each_of_several_model_servers_is_told_apart(self):
        first, second = self.listen, f"unix:{self.folder}/second.sock"
        other = harness.start_modelserver(second, self.log)
        self.addCleanup(self.end_server, other)
        instance = self.start_instance(**{"backend.targets": [first, second]})

        def shown():
            metrics = instance.metrics()
            return [metrics.value("inferpool_model_server_target_ready", target=target)
                    for target in (first, second)]
        eventually(lambda: shown() == [1, 1], "both are ready")
        self.assertEqual("2 of 2 ready", self.wait_ready(200)["model_server"]["detail"])
        self.end_server(other)
        eventually(lambda: shown() == [1, 0], "one is away", SOON_S)
        self.assertRegex(self.wait_ready(200)["model_server"]["detail"],
                         f"^1 of 2 ready; {second}: .")
        self.assertEqual(1, instance.metrics().value("inferpool_model_server_ready"))
        self.assert_good(instance.predict("faces_cascade", ASTRONAUT))
        self.end_server(self.server)
        content = self.wait_ready(503, SOON_S)
        for target in (first, second):
            self.assertIn(f"; {target}: ", content["model_server"]["detail"])
        self.assert_away(instance)

    def test_a_model_server_over_tcp(self):
        port, = harness.free_ports(1)
        self.listen = f"127.0.0.1:{port}"
        self.start_server()
        self.assert_good(self.start_instance().predict("faces_cascade", ASTRONAUT))


class EmbeddedTest(HealthTest):
    def test_a_pool_is_ready_soon_after_its_model_server(self):
        self.instance = instance = self.start({}, self.addCleanup)
        def said(event, role):
            line = next(line for line in instance.log() if (line["event"], line["role"]) == (event, role))
            return datetime.datetime.fromisoformat(line["time"])
        between = said("model server", "sidecar") - said("ready", "modelserver")
        self.assertLess(between.total_seconds(), SOON_S)

    def test_a_killed_embedded_model_server_is_started_again(self):
        self.instance = instance = self.start({}, self.addCleanup)
        workers = instance.wait_workers()
        expected = self.assert_good(instance.predict("faces_cascade", ASTRONAUT))["detections"]
        old = instance.modelserver()
        os.kill(old, signal.SIGKILL)
        eventually(lambda: not processes.is_alive(old), "it is gone")
        self.assertNotEqual(old, instance.modelserver())

        def back():
            answer = instance.predict("faces_cascade", ASTRONAUT)
            if answer.status != 200:
                self.assert_problem(answer, 503, "model-server-away")
            return answer if answer.status == 200 else None
        self.assertEqual(expected, eventually(back, "200 again").detections)
        self.wait_ready(200)
        self.assertEqual(workers, instance.workers())
        self.assertEqual(0, instance.crashes(), "the model server is no worker")

    def test_readyz_is_503_while_no_worker_is_ready(self):
        self.instance = instance = self.start({"workers": 1}, self.addCleanup)
        [worker] = instance.wait_workers()
        # Whoever is started from now on has no memory for its threads, and does not come up.
        master = instance.serve.pid
        [size_kib] = re.findall(r"VmSize:\s+(\d+) kB", Path(f"/proc/{master}/status").read_text())
        _, most = resource.prlimit(master, resource.RLIMIT_AS)
        resource.prlimit(master, resource.RLIMIT_AS, (int(size_kib) * 1024 + 2**22, most))
        os.kill(worker, signal.SIGKILL)

        def content_of_one_that_waits():
            content = self.wait_ready(503)
            return content if "waiting" in content["workers"]["detail"] else None
        content = eventually(content_of_one_that_waits, "the worker waits for its back-off")
        self.assertFalse(content["workers"]["ready"])
        self.assertEqual("0 of 1 ready, 1 waiting to be started again after a crash",
                         content["workers"]["detail"])
        self.assertTrue(content["model_server"]["ready"])
        resource.prlimit(master, resource.RLIMIT_AS, (most, most))
        self.wait_ready(200)

    def test_probes_are_answered_while_all_threads_are_busy(self):
        self.instance = instance = self.start(
            {"workers": 1, "threads": 2, "limits.queue_ms": 0}, self.addCleanup)
        self.assert_good(instance.predict("faces_cascade", ASTRONAUT))  # its connection is there
        frozen = instance.stop_modelserver()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            pending = [pool.submit(instance.predict, "faces_cascade", ASTRONAUT) for _ in range(4)]
            instance.wait_in_work(2)
            for path in ("/livez", "/metrics"):
                self.assertEqual(200, instance.request("GET", path).status)
            self.wait_ready(503)
            os.kill(frozen, signal.SIGCONT)
            for request in pending:
                self.assert_good(request.result())


class LogTest(SystemTest):
    SETTINGS = {"log.slow_ms": 100}

    def test_a_slow_request_has_its_line_and_others_have_none(self):
        large = pictures.encode(pictures.astronaut().resize((1600, 1600)), "JPEG")
        answer = self.instance.predict("faces_cascade", large)
        self.assertGreater(self.assert_good(answer)["timing_ms"]["total"], 100)
        for _ in range(5):
            self.instance.predict("faces_cascade", b"text")
        lines = {line["request_id"]: line for line in self.instance.log() if "request_id" in line}
        slow = lines[answer.header("X-Request-ID")]
        self.assertEqual(("warning", "slow request", "POST", "/v1/predict/faces_cascade", 200),
                         tuple(slow[key] for key in ("level", "event", "method", "path", "status")))
        for line in lines.values():
            self.assertGreaterEqual(line["total_ms"], 100, line)

    def test_every_line_of_the_pool_is_one_json_object(self):
        self.instance.predict("faces_cascade", ASTRONAUT, headers={"X-Request-ID": "x"})
        self.instance.fastcgi(method="GET", uri="/\"\\\n\xff%s{}", HTTP_X_REQUEST_ID="\"%n\n")
        lines = (self.instance.state / "logs/serve.log").read_text().splitlines()
        for line in lines:
            self.assertLessEqual({"time", "level", "role", "pid", "event"}, set(json.loads(line)))
        self.assertLessEqual({"master", "sidecar", "worker 0", "worker 1", "modelserver"},
                             {json.loads(line)["role"] for line in lines})


class SidecarTest(HealthTest):
    SETTINGS = {}

    def test_livez_and_readyz(self):
        for ask in (self.instance.probe, lambda path: self.instance.request("GET", path),
                    lambda path: self.instance.http("GET", path)):
            self.assertEqual(200, ask("/livez").status)
            answer = ask("/readyz")
            self.assertEqual(200, answer.status)
            self.assertEqual("application/json", answer.header("Content-Type"))
            self.assertEqual("no-store", answer.header("Cache-Control"))
            self.assertTrue(answer.json()["ready"])
        self.wait_ready(200)

    def test_the_sidecar_knows_its_paths_and_methods(self):
        self.assertEqual(404, self.instance.probe("/").status)
        self.assertEqual(404, self.instance.probe("/livez/x").status)
        self.assertEqual(405, self.instance.probe("/livez", "DELETE").status)
        self.assertEqual((200, b""), ((answer := self.instance.probe("/readyz", "HEAD")).status, answer.body))

    def test_the_sidecar_outlives_nonsense(self):
        pid = self.instance.sidecar()
        for data in (b"", b"\0" * 1000, b"GET\r\n\r\n", b"POST /livez HTTP/1.1\r\nHost: x\r\n"
                     b"Content-Length: 5\r\n\r\n12345", b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", self.instance.sidecar_port), timeout=60) as raw:
                try:
                    raw.sendall(data)
                except ConnectionError:
                    pass
        self.assertEqual(200, self.instance.probe("/readyz").status)
        self.assertEqual(pid, self.instance.sidecar())

    def test_many_silent_connections_do_not_blind_the_probes(self):
        for _ in range(60):
            self.addCleanup(socket.create_connection(
                ("127.0.0.1", self.instance.sidecar_port), timeout=60).close)
        self.assertEqual(200, self.instance.request("GET", "/readyz").status)

    def test_metrics_are_well_formed(self):
        self.assert_good(self.instance.predict("faces_cascade", ASTRONAUT))
        answer = self.instance.request("GET", "/metrics")
        self.assertEqual(200, answer.status)
        self.assertTrue(answer.header("Content-Type").startswith("text/plain; version=0.0.4"))
        metrics = Metrics(answer.body.decode())
        for name, kind in metrics.types.items():
            self.assertTrue(metrics.helps.get(name), f"{name} has no HELP")
            self.assertTrue(name.startswith("inferpool_"), name)
            self.assertEqual(kind == "counter", name.endswith("_total"), name)
        self.assertTrue(metrics.histograms())
        for (family, labels), buckets in metrics.histograms().items():
            bounds, counts = zip(*buckets)
            self.assertEqual(sorted(set(bounds)), list(bounds), family)
            self.assertEqual(float("inf"), bounds[-1])
            self.assertEqual(sorted(counts), list(counts), "buckets are cumulative")
            self.assertEqual(counts[-1], metrics.value(f"{family}_count", **dict(labels)))
            total = metrics.value(f"{family}_sum", **dict(labels))
            self.assertGreaterEqual(total, 0)
        stages = {dict(labels)["stage"] for _, labels in metrics.histograms()}
        self.assertEqual({"queue", "read", "decode", "preprocess", "infer", "postprocess", "draw",
                          "total"}, stages)

    def test_metrics_count_what_happens(self):
        before = self.instance.metrics()
        answers = [self.instance.predict("faces_cascade", ASTRONAUT) for _ in range(3)]
        after = self.instance.metrics()
        def grown(name, **labels):
            return after.value(name, **labels) - before.value(name, **labels)
        self.assertEqual(3, grown("inferpool_requests_total", status="200"))
        self.assertEqual(3 * len(ASTRONAUT), grown("inferpool_received_bytes_total"))
        self.assertEqual(sum(len(answer.body) for answer in answers), grown("inferpool_sent_bytes_total"))
        for stage in ("decode", "infer", "total"):
            self.assertEqual(3, grown("inferpool_stage_seconds_count", stage=stage))
            self.assertAlmostEqual(sum(answer.json()["timing_ms"][stage] for answer in answers) / 1000,
                                   grown("inferpool_stage_seconds_sum", stage=stage), delta=0.005)

    def test_metrics_gauges_tell_the_pools_state(self):
        self.instance.wait_workers()
        metrics = self.instance.metrics()
        workers = self.instance.settings["workers"]
        self.assertEqual(workers, metrics.value("inferpool_workers", state="ready"))
        self.assertEqual(workers, metrics.sum("inferpool_workers"))
        self.assertEqual(0, metrics.value("inferpool_requests_in_work"))
        self.assertEqual(1, metrics.value("inferpool_ready"))
        self.assertEqual(1, metrics.value("inferpool_model_server_ready"))
        self.assertEqual(workers, metrics.value("inferpool_worker_starts_total"))
        self.assertEqual(0, metrics.sum("inferpool_worker_ends_total"))

    def test_metrics_are_for_loopback_only(self):
        self.assertEqual(200, self.instance.http("GET", "/metrics").status)
        addresses = [word for word in subprocess.run(["hostname", "-I"], capture_output=True, text=True,
                                                     check=False).stdout.split() if ":" not in word]
        if not addresses:
            self.skipTest("this machine has no address but loopback")
        for headers in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"X-Real-IP": "127.0.0.1"}):
            def ask(path):
                connection = http_client.http.client.HTTPConnection(addresses[0], self.instance.http_port,
                                                                    timeout=60)
                return http_client.request(connection, "GET", path, headers=headers)
            self.assert_problem(ask("/metrics"), 403, "forbidden")
            for path in ("/livez", "/readyz"):
                self.assertEqual(200, ask(path).status)


if __name__ == "__main__":
    unittest.main()

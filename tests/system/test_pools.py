"""Several pools behind one nginx, and a pool on TCP."""

import contextlib
import os
import signal
import socket
import threading
import unittest
from pathlib import Path

import harness
import processes
from edge import FACE, temporary_folder
from harness import Instance, SystemTest, inferpool
from http_client import multipart
from processes import PATIENCE_S, eventually

MIB = 1024 * 1024


class Load:
    """Requests, one after the other on each of some threads, until stopped."""

    def __init__(self, instance, threads=4):
        self.instance = instance
        self.statuses, self.failures = [], []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def _run(self):
        while not self.stopped.is_set():
            try:
                answer = self.instance.predict("faces_cascade", FACE)
                self.statuses.append(answer.status)
                if answer.status != 200:
                    self.failures.append(answer.body)
            except OSError as error:
                self.failures.append(repr(error))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(PATIENCE_S)

    def more(self, count):
        wanted = len(self.statuses) + count
        eventually(lambda: len(self.statuses) >= wanted or self.failures, f"{count} more answers")


@contextlib.contextmanager
def deaf_port():
    """A port whose queue is full, so that a connect to it gets no answer at all."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        clients = []
        for _ in range(4):
            clients.append(socket.socket())
            clients[-1].setblocking(False)
            clients[-1].connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for client in clients:
            client.close()


class PoolsTest(SystemTest):
    def start_two(self, extra_pools=()):
        """self.instance, with the nginx of both, and self.second."""
        tcp, = harness.free_ports(1)
        self.second = Instance({"listen.socket": f"tcp:127.0.0.1:{tcp}"}, nginx=False)
        self.addCleanup(self.second.destroy)
        instance = self.instance = Instance({"nginx.rate_per_s": 0}, nginx=False)
        self.addCleanup(instance.destroy)
        instance.settings.update({
            "nginx.pools": [f"unix:{instance.socket}", f"127.0.0.1:{tcp}", *extra_pools],
            "nginx.sidecars": [f"127.0.0.1:{one.sidecar_port}" for one in (instance, self.second)]})
        instance.write_config()
        instance.start_nginx()
        eventually(lambda: self.answers_through_nginx(instance), "nginx answers")

    @staticmethod
    def answers_through_nginx(instance):
        with contextlib.suppress(OSError):
            return instance.http("GET", "/readyz").status == 200
        return False

    def kill(self, instance):
        pids = processes.session(instance.serve.pid)
        for name in processes.segments_of(*pids):  # which it cannot take away
            self.addCleanup(Path("/dev/shm", name).unlink, missing_ok=True)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        instance.serve.wait(PATIENCE_S)

    def served(self, instance):
        return instance.metrics().value("inferpool_requests_total", status="200")

    def test_no_request_is_lost_when_a_pool_dies(self):
        self.start_two()
        with Load(self.instance) as load:
            load.more(30)
            for instance in (self.instance, self.second):
                self.assertGreater(self.served(instance), 0, "both pools work")
            self.kill(self.second)
            load.more(60)
            self.second.start_serve()
            eventually(lambda: self.probe_ready(self.second), "the second pool is back")
            load.more(30)
            self.assertEqual(200, self.instance.request("GET", "/readyz").status)
            self.kill(self.instance)  # which leaves nginx
            load.more(60)
            # The pools' health is that of the one that lives.
            for path in ("/readyz", "/livez"):
                self.assertEqual(200, self.instance.request("GET", path).status)
        self.assertEqual([], load.failures)

    def probe_ready(self, instance):
        with contextlib.suppress(OSError):
            return instance.probe("/readyz").status == 200
        return False

    def test_no_request_is_lost_when_a_pool_on_tcp_is_stopped(self):
        self.start_two()
        with Load(self.instance) as load:
            load.more(30)
            self.second.serve.terminate()
            self.assertEqual(0, self.second.serve.wait(PATIENCE_S))
            load.more(30)
        self.assertEqual([], load.failures)

    def test_a_pool_without_a_model_server_costs_no_request(self):
        self.start_two()
        with Load(self.instance) as load:
            load.more(30)
            os.kill(self.second.modelserver(), signal.SIGKILL)
            load.more(60)
        self.assertEqual([], load.failures)

    def test_a_host_that_does_not_answer_costs_no_request(self):
        with deaf_port() as port:
            self.start_two([f"127.0.0.1:{port}"])
            with Load(self.instance) as load:
                load.more(60)
            self.assertEqual([], load.failures)

    def test_a_pool_on_tcp_alone(self):
        tcp, = harness.free_ports(1)
        instance = self.start({"workers": 1, "listen.socket": f"tcp:127.0.0.1:{tcp}"}, self.addCleanup)
        self.instance = instance
        body, content_type = multipart([("image", FACE), ("filler", bytes(5 * MIB))])
        for _ in range(20):
            self.assert_good(instance.predict("faces_cascade", FACE))
            self.assertEqual(400, instance.predict("faces_cascade", body, "unknown=1", content_type).status)
        # The end of an answer is not lost in a reset of its connection.
        self.assertNotIn("reset by peer", (instance.state / "logs/nginx-error.log").read_text())
        # Another one cannot take the port, and says so.
        refused = inferpool("serve", "-c", instance.config_file, "--set", f"state={temporary_folder(self)}",
                            "--set", f"sidecar.port={harness.free_ports(1)[0]}")
        self.assertNotEqual(0, refused.returncode)
        self.assertIn("is in use", refused.stderr)
        # Workers come and go as ever.
        instance.serve.send_signal(signal.SIGHUP)
        for _ in range(5):
            self.assert_good(instance.predict("faces_cascade", FACE))


if __name__ == "__main__":
    unittest.main()

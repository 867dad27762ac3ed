"""One real inferpool in a temporary folder: `inferpool serve`, nginx, free ports, a certificate.

    INFERPOOL_BIN         folder of the programs (default: build/debug/bin of the source)
    INFERPOOL_SOURCE_DIR  the repository (default: where this file lies)
"""

import atexit
import functools
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import fastcgi
import http_client
import pictures
import processes
from exposition import Metrics
from http_client import multipart
from pictures import SOURCE
from processes import PATIENCE_S, eventually

BIN = Path(os.environ.get("INFERPOOL_BIN") or SOURCE / "build/debug/bin")
INFERPOOL = str(BIN / "inferpool")
MODELSERVER = str(BIN / "modelserver")
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"


def _models():
    """The repository of the tests: the models that lie in the tree. What ops/run and ops/test make of
    packages may be missing, and would be loaded by every test."""
    folder = Path(tempfile.mkdtemp(prefix="inferpool-models-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("faces_cascade", "people", "shapes"):
        shutil.copytree(SOURCE / "ops/models" / name, folder / name)
    folder.chmod(0o755)
    return folder


MODELS = _models()

# Little enough for a small machine, more than one of everything. Slow-request lines would only hide
# what a failure's log has to say.
DEFAULTS = {"workers": 2, "threads": 4, "timeouts.request_s": 60, "log.slow_ms": 0}

# Everything that we start dies with us, whatever becomes of us.
_DIE_WITH_US = ["setpriv", "--pdeathsig", "TERM", "--"]


_claims = []  # sockets that say which ports are ours, until we end


def free_ports(count):
    """Ports that nobody listens on, outside of those that the kernel gives to clients. No test that
    runs beside us gets them, though we may listen on them later, or never: a socket whose name is
    the port's belongs to one process at a time."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = []
    while len(ports) < count:
        port = random.randrange(min(20_000, low - 5_000), min(low, 32_768))
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0inferpool-test-port-{port}")
            with socket.socket() as probe:
                probe.bind(("", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        ports.append(port)
    return ports


@functools.cache
def certificate():
    """Folder of certificate.pem and key.pem, made once a run."""
    folder = Path(tempfile.mkdtemp(prefix="inferpool-tls-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-noenc", "-keyout", folder / "key.pem", "-out", folder / "certificate.pem", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True)
    return folder


def tls_context(protocols=("http/1.1",)):
    context = ssl.create_default_context(cafile=certificate() / "certificate.pem")
    context.set_alpn_protocols(list(protocols))
    return context


def nested(settings):
    """{"limits.body_mb": 1} as the file has it: {"limits": {"body_mb": 1}}."""
    config = {}
    for key, value in settings.items():
        *sections, name = key.split(".")
        place = config
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return config


def inferpool(*arguments, timeout_s=PATIENCE_S, **options):
    """Runs a command to its end; text in, text out."""
    return subprocess.run([INFERPOOL, *map(str, arguments)], capture_output=True, text=True,
                          timeout=timeout_s, check=False, **options)


def start_modelserver(listen, stderr, repository=MODELS):
    """A model server of our own, for an instance with modelserver.enabled=false."""
    return subprocess.Popen(
        [*_DIE_WITH_US, MODELSERVER, "--repository", repository, "--listen", listen,
         "--allow-client-shm=true"],
        stdin=subprocess.DEVNULL, stderr=stderr, start_new_session=True)


class Instance:
    """`settings`: configuration keys, dotted. `wait_ready`: return when /readyz says 200; otherwise
    when the processes answer at all. Use stop(), or have a SystemTest do it."""

    program = INFERPOOL
    wrap = ()  # a command line that the program is started by

    def __init__(self, settings=None, nginx=True, wait_ready=True):
        self.state = Path(tempfile.mkdtemp(prefix="ip", dir="/tmp"))
        for folder in ("logs", "tmp", "tls"):
            (self.state / folder).mkdir()
        for name in ("certificate.pem", "key.pem"):
            shutil.copy(certificate() / name, self.state / "tls" / name)
        self.port, self.http_port, self.sidecar_port = free_ports(3)
        self.settings = {**DEFAULTS, "state": str(self.state), "nginx.port": self.port,
                         "nginx.http_port": self.http_port, "sidecar.port": self.sidecar_port,
                         "modelserver.repository": str(MODELS), **(settings or {})}
        self.config_file = self.state / "config.json"
        self.write_config()
        self.socket = self.settings.get("listen.socket") or str(self.state / "inferpool.sock")
        self.context = tls_context()
        self.serve = self.nginx = None
        self.session = None  # of all that `serve` started
        try:
            self.start_serve()
            if nginx:
                self.start_nginx()
            self._wait(nginx, wait_ready)
        except BaseException:
            self.print_logs()
            self.destroy()
            raise

    # ------------------------------------------------------------ configuration

    def write_config(self):
        self.config_file.write_text(json.dumps(nested(self.settings), indent=1))

    def reload(self, **settings):
        """With these settings changed; dotted keys, as `**{...}`. The result of the command."""
        self.settings.update(settings)
        self.write_config()
        return inferpool("reload", "-c", self.config_file)

    # ------------------------------------------------------------ life

    def start_serve(self):
        with open(self.state / "logs/serve.log", "ab") as log:
            self.serve = subprocess.Popen(
                [*_DIE_WITH_US, *self.wrap, self.program, "serve", "-c", self.config_file],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.session = self.serve.pid

    def start_nginx(self):
        rendered = inferpool("nginx", "-c", self.config_file)
        assert rendered.returncode == 0, rendered.stderr
        (self.state / "nginx.conf").write_text(rendered.stdout)
        with open(self.state / "logs/nginx.log", "ab") as log:
            self.nginx = subprocess.Popen(
                [*_DIE_WITH_US, NGINX, "-p", self.state, "-c", "nginx.conf",
                 "-e", "logs/nginx-error.log", "-g", "daemon off;"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _wait(self, nginx, wait_ready):
        def answers():
            for process in filter(None, (self.serve, self.nginx)):
                assert process.poll() is None, f"{process.args} ended with {process.returncode}"
            try:
                answer = self.probe("/readyz" if wait_ready else "/livez")
                return answer.status == 200 and (not nginx or self.http("GET", "/livez").status == 200)
            except OSError:
                return False
        eventually(answers, "the instance is ready")

    def kill_everything(self):
        for process in filter(None, (self.nginx, self.serve)):
            pids = processes.session(process.pid)
            segments = processes.segments_of(*pids)  # which they cannot take away
            for pid in pids:
                for number in (signal.SIGCONT, signal.SIGKILL):
                    try:
                        os.kill(pid, number)
                    except ProcessLookupError:
                        pass
            process.wait(PATIENCE_S)
            for name in segments:
                Path("/dev/shm", name).unlink(missing_ok=True)

    def destroy(self):
        self.kill_everything()
        shutil.rmtree(self.state, ignore_errors=True)

    def stop_nginx(self):
        if self.nginx is not None and self.nginx.poll() is None:
            self.nginx.terminate()
            assert self.nginx.wait(PATIENCE_S) == 0, "nginx did not stop well"

    def sockets(self):
        return [path for path in self.state.rglob("*") if path.is_socket()]

    def assert_nothing_left(self):
        eventually(lambda: not processes.session(self.session), "no process of the pool is left")
        assert not self.sockets(), f"sockets are left: {self.sockets()}"

    def stop(self):
        """SIGTERM, and everything must be gone."""
        try:
            self.stop_nginx()
            if self.serve.poll() is None:
                self.serve.terminate()
                status = self.serve.wait(int(self.settings.get("timeouts.drain_s", 30)) + PATIENCE_S)
                assert status == 0, f"serve ended with {status}"
            self.assert_nothing_left()
        except BaseException:
            self.print_logs()
            raise
        finally:
            self.destroy()

    def print_logs(self):
        for path in sorted((self.state / "logs").glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-20:]
            print(f"---- {path.name} (last {len(lines)} lines)", *lines, sep="\n", file=sys.stderr)

    # ------------------------------------------------------------ its processes

    def log(self):
        """The lines that `serve` and its children have written."""
        lines = []
        for line in (self.state / "logs/serve.log").read_text(errors="replace").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                pass  # the model server's library, for one, has its own ideas
        return lines

    def _ready(self, event, role):
        alive = processes.children(self.serve.pid)
        return [line["pid"] for line in self.log()
                if line.get("event") == event and line["role"].startswith(role)
                and line["pid"] in alive]

    def workers(self):
        """The pids of the workers that serve now."""
        return sorted(self._ready("worker ready", "worker"))

    def wait_workers(self):
        return eventually(
            lambda: pids if len(pids := self.workers()) == self.settings["workers"] else None,
            "all workers serve")

    def sidecar(self):
        return eventually(lambda: self._ready("sidecar ready", "sidecar"), "a sidecar runs")[0]

    def modelserver(self):
        def find():
            return [pid for pid in processes.children(self.serve.pid)
                    if processes.program(pid) == "modelserver"]
        return eventually(find, "a model server runs")[0]

    def stop_modelserver(self):
        """Freezes it: it is there and says nothing."""
        pid = self.modelserver()
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: processes.is_stopped(pid), "the model server is frozen")
        return pid

    # ------------------------------------------------------------ talking to it

    def request(self, method, target, body=None, headers=None, timeout_s=120):
        """Over HTTPS."""
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.context,
                                                 timeout=timeout_s)
        return http_client.request(connection, method, target, body, headers)

    def http(self, method, target, body=None, headers=None):
        """On nginx's other port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=PATIENCE_S)
        return http_client.request(connection, method, target, body, headers)

    def probe(self, path, method="GET"):
        """The sidecar itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.sidecar_port, timeout=PATIENCE_S)
        return http_client.request(connection, method, path)

    def predict(self, model, picture, query="", content_type="image/jpeg", headers=None, **options):
        target = f"/v1/predict/{model}" + (f"?{query}" if query else "")
        return self.request("POST", target, picture, {"Content-Type": content_type, **(headers or {})},
                            **options)

    def predict_form(self, model, fields, query="", boundary=None):
        body, content_type = multipart(fields, boundary)
        return self.predict(model, body, query, content_type)

    def connect_tls(self, protocols=("http/1.1",), timeout_s=PATIENCE_S):
        return http_client.connect_tls(self.port, tls_context(protocols), timeout_s)

    def raw(self, data, method="GET"):
        """Bytes as they are, over TLS; the answer, or none."""
        with self.connect_tls() as connection:
            try:
                connection.sendall(data)
            except (ConnectionError, ssl.SSLError):
                pass  # it has answered before it read everything
            return http_client.read_answer(connection, method)

    def fastcgi(self, body=b"", **parameters):
        """Past nginx, straight to a worker."""
        return fastcgi.request(self.socket, body, **parameters)

    def metrics(self):
        answer = self.probe("/metrics")
        assert answer.status == 200, answer
        return Metrics(answer.body.decode())

    def wait_in_work(self, count):
        """Until the workers have so many requests in hand."""
        eventually(lambda: self.metrics().value("inferpool_requests_in_work") == count,
                   f"{count} requests in work")

    def crashes(self):
        return self.metrics().value("inferpool_worker_ends_total", reason="crash")


SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
PROCESS_TIME = re.compile(r"\d+\.\d\dms")
SERVER_TIMING = re.compile(r"[a-z]+;dur=\d+(\.\d+)?(, [a-z]+;dur=\d+(\.\d+)?)*")


class SystemTest(unittest.TestCase):
    """What all system tests assert. A class with SETTINGS gets an instance of its own."""

    SETTINGS = None
    instance: Instance

    @classmethod
    def setUpClass(cls):
        if cls.SETTINGS is not None:
            cls.instance = cls.start(cls.SETTINGS, cleanup=cls.addClassCleanup)

    @staticmethod
    def start(settings=None, cleanup=None, **options):
        instance = Instance(settings, **options)
        cleanup(instance.stop)
        return instance

    def run(self, result=None):
        problems = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > problems and hasattr(self, "instance"):
            self.instance.print_logs()

    def assert_once(self, answer, name, pattern):
        values = answer.headers.get_all(name) or []
        self.assertEqual(1, len(values), f"{name}: {values}")
        self.assertTrue(pattern.fullmatch(values[0]), f"{name}: {values[0]!r}")

    def assert_common_headers(self, answer):
        """What the issue promises of every answer."""
        self.assert_once(answer, "X-Request-ID", SANE_ID)
        self.assert_once(answer, "X-Process-Time", PROCESS_TIME)
        self.assert_once(answer, "Server-Timing", SERVER_TIMING)

    def assert_good(self, answer):
        self.assertEqual(200, answer.status, answer.body[:500])
        self.assert_common_headers(answer)
        self.assertEqual("application/json", answer.header("Content-Type"))
        return answer.json()

    def assert_problem(self, answer, status, kind=None):
        """RFC 9457, as the issue wants it."""
        self.assertIsNotNone(answer, "closed without an answer")
        self.assertEqual(status, answer.status, answer.body[:500])
        self.assertEqual("application/problem+json", answer.header("Content-Type"))
        problem = answer.json()
        self.assertLessEqual({"type", "code", "title", "status", "detail", "request_id"}, set(problem))
        self.assertLessEqual(set(problem),
                             {"error", "type", "code", "title", "status", "detail", "request_id", "parameter"})
        self.assertEqual(problem["detail"], problem.get("error", problem["detail"]))
        self.assertEqual(f"/docs/errors#{problem['code']}", problem["type"])
        self.assertEqual(status, problem["status"])
        self.assertTrue(problem["title"] and problem["detail"])
        self.assert_common_headers(answer)
        self.assertEqual(answer.header("X-Request-ID"), problem["request_id"])
        if kind is not None:
            self.assertEqual(kind, problem["code"])
        if status == 405:
            self.assertTrue(answer.header("Allow"), "a 405 without Allow")
        if status in (429, 503):
            self.assertRegex(answer.header("Retry-After") or "", r"^\d+$")
        return problem

    def assert_same_detections(self, expected, found, pixels=0.5, confidence=0.001):
        self.assertEqual([item["class_name"] for item in expected],
                         [item["class_name"] for item in found])
        for one, other in zip(expected, found):
            self.assertAlmostEqual(one["confidence"], other["confidence"], delta=confidence)
            for edge in ("x1", "y1", "x2", "y2"):
                self.assertAlmostEqual(one["box"][edge], other["box"][edge], delta=pixels)


class EnduringTest(SystemTest):
    """One instance for all tests: whatever they do, its workers must outlive them."""

    SETTINGS = {"limits.body_mb": 1, "timeouts.io_s": 2, "nginx.rate_per_s": 0}
    FACE = pictures.encode(pictures.astronaut().crop((140, 40, 310, 210)), "PNG")  # quick to search

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pids = cls.instance.wait_workers()
        cls.expected = cls.instance.predict("faces_cascade", cls.FACE).detections
        assert cls.expected, "no face to compare with"

    def tearDown(self):
        """The same workers live, and answer as ever."""
        self.assertEqual(self.pids, self.instance.workers())
        self.assertEqual(0, self.instance.crashes())
        metrics = self.instance.metrics()
        self.assertEqual(0, metrics.value("inferpool_requests_total", status="500"))
        self.assertEqual(200, self.instance.request("GET", "/readyz").status)
        self.assert_face_is_found(self.send(self.FACE))

    def assert_face_is_found(self, answer):
        self.assertEqual(self.expected, self.assert_good(answer)["detections"])

    def post(self, target, body=FACE, content_type="image/jpeg"):
        answer = self.instance.request("POST", target, body, {"Content-Type": content_type})
        self.assertLess(answer.seconds, 45, f"the request hung: {answer}")
        return answer

    def send(self, body, content_type="application/octet-stream"):
        return self.post("/v1/predict/faces_cascade", body, content_type)

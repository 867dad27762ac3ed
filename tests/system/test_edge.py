"""nginx as the internet meets it: TLS, headers, CORS, limits, pages, several pools."""

import asyncio
import concurrent.futures
import contextlib
import gzip
import http.client
import json
import multiprocessing
import os
import resource
import secrets
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

import harness
import http_client
import pictures
import processes
from harness import Instance, SystemTest, inferpool, nested
from pictures import SOURCE
from processes import PATIENCE_S, eventually

KIB, MIB = 1024, 1024 * 1024
FACE = pictures.encode(pictures.astronaut().crop((140, 40, 310, 210)), "PNG")  # quick to search
ORIGIN = "https://app.example"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "authorization,content-type"}
SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
                    "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
                    "Cross-Origin-Resource-Policy": "same-origin"}
API_POLICY = "default-src 'none'; frame-ancestors 'none'"


def temporary_folder(test):
    folder = tempfile.TemporaryDirectory(prefix="ip", dir="/tmp")
    test.addClassCleanup(folder.cleanup) if isinstance(test, type) else test.addCleanup(folder.cleanup)
    return Path(folder.name)


def run(*command, **options):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace",
                          check=False, timeout=PATIENCE_S, **options)


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


class NginxAlone:
    """nginx as rendered, with no pool behind it: enough for TLS, pages and nginx's own errors."""

    def __init__(self, settings):
        self.state = Path(tempfile.mkdtemp(prefix="ip", dir="/tmp"))
        for folder in ("logs", "tmp"):
            (self.state / folder).mkdir()
        self.port, self.http_port, sidecar = harness.free_ports(3)
        certificate = harness.certificate()
        self.settings = {"state": str(self.state), "nginx.port": self.port,
                         "nginx.http_port": self.http_port, "sidecar.port": sidecar,
                         "nginx.certificate": str(certificate / "certificate.pem"),
                         "nginx.certificate_key": str(certificate / "key.pem"), **settings}
        (self.state / "config.json").write_text(json.dumps(nested(self.settings)))
        rendered = inferpool("nginx", "-c", self.state / "config.json")
        assert rendered.returncode == 0, rendered.stderr
        (self.state / "nginx.conf").write_text(rendered.stdout)
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", harness.NGINX, "-p", self.state, "-c", "nginx.conf",
             "-e", "stderr", "-g", "daemon off;"], stdin=subprocess.DEVNULL)
        eventually(self.answers, "nginx answers")

    def answers(self):
        assert self.process.poll() is None, f"nginx ended with {self.process.returncode}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        shutil.rmtree(self.state, ignore_errors=True)


# ---------------------------------------------------------------- TLS

# By IANA's numbers. What the guideline has, of it what an RSA certificate can do.
GOOD_SUITES = {0xC02F: "ECDHE-RSA-AES128-GCM-SHA256", 0xC030: "ECDHE-RSA-AES256-GCM-SHA384",
               0xCCA8: "ECDHE-RSA-CHACHA20-POLY1305"}
WEAK_SUITES = {
    0x0001: "NULL-MD5", 0x0003: "EXP-RC4-MD5", 0x0005: "RC4-SHA", 0xC011: "ECDHE-RSA-RC4-SHA",
    0x000A: "DES-CBC3-SHA", 0xC012: "ECDHE-RSA-DES-CBC3-SHA", 0x0009: "DES-CBC-SHA",
    0x0018: "ADH-RC4-MD5", 0xC018: "AECDH-AES128-SHA", 0x002F: "AES128-SHA", 0x0035: "AES256-SHA",
    0x003C: "AES128-SHA256", 0x009C: "AES128-GCM-SHA256", 0x009D: "AES256-GCM-SHA384",
    0x0033: "DHE-RSA-AES128-SHA", 0x009E: "DHE-RSA-AES128-GCM-SHA256",
    0xC013: "ECDHE-RSA-AES128-SHA", 0xC014: "ECDHE-RSA-AES256-SHA",
    0xC027: "ECDHE-RSA-AES128-SHA256", 0xC028: "ECDHE-RSA-AES256-SHA384"}
SSL3, TLS1_0, TLS1_1, TLS1_2 = 0x0300, 0x0301, 0x0302, 0x0303
X25519, P256, P384, P521 = 0x1D, 0x17, 0x18, 0x19
HANDSHAKE_FAILURE, PROTOCOL_VERSION = 40, 70


def say_hello(port, version, suites, groups=(X25519, P256, P384)):
    """A ClientHello (RFC 5246, 7.4.1.2) as no library sends it any more. ("hello", version, suite,
    compression) or ("alert", number), as the server answers; none when it closes."""
    def extension(kind, content):
        return struct.pack(">HH", kind, len(content)) + content

    def vector(length, content):
        return len(content).to_bytes(length, "big") + content

    extensions = (
        extension(0, vector(2, b"\0" + vector(2, b"localhost")))
        + extension(10, vector(2, b"".join(struct.pack(">H", group) for group in groups)))
        + extension(11, vector(1, b"\0"))
        + extension(13, vector(2, bytes.fromhex("0401050106010201040305030603080408050806")))
        + extension(0xFF01, vector(1, b"")))
    body = (struct.pack(">H", version) + secrets.token_bytes(32) + vector(1, b"")
            + vector(2, b"".join(struct.pack(">H", suite) for suite in suites))
            + vector(1, b"\1\0")  # DEFLATE, or none
            + vector(2, extensions))
    handshake = b"\1" + vector(3, body)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"\x16" + struct.pack(">H", min(version, TLS1_0)) + vector(2, handshake))
        stream = connection.makefile("rb")
        head = stream.read(5)
        if len(head) < 5:
            return None
        payload = stream.read(int.from_bytes(head[3:], "big"))
    if head[0] == 21:
        return "alert", payload[1]
    session = payload[38]
    suite = int.from_bytes(payload[39 + session:41 + session], "big")
    return "hello", int.from_bytes(payload[4:6], "big"), suite, payload[41 + session]


def make_authority(folder, ocsp_port):
    """An authority and a certificate of its making that names an OCSP responder."""
    (folder / "extensions").write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\n"
        f"authorityInfoAccess=OCSP;URI:http://127.0.0.1:{ocsp_port}\n")
    for command in (
            ["req", "-x509", "-newkey", "rsa:2048", "-noenc", "-keyout", "ca.key", "-out", "ca.pem",
             "-days", "2", "-subj", "/CN=test authority"],
            ["req", "-newkey", "rsa:2048", "-noenc", "-keyout", "leaf.key", "-out", "leaf.csr",
             "-subj", "/CN=localhost"],
            ["x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "4096",
             "-days", "2", "-extfile", "extensions", "-out", "leaf.pem"]):
        made = run("openssl", *command, cwd=folder)
        assert made.returncode == 0, made.stderr
    (folder / "chain.pem").write_text((folder / "leaf.pem").read_text() + (folder / "ca.pem").read_text())
    (folder / "index.txt").write_text("V\t991231235959Z\t\t1000\tunknown\t/CN=localhost\n")


class TlsTest(unittest.TestCase):
    """The assertions of a TLS scanner. An RSA certificate, which could do all the weak suites."""

    @classmethod
    def setUpClass(cls):
        cls.folder = temporary_folder(cls)
        ocsp_port, = harness.free_ports(1)
        make_authority(cls.folder, ocsp_port)
        cls.ocsp = subprocess.Popen(
            ["openssl", "ocsp", "-index", "index.txt", "-port", str(ocsp_port), "-rsigner", "ca.pem", "-rkey",
             "ca.key", "-CA", "ca.pem", "-ndays", "1"], cwd=cls.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(lambda: (cls.ocsp.kill(), cls.ocsp.wait()))
        cls.nginx = NginxAlone({
            "nginx.certificate": str(cls.folder / "chain.pem"),
            "nginx.certificate_key": str(cls.folder / "leaf.key"),
            "nginx.ocsp_stapling": True, "nginx.resolvers": ["127.0.0.1:9"]})
        cls.addClassCleanup(cls.nginx.stop)

    def client(self, *arguments, data="GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"):
        result = run("openssl", "s_client", "-connect", f"127.0.0.1:{self.nginx.port}", "-servername",
                     "localhost", "-CAfile", self.folder / "ca.pem", "-ign_eof", *arguments, input=data)
        return result.stdout + result.stderr

    def test_old_protocols_are_refused(self):
        everything = [*GOOD_SUITES, *WEAK_SUITES]
        for version in (SSL3, TLS1_0, TLS1_1):
            with self.subTest(hex(version)):
                kind, number = say_hello(self.nginx.port, version, everything)
                self.assertEqual("alert", kind)
                self.assertIn(number, (PROTOCOL_VERSION,) if version > SSL3 else (PROTOCOL_VERSION, HANDSHAKE_FAILURE))

    def test_tls_1_2_and_1_3_are_spoken(self):
        for option, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            with self.subTest(name):
                said = self.client(option)
                self.assertIn(f"New, {name}", said)
                self.assertIn("Verify return code: 0 (ok)", said)

    def test_weak_suites_are_refused_one_by_one(self):
        for suite, name in WEAK_SUITES.items():
            with self.subTest(name):
                self.assertEqual(("alert", HANDSHAKE_FAILURE), say_hello(self.nginx.port, TLS1_2, [suite]))

    def test_good_suites_are_taken_in_the_clients_order_and_nothing_is_compressed(self):
        for first in GOOD_SUITES:
            suites = [first, *sorted(set(GOOD_SUITES) - {first})]
            with self.subTest(GOOD_SUITES[first]):
                self.assertEqual(("hello", TLS1_2, first, 0), say_hello(self.nginx.port, TLS1_2, suites))
        self.assertIn("Compression: NONE", self.client("-tls1_2"))

    def test_the_curves_are_the_guidelines(self):
        for group, taken in ((X25519, True), (P256, True), (P384, True), (P521, False)):
            with self.subTest(hex(group)):
                answer = say_hello(self.nginx.port, TLS1_2, list(GOOD_SUITES), [group])
                self.assertEqual("hello" if taken else "alert", answer[0], answer)

    def test_http_2_and_1_1_are_agreed_upon(self):
        self.assertIn("ALPN protocol: h2", self.client("-alpn", "h2,http/1.1"))
        self.assertIn("ALPN protocol: http/1.1", self.client("-alpn", "http/1.1"))
        self.assertIn("No ALPN negotiated", self.client())

    def test_clients_cannot_renegotiate(self):
        # Without -ign_eof, a line "R" asks for it.
        said = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{self.nginx.port}", "-tls1_2"],
            input="R\n", capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        self.assertIn("RENEGOTIATING", said.stdout + said.stderr)
        self.assertIn("no renegotiation", said.stdout + said.stderr)
        self.assertIn("Secure Renegotiation IS supported", said.stdout)

    def test_sessions_are_resumed(self):
        for option in ("-tls1_2", "-tls1_3"):
            with self.subTest(option):
                session = self.folder / f"session{option}"
                self.assertIn("\nNew, TLS", self.client(option, "-sess_out", session))
                self.assertIn("\nReused, TLS", self.client(option, "-sess_in", session))

    def test_the_certificates_standing_is_stapled(self):
        def stapled():
            return "OCSP Response Status: successful" in self.client("-status")
        # nginx asks the responder once a client wants to know; the first one is not kept waiting.
        eventually(stapled, "nginx has the responder's answer", pause_s=0.2)
        self.assertIn("Cert Status: good", self.client("-status"))


class StaplingTest(SystemTest):
    def test_a_certificate_of_ones_own_making_is_served_all_the_same(self):
        nginx = NginxAlone({"nginx.ocsp_stapling": True, "nginx.resolvers": ["127.0.0.1:9"]})
        self.addCleanup(nginx.stop)
        with http_client.connect_tls(nginx.port, harness.tls_context(), PATIENCE_S) as connection:
            self.assertEqual("TLSv1.3", connection.version())


# ---------------------------------------------------------------- nginx -t

class RenderedTest(unittest.TestCase):
    """What `inferpool nginx` prints is taken by nginx, without a warning, whatever is set."""

    CHOICES = {
        "nginx.ipv6": ["off", "auto"],
        "nginx.hsts_s": [0, 63072000],
        "nginx.trusted_proxies": [[], ["10.0.0.0/8", "192.0.2.1", "fd00::/8", "::1"]],
        "nginx.rate_per_s": [0, 1000000],
        "nginx.burst": [0, 10],
        "nginx.key_rate_per_s": [0, 5],
        "nginx.key_burst": [0, 10],
        "nginx.connections": [0, 10],
        "nginx.metrics_allow": [[], ["0.0.0.0/0", "::/0"]],
        "nginx.pools": [[], ["unix:/nowhere/a b.sock", "127.0.0.1:9000", "[::1]:9000", "localhost:9001"]],
        "nginx.sidecars": [[], ["127.0.0.1:9090", "localhost:9091"]],
        "nginx.pages": ["", "none", "/with space/#pages"],
        "nginx.swagger_ui": ["", "/with space/swagger"],
        "nginx.client_timeout_s": [1, 3600],
        "cors.origins": [[], ["*"], ["https://" + "a" * 253, "http://localhost:3000"],
                         [f"https://host-{i}.example" for i in range(300)]],
        "nginx.server_name": ["_", "*." + "a" * 251, "faces.example.com"],
        "listen.socket": ["", "tcp:0.0.0.0:9000", "tcp:[::1]:9000"],
        "limits.body_mb": [1, 1024],
    }

    def check(self, settings):
        folder = temporary_folder(self)
        for name in ("logs", "tmp"):
            (folder / name).mkdir()
        ports = harness.free_ports(2)
        certificate = harness.certificate()
        (folder / "config.json").write_text(json.dumps(nested({
            "state": str(folder), "nginx.port": ports[0], "nginx.http_port": ports[1],
            "nginx.certificate": str(certificate / "certificate.pem"),
            "nginx.certificate_key": str(certificate / "key.pem"), **settings})))
        rendered = inferpool("nginx", "-c", folder / "config.json")
        self.assertEqual(0, rendered.returncode, rendered.stderr)
        (folder / "nginx.conf").write_text(rendered.stdout)
        result = run(harness.NGINX, "-t", "-p", folder, "-c", "nginx.conf", "-e", "stderr")
        self.assertEqual(0, result.returncode, result.stderr)
        self.assertNotIn("[warn]", result.stderr)

    def test_one_by_one(self):
        for key, values in self.CHOICES.items():
            for value in values:
                with self.subTest(f"{key}={str(value)[:60]}"):
                    self.check({key: value})

    def test_together(self):
        for number in range(4):
            with self.subTest(number):
                self.check({key: values[number % len(values)] for key, values in self.CHOICES.items()})

    def test_values_that_would_add_to_nginxs_configuration_are_refused(self):
        folder = temporary_folder(self)
        for key, value in (("cors.origins", ["https://a\"; evil"]), ("nginx.pools", ["unix:/a; evil"]),
                           ("nginx.pools", ["10.0.0.7:9000 weight=5"]), ("nginx.sidecars", ["a:1;"]),
                           ("nginx.trusted_proxies", ["10.0.0.0/8; evil"]),
                           ("nginx.metrics_allow", ["all"]), ("nginx.resolvers", ["$host"]),
                           ("nginx.pages", "/a\";}"), ("nginx.swagger_ui", "/a$b"),
                           ("listen.socket", "tcp:1.2.3.4:5;"), ("cors.origins", ["https://a\n"])):
            with self.subTest(key, value=value):
                (folder / "config.json").write_text(json.dumps(nested({key: value})))
                refused = inferpool("nginx", "-c", folder / "config.json")
                self.assertNotEqual(0, refused.returncode)
                self.assertIn(key, refused.stderr)
                self.assertEqual("", refused.stdout)


# ---------------------------------------------------------------- an edge with everything on

class EdgeTest(SystemTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = temporary_folder(cls)
        pages, swagger = cls.folder / "pages", cls.folder / "swagger"
        pages.mkdir()
        swagger.mkdir()
        cls.openapi = json.dumps({"openapi": "3.1.0", "paths": {f"/{i}": {} for i in range(500)}})
        for name, text in (("index.html", "<!doctype html><title>page</title>"),
                           ("docs.html", "<!doctype html><title>docs</title>"), ("app.js", "export {}"),
                           ("docs.js", "1"), ("style.css", "a{}"), ("icon.svg", "<svg/>"),
                           ("openapi.json", cls.openapi), ("notes.txt", "secret"), (".hidden.js", "1")):
            (pages / name).write_text(text)
        (pages / "sample.jpg").write_bytes(FACE)
        for name in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-16x16.png", "package.json"):
            (swagger / name).write_text(name)
        cls.instance = cls.start(
            {"workers": 1, "limits.body_mb": 1, "nginx.rate_per_s": 0, "nginx.hsts_s": 63072000,
             "cors.origins": [ORIGIN, "http://localhost:3000"], "nginx.pages": str(pages),
             "nginx.swagger_ui": str(swagger), "nginx.trusted_proxies": ["127.0.0.1"]},
            cleanup=cls.addClassCleanup)

    def get(self, target, headers=None, method="GET", body=None):
        return self.instance.request(method, target, body, headers)

    # ------------------------------------------------------------ security headers

    def assert_secured(self, answer):
        for name, value in SECURITY_HEADERS.items():
            self.assertEqual([value], answer.headers.get_all(name), name)
        self.assertEqual(1, len(answer.headers.get_all("Content-Security-Policy") or []))
        self.assertEqual(["max-age=63072000"], answer.headers.get_all("Strict-Transport-Security"))
        self.assertNotIn("/", answer.header("Server"), "nginx's version is told")

    def test_every_answer_is_secured(self):
        for method, target, body, headers, status in (
                ("GET", "/", None, {}, 200), ("GET", "/docs", None, {}, 200), ("GET", "/app.js", None, {}, 200),
                ("GET", "/openapi.json", None, {}, 200), ("GET", "/docs/swagger-ui/swagger-ui.css", None, {}, 200),
                ("GET", "/v1/models", None, {}, 200), ("HEAD", "/v1/models", None, {}, 200),
                ("POST", "/v1/predict/faces", FACE, {}, 200), ("POST", "/v1/predict/faces", b"text", {}, 415),
                ("GET", "/livez", None, {}, 200), ("GET", "/metrics", None, {}, 200),
                ("GET", "/nothing", None, {}, 404), ("GET", "/nothing.js", None, {}, 404),
                ("GET", "/v1/predict/faces", None, {}, 405), ("POST", "/", b"", {}, 405),
                ("POST", "/v1/predict/faces", bytes(MIB + 1), {}, 413),
                ("OPTIONS", "/v1/predict/faces", None, PREFLIGHT, 204)):
            with self.subTest(method, target=target):
                answer = self.get(target, headers, method, body)
                self.assertEqual(status, answer.status, answer.body[:300])
                self.assert_secured(answer)
                self.assert_common_headers(answer)

    def test_pages_have_a_strict_policy_and_everything_else_a_stricter_one(self):
        for target in ("/", "/docs", "/?x=1"):
            with self.subTest(target):
                answer = self.get(target)
                policy = dict(part.split(" ", 1) for part in answer.header("Content-Security-Policy").split("; "))
                self.assertEqual(
                    {"default-src": "'none'", "script-src": "'self'", "style-src": "'self'",
                     "img-src": "'self' blob: data:", "media-src": "'self' blob:", "connect-src": "'self'",
                     "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'"}, policy)
                self.assertIn("camera=(self)", answer.header("Permissions-Policy"))
        for target in ("/v1/models", "/nothing", "/livez", "/app.js", "/openapi.json"):
            with self.subTest(target):
                self.assertEqual(API_POLICY, self.get(target).header("Content-Security-Policy"))

    def test_hsts_is_said_over_tls_alone(self):
        self.assertIsNone(self.instance.http("GET", "/livez").header("Strict-Transport-Security"))

    # ------------------------------------------------------------ pages

    def test_pages_have_their_types(self):
        for target, content_type in (
                ("/", "text/html; charset=utf-8"), ("/docs", "text/html; charset=utf-8"),
                ("/app.js", "text/javascript; charset=utf-8"), ("/docs.js", "text/javascript; charset=utf-8"),
                ("/style.css", "text/css; charset=utf-8"), ("/icon.svg", "image/svg+xml"),
                ("/sample.jpg", "image/jpeg"), ("/openapi.json", "application/json"),
                ("/docs/swagger-ui/swagger-ui.css", "text/css; charset=utf-8"),
                ("/docs/swagger-ui/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
                ("/docs/swagger-ui/favicon-16x16.png", "image/png")):
            for method in ("GET", "HEAD"):
                with self.subTest(target, method=method):
                    answer = self.get(target, method=method)
                    self.assertEqual((200, content_type), (answer.status, answer.header("Content-Type")))
                    self.assertEqual(method == "HEAD", not answer.body)
        self.assertEqual(FACE, self.get("/sample.jpg").body)

    def test_pages_are_kept_by_browsers_and_asked_for_again(self):
        for target in ("/", "/app.js", "/openapi.json"):
            with self.subTest(target):
                answer = self.get(target)
                self.assertEqual(["no-cache"], answer.headers.get_all("Cache-Control"))
                again = self.get(target, {"If-None-Match": answer.header("ETag")})
                self.assertEqual((304, b""), (again.status, again.body))
        self.assertIn("max-age", self.get("/docs/swagger-ui/swagger-ui.css").header("Cache-Control"))
        for target in ("/v1/models", "/nothing", "/nothing.js"):
            with self.subTest(target):
                self.assertEqual(["no-store"], self.get(target).headers.get_all("Cache-Control"))

    def test_pages_come_whole(self):
        for part in ("bytes=0-1", "bytes=9999-", "bytes=-1"):
            answer = self.get("/style.css", {"Range": part})
            self.assertEqual((200, b"a{}"), (answer.status, answer.body))

    def test_pages_are_only_read(self):
        for target in ("/", "/docs", "/app.js", "/docs/swagger-ui/swagger-ui.css"):
            for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
                with self.subTest(target, method=method):
                    answer = self.get(target, method=method)
                    self.assert_problem(answer, 405, "method-not-allowed")
                    self.assertEqual(["GET, HEAD"], answer.headers.get_all("Allow"))

    def test_what_is_no_page_is_not_served(self):
        for target in ("/notes.txt", "/.hidden.js", "/index.html/", "/docs/swagger-ui/package.json",
                       "/docs/swagger-ui/", "/docs/swagger-ui/..%2fpages%2fapp.js",
                       "/docs/swagger-ui/none.css", "/none.js", "/%2e%2e/pages/app.js", "/docs/other"):
            with self.subTest(target):
                answer = self.get(target)
                self.assertIn(answer.status, (400, 404))
                self.assert_problem(answer, answer.status)
        answer = self.get("/docs/")
        self.assertEqual((308, "/docs"), (answer.status, answer.header("Location")))

    def test_pages_of_the_source_are_served_by_themselves(self):
        if not (SOURCE / "nginx/pages/index.html").exists():
            self.skipTest("the source has no pages")
        nginx = NginxAlone({})
        self.addCleanup(nginx.stop)
        for target in ("/", "/docs", "/openapi.json", "/app.js", "/style.css", "/sample.jpg"):
            with self.subTest(target):
                connection = http.client.HTTPSConnection("localhost", nginx.port, context=harness.tls_context())
                self.assertEqual(200, http_client.request(connection, "GET", target).status)

    # ------------------------------------------------------------ CORS

    def assert_shared(self, answer, origin=ORIGIN):
        self.assertEqual([origin], answer.headers.get_all("Access-Control-Allow-Origin"))
        self.assertIn("Origin", ", ".join(answer.headers.get_all("Vary")))
        exposed = answer.header("Access-Control-Expose-Headers").split(", ")
        self.assertEqual({"X-Request-ID", "Server-Timing", "X-Process-Time", "X-Cache", "Retry-After"},
                         set(exposed))
        self.assertIsNone(answer.header("Access-Control-Allow-Credentials"))

    def test_a_browsers_question_before_a_request_is_answered(self):
        for target in ("/v1/predict/faces", "/v1/predict/faces/batch", "/v1/models", "/v2/models/faces/infer"):
            with self.subTest(target):
                answer = self.get(target, PREFLIGHT, "OPTIONS")
                self.assertEqual((204, b""), (answer.status, answer.body))
                self.assert_shared(answer)
                self.assertEqual({"GET", "HEAD", "POST"},
                                 set(answer.header("Access-Control-Allow-Methods").split(", ")))
                self.assertLessEqual(
                    {"authorization", "content-type", "x-api-key", "x-priority", "x-request-id",
                     "x-timeout-ms", "traceparent", "tracestate"},
                    set(answer.header("Access-Control-Allow-Headers").lower().split(", ")))
                self.assertRegex(answer.header("Access-Control-Max-Age"), r"^\d+$")

    def test_answers_and_errors_may_be_read_by_the_origins_named(self):
        for origin in (ORIGIN, "http://localhost:3000"):
            for method, target, body, status in (
                    ("GET", "/v1/models", None, 200), ("POST", "/v1/predict/faces", FACE, 200),
                    ("POST", "/v1/predict/faces", b"text", 415), ("GET", "/v1/predict/faces", None, 405),
                    ("GET", "/nothing", None, 404), ("POST", "/v1/predict/faces", bytes(MIB + 1), 413)):
                with self.subTest(origin, method=method, target=target):
                    answer = self.get(target, {"Origin": origin}, method, body)
                    self.assertEqual(status, answer.status)
                    self.assert_shared(answer, origin)
                    self.assertIsNone(answer.header("Access-Control-Allow-Methods"))

    def test_other_origins_are_told_nothing(self):
        for origin in ("https://app.example.evil", "https://evil.example", "http://app.example", "null",
                       "https://app.example:8443", "https://xapp.example", "*"):
            with self.subTest(origin):
                answer = self.get("/v1/models", {"Origin": origin})
                self.assertEqual(200, answer.status)
                self.assertIsNone(answer.header("Access-Control-Allow-Origin"))
                self.assertIn("Origin", ", ".join(answer.headers.get_all("Vary")))
                asked = self.get("/v1/models", {**PREFLIGHT, "Origin": origin}, "OPTIONS")
                self.assert_problem(asked, 405, "method-not-allowed")
                self.assertIsNone(asked.header("Access-Control-Allow-Origin"))

    def test_options_without_a_browsers_question_is_no_method_here(self):
        for headers in ({}, {"Origin": ORIGIN}, {"Access-Control-Request-Method": "POST"}):
            with self.subTest(str(headers)):
                self.assert_problem(self.get("/v1/models", headers, "OPTIONS"), 405, "method-not-allowed")

    # ------------------------------------------------------------ nginx's own errors

    def test_every_error_of_nginx_itself_is_a_problem(self):
        head = b"Host: localhost\r\n"
        for name, status, data in (
                ("no HTTP", 400, b"HELLO\r\n\r\n"),
                ("header too large", 400, b"GET /v1/models HTTP/1.1\r\n" + head + b"A: " + b"x" * 40_000 + b"\r\n\r\n"),
                ("unknown page", 404, b"GET /none.js HTTP/1.1\r\n" + head + b"\r\n"),
                ("method", 405, b"TRACE / HTTP/1.1\r\n" + head + b"\r\n"),
                ("condition", 412, b"GET /app.js HTTP/1.1\r\n" + head + b"If-Match: \"other\"\r\n\r\n"),
                ("body of a picture", 413, b"POST /v1/predict/faces HTTP/1.1\r\n" + head
                 + b"Content-Length: 1048577\r\n\r\n"),
                ("body where none belongs", 413, b"POST /v1/models HTTP/1.1\r\n" + head
                 + b"Content-Length: 65537\r\n\r\n"),
                ("body of a probe", 413, b"GET /livez HTTP/1.1\r\n" + head + b"Content-Length: 1025\r\n\r\n"),
                ("address too long", 414, b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n" + head + b"\r\n"),
                ("transfer encoding", 501, b"POST /v1/predict/faces HTTP/1.1\r\n" + head
                 + b"Transfer-Encoding: gzip\r\n\r\n"),
                ("version", 505, b"GET / HTTP/3.7\r\n" + head + b"\r\n")):
            with self.subTest(name):
                answer = self.instance.raw(data)
                self.assert_problem(answer, status)
                self.assert_secured(answer)

    def test_413_says_what_is_allowed_there(self):
        over = self.get("/v1/predict/faces", None, "POST", bytes(MIB + 1))
        self.assertIn("more than 1 MB", self.assert_problem(over, 413, "body-too-large")["detail"])
        over = self.get("/v1/models", None, "POST", bytes(65 * KIB))
        self.assertIn("more than 64 KB", self.assert_problem(over, 413, "body-too-large")["detail"])

    # ------------------------------------------------------------ behind a load balancer

    def last_line(self, marker):
        def find():
            for line in (self.instance.state / "logs/nginx-access.log").read_text().splitlines():
                if marker in line:
                    return json.loads(line)
            return None
        return eventually(find, f"the access log has {marker}")

    def test_the_address_that_a_load_balancer_names_is_the_clients(self):
        for number, (forwarded, client) in enumerate((
                ("203.0.113.9", "203.0.113.9"), ("2001:db8::7", "2001:db8::7"),
                ("198.51.100.1, 203.0.113.9", "203.0.113.9"),   # what the client claims itself
                ("203.0.113.9, 127.0.0.1", "203.0.113.9"),      # through two that we trust
                ("nonsense", "127.0.0.1"))):
            with self.subTest(forwarded):
                self.get("/v1/models", {"X-Forwarded-For": forwarded, "X-Request-ID": f"forwarded-{number}"})
                self.assertEqual(client, self.last_line(f'"forwarded-{number}"')["client"])

    def test_tls_may_end_at_a_load_balancer(self):
        answer = self.instance.http("GET", "/v1/models", headers={"X-Forwarded-Proto": "https"})
        self.assertEqual(200, answer.status)
        self.assert_secured(answer)
        for headers in ({}, {"X-Forwarded-Proto": "http"}, {"X-Forwarded-Proto": "wss"}):
            answer = self.instance.http("GET", "/v1/models?a=b", headers=headers)
            self.assertEqual(308, answer.status)
            self.assertTrue(answer.header("Location").endswith(f":{self.instance.port}/v1/models?a=b"))

    def test_metrics_are_for_those_who_may(self):
        self.assertEqual(200, self.get("/metrics").status)
        self.assertEqual(200, self.instance.http("GET", "/metrics").status)
        problem = self.assert_problem(self.get("/metrics", {"X-Forwarded-For": "203.0.113.9"}), 403, "forbidden")
        self.assertIn("few machines", problem["detail"])

    # ------------------------------------------------------------ the log

    def test_the_log_tells_where_the_time_went_and_whose_trace_it_was(self):
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        self.get("/v1/models?secret=1", {"X-Request-ID": "logged-1",
                                         "traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
        line = self.last_line('"logged-1"')
        self.assertEqual((trace, "/v1/models", "GET", 200),
                         (line["trace_id"], line["path"], line["method"], line["status"]))
        self.assertRegex(line["upstream_seconds"], r"^\d+\.\d+$")
        self.assertRegex(line["upstream_connect_seconds"], r"^\d+\.\d+$")
        self.assertEqual("", line["key"])
        # An error is logged under the address that was asked for.
        self.get("/none.js?secret=1", {"X-Request-ID": "logged-2"})
        self.assertEqual(("/none.js", 404), (self.last_line('"logged-2"')["path"],
                                             self.last_line('"logged-2"')["status"]))

    def test_a_trace_that_is_none_is_not_logged(self):
        span, flags = "00f067aa0ba902b7", "01"
        for number, (parent, trace) in enumerate((
                (f"00-{'0' * 32}-{span}-{flags}", ""), (f"ff-{'a' * 32}-{span}-{flags}", ""),
                (f"00-{'a' * 32}-{'0' * 16}-{flags}", ""), (f"00-{'A' * 32}-{span}-{flags}", ""),
                (f"00-{'a' * 32}-{span}-{flags}-more", ""), (f"00-{'a' * 31}-{span}-{flags}", ""),
                ("\"}, {", ""), (f"cc-{'b' * 32}-{span}-{flags}-more", "b" * 32))):
            with self.subTest(parent):
                self.get("/v1/models", {"X-Request-ID": f"trace-{number}", "traceparent": parent})
                self.assertEqual(trace, self.last_line(f'"trace-{number}"')["trace_id"])

    # ------------------------------------------------------------ gzip, HTTP/2, IPv6

    def test_json_is_compressed_for_those_who_ask(self):
        answer = self.get("/openapi.json", {"Accept-Encoding": "gzip"})
        self.assertEqual("gzip", answer.header("Content-Encoding"))
        self.assertEqual(self.openapi.encode(), gzip.decompress(answer.body))
        self.assertIn("Accept-Encoding", ", ".join(answer.headers.get_all("Vary")))
        # A worker's too, also behind a proxy.
        plain = self.get("/v1/models")
        self.assertIsNone(plain.header("Content-Encoding"))
        small = self.get("/v1/models", {"Accept-Encoding": "gzip", "Via": "1.1 balancer"})
        self.assertEqual("gzip", small.header("Content-Encoding"))
        self.assertEqual(plain.json(), json.loads(gzip.decompress(small.body)))
        # Pictures would not get any smaller.
        self.assertIsNone(self.get("/sample.jpg", {"Accept-Encoding": "gzip"}).header("Content-Encoding"))

    def curl(self, *arguments):
        return run("curl", "-sS", "--noproxy", "*", "--cacert", harness.certificate() / "certificate.pem",
                   "-w", "\n%{http_version} %{http_code}", *arguments)

    def test_http_2(self):
        picture = self.folder / "face.png"
        picture.write_bytes(FACE)
        said = self.curl("--http2", "-F", f"image=@{picture}",
                         f"https://localhost:{self.instance.port}/v1/predict/faces")
        body, _, version = said.stdout.rpartition("\n")
        self.assertEqual("2 200", version, said.stderr)
        self.assertTrue(json.loads(body)["detections"])
        said = self.curl("--http2", f"https://localhost:{self.instance.port}/nothing")
        self.assertEqual("2 404", said.stdout.rpartition("\n")[2])

    def test_ipv6(self):
        if not has_ipv6():
            self.skipTest("the host has no IPv6")
        said = self.curl("-k", f"https://[::1]:{self.instance.port}/v1/models")
        self.assertTrue(said.stdout.endswith(" 200"), said)
        said = self.curl(f"http://[::1]:{self.instance.http_port}/livez")
        self.assertEqual("1.1 200", said.stdout.rpartition("\n")[2])

    def test_clients_may_keep_their_connection(self):
        connection = http.client.HTTPSConnection("localhost", self.instance.port, context=self.instance.context)
        with contextlib.closing(connection):
            for target in ("/v1/models", "/", "/nothing", "/livez"):
                connection.request("GET", target)
                connection.getresponse().read()
                self.assertIsNotNone(connection.sock, f"closed after {target}")


class PlainEdgeTest(SystemTest):
    """What is off unless it is wanted."""

    SETTINGS = {"workers": 1, "nginx.rate_per_s": 0, "nginx.pages": "none", "nginx.ipv6": "off"}

    def test_nothing_is_said_that_nobody_asked_for(self):
        answer = self.instance.request("GET", "/v1/models", headers={"Origin": ORIGIN})
        for name in ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Vary",
                     "Strict-Transport-Security", "Permissions-Policy"):
            if name != "Vary" or "Origin" in (answer.header(name) or ""):
                self.assertIsNone(answer.header(name), name)

    def test_options_is_no_method(self):
        for target, allow in (("/v1/predict/faces", "POST"), ("/v1/models", "GET, HEAD")):
            answer = self.instance.request("OPTIONS", target, headers=PREFLIGHT)
            self.assert_problem(answer, 405, "method-not-allowed")
            self.assertEqual([allow], answer.headers.get_all("Allow"))

    def test_there_are_no_pages(self):
        for target in ("/", "/app.js", "/docs", "/docs/swagger-ui/swagger-ui.css", "/openapi.json"):
            with self.subTest(target):
                self.assert_problem(self.instance.request("GET", target), 404, "unknown-route")

    def test_nobody_is_believed_to_be_another(self):
        answer = self.instance.http("GET", "/v1/models", headers={"X-Forwarded-Proto": "https"})
        self.assertEqual(308, answer.status)
        answer = self.instance.request("GET", "/metrics", headers={"X-Forwarded-For": "203.0.113.9"})
        self.assertEqual(200, answer.status)

    def test_ipv6_may_be_off(self):
        with self.assertRaises(OSError):
            socket.create_connection(("::1", self.instance.port), timeout=5).close()


class AnyOriginTest(SystemTest):
    SETTINGS = {"workers": 1, "cors.origins": ["*"], "nginx.rate_per_s": 1, "nginx.burst": 1,
                "nginx.metrics_allow": []}

    def test_all_origins_may_read_answers_and_errors(self):
        asked = self.instance.request("OPTIONS", "/v1/models", headers=PREFLIGHT)
        self.assertEqual((204, "*"), (asked.status, asked.header("Access-Control-Allow-Origin")))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: self.instance.request(
                "GET", "/v1/models", headers={"Origin": "https://any.example"}), range(8)))
        self.assertEqual({200, 429}, {answer.status for answer in answers})
        for answer in answers:
            self.assertEqual("*", answer.header("Access-Control-Allow-Origin"))
            self.assertIn("Retry-After", answer.header("Access-Control-Expose-Headers"))
            if answer.status == 429:
                self.assert_problem(answer, 429, "too-many-requests")

    def test_nobody_reads_metrics_when_nobody_may(self):
        self.assert_problem(self.instance.request("GET", "/metrics"), 403, "forbidden")


# ---------------------------------------------------------------- limits

class LimitsTest(SystemTest):
    SETTINGS = {"workers": 1, "threads": 4, "nginx.rate_per_s": 0, "nginx.key_rate_per_s": 1,
                "nginx.key_burst": 2, "nginx.connections": 3, "nginx.client_timeout_s": 5}

    def ask(self, headers=None, source="127.0.0.1"):
        connection = http.client.HTTPSConnection("localhost", self.instance.port, timeout=PATIENCE_S,
                                                 context=self.instance.context, source_address=(source, 0))
        return http_client.request(connection, "GET", "/v1/models", headers=headers)

    def statuses(self, headers, count=8):
        answers = [self.ask(headers) for _ in range(count)]
        for answer in answers:
            if answer.status == 429:
                problem = self.assert_problem(answer, 429, "too-many-requests")
                self.assertIn("with this key", problem["detail"])
        return [answer.status for answer in answers]

    def test_a_key_has_a_rate_of_its_own_however_it_is_sent(self):
        for scheme in ("X-API-Key: {}", "Authorization: Bearer {}", "authorization: bearer   {}"):
            with self.subTest(scheme):
                name, value = scheme.format(secrets.token_hex(8)).split(": ", 1)
                statuses = self.statuses({name: value})
                self.assertEqual([200, 200, 200], statuses[:3], "the burst, and one")
                self.assertIn(429, statuses)
                # Another key is another client; no key is none.
                self.assertEqual(200, self.ask({name: value + "x"}).status)
                self.assertEqual({200}, set(self.statuses({})))

    def test_one_key_is_one_client_whatever_address_it_comes_from(self):
        key = {"X-API-Key": secrets.token_hex(8)}
        statuses = [self.ask(key, f"127.0.0.{number}").status for number in range(2, 10)]
        self.assertIn(429, statuses)

    def test_what_cannot_be_a_key_is_counted_together(self):
        statuses = [self.ask({"X-API-Key": f"{number}" * 201}).status for number in range(8)]
        self.assertIn(429, statuses)

    def test_a_client_has_so_many_requests_in_work_and_no_more(self):
        self.assert_good(self.instance.predict("faces", FACE))  # so that the worker knows the model
        frozen = self.instance.stop_modelserver()
        try:
            with concurrent.futures.ThreadPoolExecutor(6) as pool:
                pending = [pool.submit(self.instance.predict, "faces", FACE) for _ in range(6)]
                eventually(lambda: sum(request.done() for request in pending) >= 3, "three are refused")
                self.assertEqual(3, sum(request.done() for request in pending))
                # Another address is another client.
                self.assertNotEqual(429, self.ask(source="127.0.0.2").status)
                os.kill(frozen, signal.SIGCONT)
                answers = [request.result() for request in pending]
        finally:
            os.kill(frozen, signal.SIGCONT)
        self.assertEqual(3, sum(answer.status == 429 for answer in answers))
        for answer in answers:
            if answer.status == 429:
                problem = self.assert_problem(answer, 429, "too-many-requests")
                self.assertIn("more than 3 requests", problem["detail"])


# ---------------------------------------------------------------- several pools

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
                answer = self.instance.predict("faces", FACE)
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
        instance.config_file.write_text(json.dumps(nested(instance.settings)))
        instance.start_nginx()
        eventually(lambda: self.answers_through_nginx(instance), "nginx answers")

    @staticmethod
    def answers_through_nginx(instance):
        with contextlib.suppress(OSError):
            return instance.http("GET", "/readyz").status == 200
        return False

    @staticmethod
    def kill(instance):
        for pid in processes.session(instance.serve.pid):
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
        for _ in range(20):
            self.assert_good(instance.predict("faces", FACE))
        # Another one cannot take the port, and says so.
        refused = inferpool("serve", "-c", instance.config_file, "--set", f"state={temporary_folder(self)}",
                            "--set", f"sidecar.port={harness.free_ports(1)[0]}")
        self.assertNotEqual(0, refused.returncode)
        self.assertIn("is in use", refused.stderr)
        # Workers come and go as ever.
        instance.serve.send_signal(signal.SIGHUP)
        for _ in range(5):
            self.assert_good(instance.predict("faces", FACE))


# ---------------------------------------------------------------- slow clients

CLIENT_TIMEOUT_S = 4
SLOW = 2_000


async def dribble(kind, ports, context, until, lives):
    """One slow client after the other, a byte a second each, until the end. A life: (kind, seconds
    until nginx cut it; none when it was not)."""
    while time.monotonic() < until:
        head = b"POST /v1/predict/faces HTTP/1.1\r\nHost: localhost\r\nX-Filler: " + b"x" * 10_000
        begin = time.monotonic()
        writer = None
        try:
            tls = {"ssl": context, "server_hostname": "localhost"} if kind != "head" else {}
            reader, writer = await asyncio.open_connection("127.0.0.1", ports[kind != "head"], **tls)
            if kind != "head":
                head = (b"POST /v1/predict/faces HTTP/1.1\r\nHost: localhost\r\n"
                        b"Content-Length: 100000\r\n\r\n")
                writer.write(head)
                head = b"\xff" * 100_000
            begin = time.monotonic()
            sent = 0
            while time.monotonic() < until:
                if kind != "pause" or sent < 3:
                    writer.write(head[sent:sent + 1])
                    sent += 1
                    begin = begin if kind == "head" else time.monotonic()
                with contextlib.suppress(asyncio.TimeoutError):
                    if not await asyncio.wait_for(reader.read(1000), 1):
                        raise ConnectionError
            lives.append((kind, None))
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            lives.append((kind, time.monotonic() - begin))
        if writer is not None:
            writer.transport.abort()


def dribble_all(ports, seconds, ready, results):
    """In a process of its own. `head`s never end, bodies `pause` after a few bytes, or `last`."""
    context = harness.tls_context()
    lives = []

    async def everybody():
        until = time.monotonic() + seconds
        kinds = ["head"] * (SLOW // 2) + ["pause"] * (SLOW // 4) + ["last"] * (SLOW // 4)
        tasks = []
        for number, kind in enumerate(kinds):
            tasks.append(asyncio.create_task(dribble(kind, ports, context, until, lives)))
            if number % 20 == 0:
                await asyncio.sleep(0.02)
        await asyncio.sleep(2)
        ready.set()
        await asyncio.gather(*tasks)

    asyncio.run(everybody())
    results.put(lives)


class SlowClientsTest(SystemTest):
    SETTINGS = {"workers": 2, "threads": 4, "nginx.rate_per_s": 0, "nginx.connections": 0,
                "nginx.client_timeout_s": CLIENT_TIMEOUT_S}
    HEALTHY = 150

    def p99(self):
        """Of healthy requests, each on a connection of its own, one after the other."""
        seconds = []
        for _ in range(self.HEALTHY):
            begin = time.monotonic()
            self.assert_good(self.instance.predict("faces", FACE))
            seconds.append(time.monotonic() - begin)
        return sorted(seconds)[int(len(seconds) * 0.99)]

    def connections(self):
        """Of clients that nginx has now."""
        ports = {f"{self.instance.port:04X}", f"{self.instance.http_port:04X}"}
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        return sum(fields[1].split(":")[1] in ports and fields[3] == "01"
                   for fields in map(str.split, lines))

    def test_2000_dribbling_connections_harm_nobody(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 4 * SLOW:
            self.skipTest(f"only {hard} descriptors may be open")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        quiet = self.p99()
        context = multiprocessing.get_context("fork")
        ready, results = context.Event(), context.Queue()
        process = context.Process(target=dribble_all, args=(
            (self.instance.http_port, self.instance.port), 40, ready, results))
        process.start()
        try:
            self.assertTrue(ready.wait(PATIENCE_S), "the slow clients are there")
            most = self.connections()
            besieged = self.p99()
            most = max(most, self.connections())
            lives = results.get(timeout=2 * PATIENCE_S)
        finally:
            process.terminate()
            process.join()
        cut = {kind: [life for of, life in lives if of == kind and life is not None]
               for kind in ("head", "pause", "last")}
        print(f"p99 of healthy requests: {quiet * 1000:.0f} ms alone, {besieged * 1000:.0f} ms beside "
              f"{most} slow connections: {besieged / quiet:.2f} times; cut: "
              + ", ".join(f"{len(times)} {kind}" for kind, times in cut.items()))
        self.assertGreater(most, SLOW / 2)
        # Heads that never end and bodies that pause are cut, in time; the machine may be busy.
        self.assertGreaterEqual(len(cut["head"]), SLOW // 2)
        self.assertGreaterEqual(len(cut["pause"]), SLOW // 4)
        for kind in ("head", "pause"):
            middle = sorted(cut[kind])[len(cut[kind]) // 2]
            self.assertGreater(middle, CLIENT_TIMEOUT_S - 1.5, kind)
            self.assertLess(middle, CLIENT_TIMEOUT_S + 10, kind)
        self.assertLess(besieged, 10 * quiet + 1)


if __name__ == "__main__":
    unittest.main()

"""nginx as clients meet it: headers, CORS, pages, load balancers."""

import concurrent.futures
import contextlib
import gzip
import http.client
import json
import socket
import unittest

import harness
import http_client
from edge import FACE, NginxAlone, run, temporary_folder
from harness import SystemTest, inferpool
from pictures import SOURCE
from processes import eventually

KIB, MIB = 1024, 1024 * 1024
ORIGIN = "https://app.example"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "authorization,content-type"}
SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
                    "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
                    "Cross-Origin-Resource-Policy": "same-origin"}
API_POLICY = "default-src 'none'; frame-ancestors 'none'"


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


class EdgeTest(SystemTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = temporary_folder(cls)
        pages, swagger = cls.folder / "pages", cls.folder / "swagger"
        pages.mkdir()
        swagger.mkdir()
        cls.openapi = json.dumps({"openapi": "3.1.0", "paths": {f"/{i}": {} for i in range(500)}})
        for name, text in (("index.html", "<!doctype html><title>page</title>"),
                           ("docs.html", "<!doctype html><title>docs</title>"),
                           ("errors.html", "<!doctype html><title>errors</title>"), ("app.js", "export {}"),
                           ("docs.js", "1"), ("style.css", "a{}"), ("icon.svg", "<svg/>"),
                           ("openapi.json", cls.openapi), ("notes.txt", "secret"), (".hidden.js", "1")):
            (pages / name).write_text(text)
        (pages / "sample.jpg").write_bytes(FACE)
        for name in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-16x16.png", "package.json"):
            (swagger / name).write_text(name)
        cls.instance = cls.start(
            {"workers": 1, "limits.body_mb": 1, "nginx.rate_per_s": 0, "nginx.hsts_s": 63072000,
             "cors.origins": [ORIGIN, "http://localhost:3000", "https://*.sub.example", "http://*.localhost:3000"],
             "cors.headers": ["baggage", "X-Own"], "nginx.pages": str(pages),
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
                ("GET", "/", None, {}, 200), ("GET", "/docs", None, {}, 200),
                ("GET", "/docs/errors", None, {}, 200), ("GET", "/app.js", None, {}, 200),
                ("GET", "/openapi.json", None, {}, 200), ("GET", "/docs/swagger-ui/swagger-ui.css", None, {}, 200),
                ("GET", "/v1/models", None, {}, 200), ("HEAD", "/v1/models", None, {}, 200),
                ("POST", "/v1/predict/faces_cascade", FACE, {}, 200),
                ("POST", "/v1/predict/faces_cascade", b"text", {}, 415),
                ("GET", "/livez", None, {}, 200), ("GET", "/metrics", None, {}, 200),
                ("GET", "/nothing", None, {}, 404), ("GET", "/nothing.js", None, {}, 404),
                ("GET", "/v1/predict/faces_cascade", None, {}, 405), ("POST", "/", b"", {}, 405),
                ("POST", "/v1/predict/faces_cascade", bytes(MIB + 1), {}, 413),
                ("OPTIONS", "/v1/predict/faces_cascade", None, PREFLIGHT, 204)):
            with self.subTest(method, target=target):
                answer = self.get(target, headers, method, body)
                self.assertEqual(status, answer.status, answer.body[:300])
                self.assert_secured(answer)
                self.assert_common_headers(answer)

    def test_pages_have_a_strict_policy_and_everything_else_a_stricter_one(self):
        for target in ("/", "/docs", "/docs/errors", "/?x=1"):
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
                ("/docs/errors", "text/html; charset=utf-8"),
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
        self.assertEqual({"X-Request-ID", "Server-Timing", "X-Process-Time", "X-Cache", "Retry-After", "RateLimit",
                          "RateLimit-Policy", "Inference-Header-Content-Length", "X-Inferpool-Route"},
                         set(exposed))
        self.assertEqual([origin], answer.headers.get_all("Timing-Allow-Origin"))
        self.assertIsNone(answer.header("Access-Control-Allow-Credentials"))

    def test_a_browsers_question_before_a_request_is_answered(self):
        for target in ("/v1/predict/faces_cascade", "/v1/predict/faces_cascade/batch", "/v1/models",
                       "/v2/models/faces_cascade/infer"):
            with self.subTest(target):
                answer = self.get(target, PREFLIGHT, "OPTIONS")
                self.assertEqual((204, b""), (answer.status, answer.body))
                self.assert_shared(answer)
                self.assertEqual({"GET", "HEAD", "POST"},
                                 set(answer.header("Access-Control-Allow-Methods").split(", ")))
                self.assertLessEqual(
                    {"authorization", "content-encoding", "content-type", "x-api-key", "x-priority", "x-request-id",
                     "x-timeout-ms", "traceparent", "tracestate", "baggage", "x-own"},
                    set(answer.header("Access-Control-Allow-Headers").lower().split(", ")))
                self.assertRegex(answer.header("Access-Control-Max-Age"), r"^\d+$")

    def test_answers_and_errors_may_be_read_by_the_origins_named(self):
        for origin in (ORIGIN, "http://localhost:3000", "https://a.sub.example", "https://a-1.b.c.sub.example",
                       "http://app.localhost:3000"):
            for method, target, body, status in (
                    ("GET", "/v1/models", None, 200), ("POST", "/v1/predict/faces_cascade", FACE, 200),
                    ("POST", "/v1/predict/faces_cascade", b"text", 415),
                    ("GET", "/v1/predict/faces_cascade", None, 405),
                    ("GET", "/nothing", None, 404), ("POST", "/v1/predict/faces_cascade", bytes(MIB + 1), 413)):
                with self.subTest(origin, method=method, target=target):
                    answer = self.get(target, {"Origin": origin}, method, body)
                    self.assertEqual(status, answer.status)
                    self.assert_shared(answer, origin)
                    self.assertIsNone(answer.header("Access-Control-Allow-Methods"))

    def test_other_origins_are_told_nothing(self):
        for origin in ("https://app.example.evil", "https://evil.example", "http://app.example", "null",
                       "https://app.example:8443", "https://xapp.example", "*", "https://sub.example",
                       "https://evilsub.example", "https://.sub.example", "https://a..sub.example",
                       "http://a.sub.example", "https://a.sub.example:8443", "https://a.sub.example.evil",
                       "https://evil/.sub.example", "https://evil#.sub.example", "https://evil@a.sub.example",
                       "https://*.sub.example", "https://a.subxexample", "http://app.localhost",
                       "http://localhost:30000"):
            with self.subTest(origin):
                answer = self.get("/v1/models", {"Origin": origin})
                self.assertEqual(200, answer.status)
                self.assertIsNone(answer.header("Access-Control-Allow-Origin"))
                self.assertIsNone(answer.header("Timing-Allow-Origin"))
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
                ("header too large", 431, b"GET /v1/models HTTP/1.1\r\n" + head + b"A: " + b"x" * 40_000 + b"\r\n\r\n"),
                ("unknown page", 404, b"GET /none.js HTTP/1.1\r\n" + head + b"\r\n"),
                ("method", 405, b"TRACE / HTTP/1.1\r\n" + head + b"\r\n"),
                ("condition", 412, b"GET /app.js HTTP/1.1\r\n" + head + b"If-Match: \"other\"\r\n\r\n"),
                ("body of a picture", 413, b"POST /v1/predict/faces_cascade HTTP/1.1\r\n" + head
                 + b"Content-Length: 1048577\r\n\r\n"),
                ("body where none belongs", 413, b"POST /v1/models HTTP/1.1\r\n" + head
                 + b"Content-Length: 65537\r\n\r\n"),
                ("body of a probe", 413, b"GET /livez HTTP/1.1\r\n" + head + b"Content-Length: 1025\r\n\r\n"),
                ("address too long", 414, b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n" + head + b"\r\n"),
                ("transfer encoding", 501, b"POST /v1/predict/faces_cascade HTTP/1.1\r\n" + head
                 + b"Transfer-Encoding: gzip\r\n\r\n"),
                ("version", 505, b"GET / HTTP/3.7\r\n" + head + b"\r\n")):
            with self.subTest(name):
                answer = self.instance.raw(data)
                self.assert_problem(answer, status)
                self.assert_secured(answer)

    def test_413_says_what_is_allowed_there(self):
        over = self.get("/v1/predict/faces_cascade", None, "POST", bytes(MIB + 1))
        self.assertIn("more than 1 MB", self.assert_problem(over, 413, "body-too-large")["detail"])
        over = self.get("/v1/models", None, "POST", bytes(65 * KIB))
        self.assertIn("more than 64 KB", self.assert_problem(over, 413, "body-too-large")["detail"])
        for path in ("/livez", "/readyz?a=b", "/metrics"):
            over = self.get(path, None, "GET", bytes(KIB + 1))
            self.assertIn("more than 1 KB", self.assert_problem(over, 413, "body-too-large")["detail"])

    def test_under_v2_an_error_of_nginx_has_the_protocols_member_too(self):
        head = "Host: localhost\r\nContent-Length: {}\r\n\r\n"
        for line, length, status in (("POST /v2/models/faces_cascade/infer", MIB + 1, 413),
                                     ("POST /v2/repository/index", 65537, 413),
                                     ("TRACE /v2", 0, 405), ("TRACE /v2/models?a=b", 0, 405)):
            with self.subTest(line):
                answer = self.instance.raw(f"{line} HTTP/1.1\r\n{head.format(length)}".encode())
                problem = self.assert_problem(answer, status)
                self.assertEqual("error", next(iter(problem)))
                self.assertEqual(problem["detail"], problem["error"])
        for line in ("TRACE /v2x", "TRACE /v1/models", "TRACE /?/v2/"):
            with self.subTest(line):
                answer = self.instance.raw(f"{line} HTTP/1.1\r\n{head.format(0)}".encode())
                self.assertNotIn("error", self.assert_problem(answer, 405))

    # ------------------------------------------------------------ behind a load balancer

    def last_line(self, marker):
        def find():
            for line in (self.instance.state / "logs/nginx-access.log").read_text().splitlines():
                if marker in line:
                    return json.loads(line)
            return None
        return eventually(find, f"the access log has {marker}")

    def test_every_line_of_the_access_log_is_utf8_whatever_a_client_sends(self):
        strange = (b"/\xff", b"/v1/models/\xc3\xa4\xff?\xfe", b"/\xc3\xa4", b"/\x7f", b'/"\\', b"/\xed\xa0\x80",
                   b"/v1/models/%ff")
        for number, path in enumerate(strange):
            for line in (b"GET " + path + b" HTTP/1.1", b"GET " + path + b" HTTP/9.9", path + b" / HTTP/1.1"):
                self.instance.raw(line + b"\r\nHost: localhost\r\nX-Request-ID: strange-%d\r\n" % number
                                  + b"X-API-Key: \xff\r\nUser-Agent: \xff\r\nConnection: close\r\n\r\n")
        self.get("/v1/models", {"X-Request-ID": "after-the-strange"})
        self.last_line('"after-the-strange"')
        log = (self.instance.state / "logs/nginx-access.log").read_bytes()
        for line in log.splitlines():
            json.loads(line.decode("utf-8"))
        for number, path in ((0, "/"), (1, "/v1/models/"), (4, '/"\\'), (6, "/v1/models/%ff")):
            logged = self.last_line(f'"strange-{number}"')["path"]
            self.assertEqual(path, logged.removesuffix(" (cut before a byte that is not ASCII)"))
            self.assertEqual(number < 2, logged != path)

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
                         f"https://localhost:{self.instance.port}/v1/predict/faces_cascade")
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


class KeyNameTest(SystemTest):
    def test_the_log_has_the_name_of_the_key_and_the_client_does_not(self):
        path = temporary_folder(self) / "keys.json"
        made = inferpool("keys", "add", "shop", "--file", path)
        self.assertEqual(0, made.returncode, made.stderr)
        key = made.stdout.strip()
        instance = self.instance = self.start({"workers": 1, "auth.keys_file": str(path)}, self.addCleanup)
        good = instance.request("GET", "/v1/models", headers={"X-API-Key": key, "X-Request-ID": "with-key"})
        self.assertEqual(200, good.status)
        self.assertIsNone(good.header("X-Inferpool-Key"))
        bad = instance.request("GET", "/v1/models", headers={"X-API-Key": "ip_other", "X-Request-ID": "bad-key"})
        self.assert_problem(bad, 401, "unauthorized")
        self.assertEqual(["Bearer"], bad.headers.get_all("WWW-Authenticate"))
        log = instance.state / "logs/nginx-access.log"
        eventually(lambda: log.read_text().count("-key\"") >= 2, "both are logged")
        lines = {line["request_id"]: line for line in map(json.loads, log.read_text().splitlines())}
        self.assertEqual(("shop", ""), (lines["with-key"]["key"], lines["bad-key"]["key"]))
        self.assertNotIn(key, log.read_text())


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
        for target, allow in (("/v1/predict/faces_cascade", "POST"), ("/v1/models", "GET, HEAD")):
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
        self.assertLessEqual({"baggage", "sentry-trace", "traceparent", "x-requested-with", "cache-control", "pragma"},
                             set(asked.header("Access-Control-Allow-Headers").lower().split(", ")))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: self.instance.request(
                "GET", "/v1/models", headers={"Origin": "https://any.example"}), range(8)))
        self.assertEqual({200, 429}, {answer.status for answer in answers})
        for answer in answers:
            self.assertEqual("*", answer.header("Access-Control-Allow-Origin"))
            self.assertEqual("*", answer.header("Timing-Allow-Origin"))
            self.assertNotIn("Origin", answer.header("Vary") or "")
            self.assertIn("Retry-After", answer.header("Access-Control-Expose-Headers"))
            if answer.status == 429:
                self.assert_problem(answer, 429, "too-many-requests")

    def test_nobody_reads_metrics_when_nobody_may(self):
        self.assert_problem(self.instance.request("GET", "/metrics"), 403, "forbidden")


if __name__ == "__main__":
    unittest.main()

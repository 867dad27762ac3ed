"""From HTTP to HTTPS: where clients are sent, and who need not go."""

import http.client
import json
import socket
import unittest

import http_client
from edge import NginxAlone
from processes import PATIENCE_S


class RedirectTest(unittest.TestCase):
    def start(self, **settings):
        nginx = NginxAlone({f"nginx.{name}": value for name, value in settings.items()})
        self.addCleanup(nginx.stop)
        return nginx

    @staticmethod
    def get(nginx, target="/v1/models?a=b", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", nginx.http_port, timeout=PATIENCE_S)
        return http_client.request(connection, "GET", target,
                                   headers={name.replace("_", "-"): value for name, value in headers.items()})

    @staticmethod
    def raw(nginx, head):
        with socket.create_connection(("127.0.0.1", nginx.http_port), timeout=PATIENCE_S) as connection:
            connection.sendall(head)
            return http_client.read_answer(connection)

    def assert_sent_to(self, address, answer):
        self.assertEqual((308, address), (answer.status, answer.header("Location")))

    def test_the_port_is_the_one_that_clients_know(self):
        nginx = self.start()
        self.assert_sent_to(f"https://localhost:{nginx.port}/v1/models?a=b", self.get(nginx, Host="localhost:80"))
        nginx = self.start(https_port=443)
        self.assert_sent_to("https://api.example.com/v1/models?a=b", self.get(nginx, Host="api.example.com"))
        nginx = self.start(https_port=9443)
        self.assert_sent_to("https://api.example.com:9443/", self.get(nginx, "/", Host="api.example.com"))

    def plain(self, nginx, head):
        """What HTTP without TLS is answered at the HTTPS port."""
        with socket.create_connection(("127.0.0.1", nginx.port), timeout=PATIENCE_S) as connection:
            connection.sendall(head)
            return http_client.read_answer(connection)

    def test_http_at_the_https_port_is_sent_to_https_at_the_port_that_the_client_named(self):
        nginx = self.start()
        for host, address in ((f"localhost:{nginx.port}", f"https://localhost:{nginx.port}"),
                              ("localhost", f"https://localhost:{nginx.port}"),
                              ("api.example.com:9443", "https://api.example.com:9443"),  # as behind docker -p
                              ("127.0.0.1:80", "https://127.0.0.1:80"), ("[::1]:8443", "https://[::1]:8443"),
                              ("[::1]", f"https://[::1]:{nginx.port}"), ("a.example:443", "https://a.example:443")):
            for target in ("/", "/v1/models?a=b", "/v1/predict/a%2fb", "/livez"):
                with self.subTest(host, target=target):
                    answer = self.plain(nginx, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                    self.assert_sent_to(address + target, answer)
                    self.assertEqual("application/problem+json", answer.header("Content-Type"))
                    self.assertEqual(308, json.loads(answer.body)["status"])
                    self.assertIn("https", json.loads(answer.body)["detail"])
                    self.assertIsNone(answer.header("Strict-Transport-Security"))
        nginx = self.start(https_port=443)
        self.assert_sent_to("https://api.example.com/v1/models",
                            self.plain(nginx, b"GET /v1/models HTTP/1.1\r\nHost: api.example.com\r\n\r\n"))

    def test_http_with_a_body_at_the_https_port_is_sent_there_too(self):
        nginx = self.start()
        body = bytes(300_000)
        head = (f"POST /v1/predict/shapes HTTP/1.1\r\nHost: localhost:{nginx.port}\r\nContent-Type: image/png\r\n"
                f"Content-Length: {len(body)}\r\n\r\n").encode()
        for sent in (b"", body[:1000], body):
            with self.subTest(len(sent)):
                self.assert_sent_to(f"https://localhost:{nginx.port}/v1/predict/shapes", self.plain(nginx, head + sent))

    def test_http_at_the_https_port_without_a_host_leads_nowhere(self):
        nginx = self.start()
        for head in (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: _\r\n\r\n"):
            answer = self.plain(nginx, head)
            self.assertEqual((400, None), (answer.status, answer.header("Location")))
            self.assertEqual(400, json.loads(answer.body)["status"])
        nginx = self.start(server_name="api.example.com")
        self.assert_sent_to(f"https://api.example.com:{nginx.port}/", self.plain(nginx, b"GET / HTTP/1.0\r\n\r\n"))

    def test_who_does_not_follow_is_told_why(self):
        nginx = self.start()
        for target, in_v2 in (("/v1/models", False), ("/v2/models/some", True), ("/v2", True)):
            with self.subTest(target):
                answer = self.get(nginx, target)
                self.assert_sent_to(f"https://127.0.0.1:{nginx.port}{target}", answer)
                self.assertEqual("application/problem+json", answer.header("Content-Type"))
                problem = json.loads(answer.body)
                self.assertEqual(("https-only", 308), (problem["code"], problem["status"]))
                self.assertEqual(problem["detail"] if in_v2 else None, problem.get("error"))

    def test_nobody_is_sent_to_a_host_that_is_none(self):
        for name in ("_", "*.example.org"):
            nginx = self.start(server_name=name)
            for head in (b"GET /v1/models HTTP/1.0\r\n\r\n", b"GET /v1/models HTTP/1.1\r\nHost:\r\n\r\n",
                         b"GET /v1/models HTTP/1.1\r\nHost: _\r\n\r\n"):
                with self.subTest(name, head=head):
                    answer = self.raw(nginx, head)
                    self.assertEqual(400, answer.status)
                    self.assertIsNone(answer.header("Location"))
                    problem = json.loads(answer.body)
                    self.assertEqual(("bad-request", 400), (problem["code"], problem["status"]))
            # Probes need no host.
            self.assertEqual(503, self.raw(nginx, b"GET /livez HTTP/1.0\r\n\r\n").status)
        nginx = self.start(server_name="api.example.com")
        self.assert_sent_to(f"https://api.example.com:{nginx.port}/v1/models",
                            self.raw(nginx, b"GET /v1/models HTTP/1.0\r\n\r\n"))

    def test_a_trusted_proxy_says_how_the_client_came(self):
        nginx = self.start(trusted_proxies=["127.0.0.1"])
        for scheme, redirected in (("https", False), ("https, https", False), ("HTTPS,http", False),
                                   ("https ,https", False), ("http", True), ("http, https", True), ("https2", True),
                                   ("xhttps", True), ("", True), (",https", True)):
            with self.subTest(scheme):
                answer = self.get(nginx, X_Forwarded_Proto=scheme)
                self.assertEqual(308 if redirected else 503, answer.status)  # there is no worker here


if __name__ == "__main__":
    unittest.main()

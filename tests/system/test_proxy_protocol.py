"""The PROXY protocol before TLS and HTTP: who the client is, and who is believed."""

import http.client
import json
import socket
import ssl
import struct
import unittest

import harness
import http_client
from edge import NginxAlone, run
from harness import SystemTest
from processes import PATIENCE_S, eventually

V2 = b"\r\n\r\n\0\r\nQUIT\n"


def v1(client, family="TCP4"):
    server = "127.0.0.1" if family == "TCP4" else "::1"
    return f"PROXY {family} {client} {server} 40000 443\r\n".encode()


def v2(client):
    addresses = socket.inet_aton(client) + socket.inet_aton("127.0.0.1") + struct.pack(">HH", 40000, 443)
    return V2 + b"\x21\x11" + struct.pack(">H", len(addresses)) + addresses


LOCAL = V2 + b"\x20\0\0\0"  # the proxy's own health check


class ProxyProtocolTest(unittest.TestCase):
    def start(self, proxies):
        nginx = NginxAlone({"nginx.proxy_protocol": True, "nginx.trusted_proxies": proxies,
                            "nginx.metrics_allow": ["203.0.113.7", "2001:db8::7"]})
        self.addCleanup(nginx.stop)
        return nginx

    @staticmethod
    def ask(port, before, target="/metrics", tls=True, **headers):
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as plain:
            plain.sendall(before)
            stream = harness.tls_context().wrap_socket(plain, server_hostname="localhost") if tls else plain
            with stream:
                stream.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
                return http_client.read_answer(stream)

    def test_a_trusted_proxy_says_who_the_client_is(self):
        nginx = self.start(["127.0.0.1"])
        for port, tls in ((nginx.port, True), (nginx.http_port, False)):
            for before, status in ((v1("203.0.113.7"), 503), (v2("203.0.113.7"), 503),  # no sidecar is here
                                   (v1("2001:db8::7", "TCP6"), 503), (v1("203.0.113.8"), 403),
                                   (v2("127.0.0.1"), 403), (LOCAL, 403), (b"PROXY UNKNOWN\r\n", 403)):
                with self.subTest(before, tls=tls):
                    self.assertEqual(status, self.ask(port, before, tls=tls).status)
        clients = {"203.0.113.7", "203.0.113.8", "2001:db8::7"}

        def logged():
            lines = (nginx.state / "logs/nginx-access.log").read_text().splitlines()
            return clients <= {json.loads(line)["client"] for line in lines}
        eventually(logged, "the log has the clients")

    def test_nobody_else_is_believed(self):
        nginx = self.start(["10.0.0.0/8"])
        self.assertEqual(403, self.ask(nginx.port, v1("203.0.113.7")).status)
        self.assertEqual(403, self.ask(nginx.port, v2("203.0.113.7")).status)

    def test_the_headers_of_the_client_are_not_the_proxys(self):
        nginx = self.start(["127.0.0.1"])
        answer = self.ask(nginx.port, v1("203.0.113.8"), X_Forwarded_For="203.0.113.7")
        self.assertEqual(403, answer.status)
        answer = self.ask(nginx.http_port, v1("203.0.113.8"), "/v1/models", tls=False, X_Forwarded_Proto="https")
        self.assertEqual(308, answer.status)

    def test_who_does_not_speak_it_is_not_served(self):
        nginx = self.start(["127.0.0.1"])
        with self.assertRaises((ConnectionError, ssl.SSLError)):
            self.ask(nginx.port, b"")
        self.assertIsNone(self.ask(nginx.http_port, b"", tls=False))

    def test_http_at_the_https_port_is_sent_to_https(self):
        nginx = self.start(["127.0.0.1"])
        answer = self.ask(nginx.port, v1("203.0.113.7"), "/docs", tls=False)
        self.assertEqual((308, f"https://localhost:{nginx.port}/docs"), (answer.status, answer.header("Location")))


class ProxiedPoolTest(SystemTest):
    """curl as the proxy, and a pool that answers."""

    def test_predictions_come_through(self):
        instance = self.start({"workers": 1, "nginx.proxy_protocol": True, "nginx.trusted_proxies": ["127.0.0.1"]},
                              cleanup=self.addCleanup, nginx=False)
        instance.start_nginx()
        for version in ("--http1.1", "--http2"):
            asked = run("curl", "-sS", version, "--haproxy-protocol", "--cacert", harness.certificate() / "certificate.pem",
                        "--retry", "20", "--retry-connrefused", "--retry-delay", "1",
                        f"https://localhost:{instance.port}/v1/models")
            self.assertEqual(0, asked.returncode, asked.stderr)
            self.assertIn("faces_cascade", asked.stdout)
        with self.assertRaises((OSError, http.client.HTTPException)):
            instance.request("GET", "/v1/models")


if __name__ == "__main__":
    unittest.main()

"""How much of nginx one client has: rates, requests in work, probes, and who one client is."""

import concurrent.futures
import contextlib
import http.client
import ipaddress
import itertools
import json
import os
import random
import re
import secrets
import signal
import socket
import subprocess
import unittest

import harness
import http_client
import pictures
from edge import FACE, NginxAlone, temporary_folder
from harness import SystemTest, inferpool
from processes import PATIENCE_S, eventually


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

    def test_blanks_around_a_key_change_nothing(self):
        """HTTP/1 takes blanks away, but not tabs; HTTP/2 takes nothing away."""
        def asks(*headers):
            good, body = http_client.http2_get(self.instance.port, harness.tls_context(("h2",)), "/v1/models",
                                               headers=headers)
            return 200 if good else json.loads(body)["status"]

        for form in ((b"authorization", b" Bearer %s"), (b"authorization", b"\tBearer %s"),
                     (b"authorization", b"Bearer %s "), (b"authorization", b"Bearer  %s\t"),
                     (b"authorization", b" \t bearer   %s \t "), (b"x-api-key", b" %s"),
                     (b"x-api-key", b"%s\t"), (b"x-api-key", b"\t%s ")):
            with self.subTest(form):
                key = secrets.token_hex(8).encode()
                self.assertIn(429, [asks((form[0], form[1] % key)) for _ in range(8)])
                # It is the same key as without blanks.
                self.assertIn(429, [self.ask({"X-API-Key": key.decode()}).status for _ in range(2)])
        with self.subTest("HTTP/1 and tabs"):
            key = secrets.token_hex(8).encode()
            request = (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                       b"Authorization:\t Bearer " + key + b"\t\r\n\r\n")
            self.assertIn(429, [self.instance.raw(request).status for _ in range(8)])
            self.assertIn(429, [self.ask({"X-API-Key": key.decode()}).status for _ in range(2)])
        with self.subTest("an empty header beside a key"):
            key = secrets.token_hex(8).encode()
            both = ((b"x-api-key", b" \t"), (b"authorization", b"Bearer " + key))
            self.assertIn(429, [asks(*both) for _ in range(8)])
            self.assertIn(429, [self.ask({"X-API-Key": key.decode()}).status for _ in range(2)])
        with self.subTest("several"):
            key = secrets.token_hex(8).encode()
            self.assertIn(429, [asks((b"x-api-key", key), (b"x-api-key", b"%d" % number))
                                for number in range(8)])
        with self.subTest("no key is none"):
            self.assertEqual({200}, {asks() for _ in range(8)})
            self.assertEqual({200}, {asks((b"x-api-key", b" "), (b"authorization", b"\t")) for _ in range(8)})

    def test_one_key_is_one_client_whatever_address_it_comes_from(self):
        key = {"X-API-Key": secrets.token_hex(8)}
        statuses = [self.ask(key, f"127.0.0.{number}").status for number in range(2, 10)]
        self.assertIn(429, statuses)

    def test_what_cannot_be_a_key_is_counted_together(self):
        def unlike(number):
            yield {"X-API-Key": f"{number}" * 201}
            yield {"X-API-Key": f"{number} {number}"}
            yield {"X-API-Key": f"{number}\xe9"}
            yield {"Authorization": f"Basic {number}"}
            yield {"Authorization": f"Bearer {number} {number}"}
            yield {"Authorization": f"Bearer\t{number}"}
            yield {"Authorization": f"{number}"}
        for form in range(len(list(unlike(0)))):
            statuses = [self.ask(list(unlike(number))[form]).status for number in range(8)]
            self.assertIn(429, statuses, list(unlike(0))[form])

    def test_a_client_has_so_many_requests_in_work_and_no_more(self):
        self.assert_good(self.instance.predict("faces_cascade", FACE))  # so that the worker knows the model
        frozen = self.instance.stop_modelserver()
        try:
            with concurrent.futures.ThreadPoolExecutor(6) as pool:
                pending = [pool.submit(self.instance.predict, "faces_cascade", FACE) for _ in range(6)]
                eventually(lambda: sum(request.done() for request in pending) >= 3, "three are refused")
                self.assertEqual(3, sum(request.done() for request in pending))
                # Another address is another client.
                self.assertNotEqual(429, self.ask(source="127.0.0.2").status)
                os.kill(frozen, signal.SIGCONT)
                answers = [request.result() for request in pending]
        finally:
            os.kill(frozen, signal.SIGCONT)
            eventually(lambda: self.ask().status == 200, "the next test finds the model server again")
        self.assertEqual(3, sum(answer.status == 429 for answer in answers))
        for answer in answers:
            if answer.status == 429:
                problem = self.assert_problem(answer, 429, "too-many-requests")
                self.assertIn("more than 3 requests", problem["detail"])


class ProbesTest(SystemTest):
    """127.0.0.2 is a load balancer, which names whom it speaks for."""

    SETTINGS = {"workers": 1, "nginx.trusted_proxies": ["127.0.0.2"], "nginx.rate_per_s": 0,
                "nginx.metrics_allow": ["127.0.0.1", "203.0.113.0/24"]}

    def probe(self, path, client=None, source="127.0.0.2"):
        connection = http.client.HTTPConnection("127.0.0.1", self.instance.http_port, timeout=PATIENCE_S,
                                                source_address=(source, 0))
        return http_client.request(connection, "GET", path, headers={"X-Forwarded-For": client} if client else {})

    def test_a_stranger_has_a_rate_and_costs_nobody_elses_probes(self):
        for number, path in enumerate(("/livez", "/readyz", "/metrics")):
            with self.subTest(path):
                with concurrent.futures.ThreadPoolExecutor(8) as pool:
                    flood = list(pool.map(lambda _: self.probe(path, f"203.0.113.{number}"), range(80)))
                refused = [answer for answer in flood if answer.status == 429]
                self.assertTrue(refused)
                self.assertGreater(len(flood) - len(refused), 20, "what a prober needs")
                problem = self.assert_problem(refused[0], 429, "too-many-requests")
                self.assertIn("more requests a second", problem["detail"])
                self.assertEqual(200, self.probe(path, f"203.0.113.{number + 100}").status)

    def test_the_machine_and_its_load_balancers_have_none(self):
        for source, client in (("127.0.0.1", None), ("127.0.0.2", None), ("127.0.0.2", "127.0.0.5")):
            with self.subTest(source, client=client):
                self.assertEqual({200}, {self.probe("/livez", client, source).status for _ in range(60)})

    def test_all_strangers_together_leave_the_sidecar_room(self):
        sidecar = self.instance.sidecar()
        os.kill(sidecar, signal.SIGSTOP)
        try:
            with concurrent.futures.ThreadPoolExecutor(80) as pool:
                flood = list(pool.map(lambda number: self.probe("/livez", f"198.51.100.{number}"), range(80)))
        finally:
            os.kill(sidecar, signal.SIGCONT)
        refused = [answer for answer in flood if answer.seconds < 1]  # the others wait
        self.assertEqual(16, len(refused), [answer.status for answer in flood])
        for answer in refused:
            self.assert_problem(answer, 503, "overloaded")
        eventually(lambda: self.probe("/livez", source="127.0.0.1").status == 200, "the sidecar goes on")

    def test_who_sends_slowly_takes_no_strangers_place(self):
        with contextlib.ExitStack() as stack:
            for number in range(80):
                slow = stack.enter_context(socket.create_connection(
                    ("127.0.0.1", self.instance.http_port), PATIENCE_S, source_address=("127.0.0.2", 0)))
                slow.sendall(f"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.{number}\r\n"
                             "Content-Length: 10\r\n\r\n1".encode())
            self.assertEqual(200, self.probe("/livez", "192.0.2.200").status)


def addresses():
    """IPv6 addresses of every pattern of zeros, and neighbours of theirs."""
    rng = random.Random(1)
    for pattern in itertools.product((0, 1), repeat=8):
        for _ in range(3):
            groups = [rng.choice((1, 0xf, 0xab, 0x123, 0xffff)) if one else 0 for one in pattern]
            yield ipaddress.IPv6Address(sum(group << 16 * (7 - i) for i, group in enumerate(groups)))


class ClientsTest(unittest.TestCase):
    def start_reader(self):
        """A connection to an nginx that says who it takes its client for, by the rendered map."""
        folder = temporary_folder(self)
        (folder / "logs").mkdir()
        port, = harness.free_ports(1)
        (folder / "config.json").write_text("{}")
        rendered = inferpool("nginx", "-c", folder / "config.json").stdout
        rule = re.search(r"^    map \$remote_addr \$client \{.*?^    \}", rendered, re.S | re.M).group()
        (folder / "nginx.conf").write_text(
            "pid nginx.pid; events {} http { access_log off; keepalive_requests 100000; map_hash_bucket_size 512;\n"
            f"{rule}\n server {{ listen 127.0.0.1:{port}; set_real_ip_from 127.0.0.1;\n"
            "real_ip_header X-Forwarded-For; return 200 $client; } }\n")
        nginx = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", "--", harness.NGINX, "-p", folder, "-c",
                                  "nginx.conf", "-e", "stderr", "-g", "daemon off;"], stdin=subprocess.DEVNULL)
        self.addCleanup(nginx.wait, PATIENCE_S)
        self.addCleanup(nginx.terminate)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        self.addCleanup(connection.close)

        def who(address):
            connection.request("GET", "/", headers={"X-Forwarded-For": str(address)})
            return connection.getresponse().read().decode()

        def answers():
            try:
                return who("192.0.2.1")
            except OSError:
                connection.close()
                return None
        eventually(answers, "nginx answers")
        return who

    def test_a_client_is_an_ipv4_address_or_an_ipv6_network_of_64_bits(self):
        who = self.start_reader()
        networks = {}
        for address in addresses():
            mapped = address.ipv4_mapped
            network = mapped or ipaddress.IPv6Network((address, 64), strict=False)
            with self.subTest(address):
                client = who(address)
                self.assertEqual(client, networks.setdefault(network, client), "one network is one client")
        self.assertGreater(len(networks), 30)
        self.assertEqual(len(networks), len(set(networks.values())), "another network is another client")
        for address, client in (("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"),
                                ("2001:db8::1", "2001:db8:0:0:"), ("2001:db8:0:0:8000::", "2001:db8:0:0:"),
                                ("2001::1:2:3:4:5", "2001:0:0:1:"), ("2001:0:0:1::9", "2001:0:0:1:"),
                                ("::1", "0:0:0:0:"), ("::", "0:0:0:0:")):
            with self.subTest(address):
                self.assertEqual(client, who(address))

    def test_the_neighbours_of_a_network_share_its_limits(self):
        nginx = NginxAlone({"nginx.trusted_proxies": ["127.0.0.1"], "nginx.rate_per_s": 1, "nginx.burst": 0})
        self.addCleanup(nginx.stop)

        def ask(address):
            connection = http.client.HTTPSConnection("localhost", nginx.port, context=harness.tls_context())
            return http_client.request(connection, "GET", "/v1/models", headers={"X-Forwarded-For": address}).status
        for network in ("2001:db8:1:2:", "2001:db8::"):
            with self.subTest(network):
                statuses = [ask(f"{network}{secrets.randbelow(65535) + 1:x}:1:2:{number:x}") for number in range(2, 12)]
                self.assertEqual(503, statuses[0], "there is no worker here")
                self.assertIn(429, statuses[1:])
        self.assertEqual([503, 503], [ask("2001:db8:1:3::1"), ask("192.0.2.9")])


class ToldLimitsTest(SystemTest):
    """GET /v1/limits, and that it is true."""

    SETTINGS = {"workers": 1, "nginx.rate_per_s": 50, "nginx.burst": 70, "nginx.connections": 0, "limits.body_mb": 1,
                "limits.pixels": 10_000, "limits.batch_images": 2, "limits.queue_ms": 0, "timeouts.request_s": 7}

    def ask(self, method="GET", target="/v1/limits"):
        return self.instance.request(method, target)

    def test_they_are_told_as_they_are(self):
        answer = self.ask()
        self.assert_good(answer)
        self.assertEqual("no-store", answer.header("Cache-Control"))
        self.assertEqual(
            {"body_bytes": 1 << 20, "other_body_bytes": 64 << 10, "head_line_bytes": 8 << 10, "pixels": 10_000,
             "jpeg_scans": 64, "batch_images": 2, "max_detections": 300, "tiles": 64,
             "formats": ["image/jpeg", "image/png", "image/webp", "image/gif"], "timeout_ms": 7_000, "queue_ms": None,
             "key": None, "client": {"requests_per_s": 50, "burst": 71, "in_work": None}}, answer.json())

    def test_it_is_only_read(self):
        head = self.ask("HEAD")
        self.assertEqual((200, b""), (head.status, head.body))
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
            answer = self.instance.raw(f"{method} /v1/limits HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
                                       .encode())
            self.assert_problem(answer, 405, "method-not-allowed")
            self.assertEqual("GET, HEAD", answer.header("Allow"))
        self.assert_problem(self.ask(target="/v1/limits/"), 404, "unknown-route")

    def test_they_are_true(self):
        told = self.ask().json()

        def predict(body):
            return self.instance.predict("shapes", body, content_type="application/octet-stream").status
        self.assertEqual([415, 413], [predict(bytes(told["body_bytes"] + more)) for more in (0, 1)])
        side = int(told["pixels"] ** 0.5)
        self.assertEqual([200, 422], [predict(pictures.plain(side, side + more)) for more in (0, 1)])
        for count, status in ((told["batch_images"], 200), (told["batch_images"] + 1, 413)):
            form, kind = http_client.multipart([("images", pictures.plain(8, 8))] * count)
            self.assertEqual(status, self.instance.request("POST", "/v1/predict/shapes/batch", form,
                                                           {"Content-Type": kind}).status)
        for more, status in ((-30, 200), (1, 431)):
            self.assertEqual(status, self.instance.request(
                "GET", "/v1/limits", headers={"Cookie": "x" * (told["head_line_bytes"] + more)}).status)


if __name__ == "__main__":
    unittest.main()

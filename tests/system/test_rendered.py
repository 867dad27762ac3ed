"""What `inferpool nginx` prints."""

import json
import unittest

import harness
from edge import run, temporary_folder
from harness import inferpool, nested


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


if __name__ == "__main__":
    unittest.main()

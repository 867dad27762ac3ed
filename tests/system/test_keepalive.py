"""A connection lasts as long as its client wants it to, and costs nginx nothing the longer."""

import re
import unittest
from pathlib import Path

import harness
import http_client
from edge import NginxAlone


class KeepaliveTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.nginx = NginxAlone({"nginx.rate_per_s": 0})
        cls.addClassCleanup(cls.nginx.stop)
        cls.context = harness.tls_context(("h2",))

    def answered(self, count, in_flight, path="/style.css"):
        return http_client.http2_many(self.nginx.port, self.context, path, count, in_flight)

    def memory_kb(self):
        children = Path(f"/proc/{self.nginx.process.pid}/task/{self.nginx.process.pid}/children").read_text().split()
        return sum(int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1))
                   for pid in children)

    def test_of_many_requests_in_flight_none_is_lost(self):
        for path in ("/style.css", "/nothing.js"):
            for in_flight in (1, 10, 100):
                with self.subTest(path, in_flight=in_flight):
                    self.assertEqual(2500, self.answered(2500, in_flight, path))

    def test_nginx_does_not_grow_with_a_connection(self):
        for _ in range(4):
            self.answered(1000, 100)  # of which each worker of nginx gets some
        before = self.memory_kb()
        self.assertEqual(50_000, self.answered(50_000, 100))
        self.assertLess(self.memory_kb() - before, 8_000)


if __name__ == "__main__":
    unittest.main()

"""Behind somebody's /vision/: pages, documents, problems and redirects lead back there, whether the proxy
before us takes the path away or leaves it."""

import http.client
import json
import re
import unittest
from urllib.parse import urljoin, urlsplit

import harness
import http_client
from edge import FACE, Front, NginxAlone
from harness import SystemTest
from http_client import multipart
from processes import PATIENCE_S

BASE = "/vision.2/pool"


class BasePathTest(SystemTest):
    @classmethod
    def setUpClass(cls):
        cls.instance = cls.start({"workers": 1, "nginx.base_path": BASE + "/", "nginx.rate_per_s": 0,
                                  "limits.body_mb": 1}, cleanup=cls.addClassCleanup)
        ours = f"https://127.0.0.1:{cls.instance.port}"
        rest = ("listen PORT ssl; ssl_certificate CERTIFICATE/certificate.pem; "
                "ssl_certificate_key CERTIFICATE/key.pem; absolute_redirect off; client_max_body_size 9m; "
                "proxy_set_header Host $http_host; ")
        cls.fronts = {
            "takes it away": Front(rest + f"location {BASE}/ {{ proxy_pass {ours}/; }}"),
            "leaves it": Front(rest + f"location {BASE}/ {{ proxy_pass {ours}; }}")}
        for front in cls.fronts.values():
            cls.addClassCleanup(front.stop)

    def ask(self, port, target, method="GET", body=None, headers=None):
        connection = http.client.HTTPSConnection("localhost", port, context=harness.tls_context(), timeout=PATIENCE_S)
        return http_client.request(connection, method, target, body, headers)

    def everywhere(self):
        """(name, port) of all ways to it."""
        for name, front in self.fronts.items():
            yield name, front.port
        yield "itself", self.instance.port

    def test_predictions_and_lists_are_answered(self):
        form, kind = multipart([("image", FACE, "a.png")])
        for name, port in self.everywhere():
            with self.subTest(name):
                answer = self.ask(port, f"{BASE}/v1/predict/faces_cascade?max_detections=1", "POST", form,
                                  {"Content-Type": kind})
                self.assertEqual(1, len(self.assert_good(answer)["detections"]))
                for target in ("/v1/models", "/v1/limits", "/v2", "/v2/models/shapes", "/readyz", "/livez"):
                    self.assertEqual(200, self.ask(port, BASE + target).status, target)
        # And without it, as probes of the machine itself ask.
        for target in ("/", "/v1/models", "/readyz", "/openapi.json"):
            self.assertEqual(200, self.ask(self.instance.port, target).status, target)

    def test_a_problem_names_a_page_that_is_there(self):
        for name, port in self.everywhere():
            for method, target, body, status in (
                    ("GET", "/v1/models/nobody", None, 404), ("GET", "/nothing", None, 404),
                    ("DELETE", "/v1/models", None, 405), ("GET", "/v1/predict/shapes", None, 405),
                    ("POST", "/v1/predict/shapes", b"text", 415), ("TRACE", "/v1/models", None, 405),
                    ("POST", "/v1/predict/shapes", bytes((1 << 20) + 1), 413),
                    ("POST", "/v1/models", bytes(70_000), 413), ("GET", "/v1/models?" + "x" * 9_000, None, 414)):
                if name != "itself" and (method == "TRACE" or status == 414):
                    continue  # which the front nginx answers
                with self.subTest(name, target=target[:40], method=method):
                    answer = self.ask(port, BASE + target, method, body)
                    self.assertEqual(status, answer.status)
                    problem = answer.json()
                    self.assertEqual(f"{BASE}/docs/errors#{problem['code']}", problem["type"])
                    page, _, anchor = problem["type"].partition("#")
                    self.assertIn(f'id="{anchor}"', self.ask(port, page).body.decode())
                    if status == 405:
                        self.assertEqual("POST" if "predict" in target else "GET, HEAD", answer.header("Allow"))

    def test_a_problem_of_a_batch_names_it_too(self):
        form, kind = multipart([("images", FACE), ("images", b"text")])
        answer = self.ask(self.instance.port, f"{BASE}/v1/predict/faces_cascade/batch", "POST", form,
                          {"Content-Type": kind})
        self.assertEqual(f"{BASE}/docs/errors#unsupported-media", answer.json()["results"][1]["problem"]["type"])

    def test_the_links_of_the_pages_stay_below_it(self):
        for name, port in self.everywhere():
            seen, left = set(), [f"{BASE}/", f"{BASE}/docs", f"{BASE}/docs/errors"]
            while left:
                target = left.pop()
                if target in seen:
                    continue
                seen.add(target)
                answer = self.ask(port, target)
                with self.subTest(name, target=target):
                    self.assertEqual(200, answer.status)
                    self.assertTrue(target.startswith(BASE + "/"))
                if (answer.header("Content-Type") or "").startswith("text/html"):
                    links = re.findall(r'(?:href|src)="([^"#]+)', answer.body.decode())
                    left += [urlsplit(urljoin(target, link)).path for link in links if "://" not in link]
            self.assertGreater(len(seen), 6)

    def test_redirects_stay_below_it(self):
        for name, port in self.everywhere():
            with self.subTest(name):
                answer = self.ask(port, f"{BASE}/docs/")
                self.assertEqual((308, f"{BASE}/docs"), (answer.status, answer.header("Location")))
        for target, location in ((BASE, f"{BASE}/"), (BASE + "?a=b", f"{BASE}/?a=b")):
            answer = self.ask(self.instance.port, target)
            self.assertEqual((308, location), (answer.status, answer.header("Location")))
        address = f"https://127.0.0.1:{self.instance.port}{BASE}"
        for target, location in ((f"{BASE}/v1/models?a=b", "/v1/models?a=b"), ("/v1/models?a=b", "/v1/models?a=b"),
                                 (BASE, "/"), (f"{BASE}?a=b", "/?a=b")):
            answer = self.instance.http("GET", target)
            self.assertEqual((308, address + location), (answer.status, answer.header("Location")))
        self.assertEqual(200, self.instance.http("GET", f"{BASE}/livez").status)

    def test_the_openapi_document_names_it(self):
        for name, port in self.everywhere():
            for coding in ("gzip", "identity"):
                with self.subTest(name, coding=coding):
                    answer = self.ask(port, f"{BASE}/openapi.json", headers={"Accept-Encoding": coding})
                    self.assertEqual((200, "application/json"), (answer.status, answer.header("Content-Type")))
                    again = self.ask(port, f"{BASE}/openapi.json",
                                     headers={"Accept-Encoding": coding, "If-None-Match": answer.header("ETag")})
                    self.assertEqual(304, again.status)
            document = self.ask(port, f"{BASE}/openapi.json").json()
            self.assertEqual([BASE], [server["url"] for server in document["servers"]])
            self.assertEqual(200, self.ask(port, document["servers"][0]["url"] + "/v1/models").status)

    def test_what_only_begins_like_it_is_nothing(self):
        for target in (f"{BASE}x/v1/models", "/vision.2/v1/models", "/vision.2", f"{BASE}{BASE}/v1/models",
                       BASE.replace(".", "x") + "/v1/models", "/%76ision.2/pool/v1/models"):
            with self.subTest(target):
                self.assertEqual(404, self.ask(self.instance.port, target).status)


class WithoutBasePathTest(unittest.TestCase):
    def test_the_document_is_the_file(self):
        nginx = NginxAlone({})
        self.addCleanup(nginx.stop)
        connection = http.client.HTTPSConnection("localhost", nginx.port, context=harness.tls_context())
        answer = http_client.request(connection, "GET", "/openapi.json")
        self.assertEqual(["/"], [server["url"] for server in json.loads(answer.body)["servers"]])


if __name__ == "__main__":
    unittest.main()

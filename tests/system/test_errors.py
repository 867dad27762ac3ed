"""Every error that a client can get: its status, its problem+json, its headers."""

import concurrent.futures
import json
import os
import random
import signal
import socket
import unittest
from pathlib import Path

import http_client
import pictures
import processes
from harness import EnduringTest, SystemTest, tls_context
from http_client import multipart
from pictures import ASTRONAUT
from processes import eventually

MIB = 1024 * 1024
# One pixel.
GIF = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\4\0\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"


class ErrorsTest(EnduringTest):
    SETTINGS = {**EnduringTest.SETTINGS, "nginx.pages": "none"}  # there is nothing at /

    # ------------------------------------------------------------ 400

    def test_400_when_there_is_no_image(self):
        other_field = multipart([("picture", ASTRONAUT)])
        empty_field = multipart([("image", b"")])
        whole, _ = multipart([("image", ASTRONAUT)], "edge")
        for name, body, content_type in (
                ("empty body", b"", "image/jpeg"),
                ("empty body without type", b"", ""),
                ("empty form", b"", "multipart/form-data; boundary=edge"),
                ("form of nothing", b"--edge--\r\n", "multipart/form-data; boundary=edge"),
                ("form without the field", *other_field),
                ("form with an empty field", *empty_field),
                ("field in a file name", *multipart([("x\"; filename=\"image", ASTRONAUT)])),
                ("two pictures", *multipart([("image", ASTRONAUT), ("image", ASTRONAUT)])),
                ("no boundary", whole, "multipart/form-data"),
                ("empty boundary", whole, "multipart/form-data; boundary="),
                ("quote without end", whole, 'multipart/form-data; boundary="edge'),
                ("boundary too long", multipart([("image", ASTRONAUT)], "e" * 71)[0],
                 "multipart/form-data; boundary=" + "e" * 71),
                ("another boundary", whole, "multipart/form-data; boundary=border"),
                ("cut in the picture", whole[:40_000], "multipart/form-data; boundary=edge"),
                ("cut in the headers", whole[:30], "multipart/form-data; boundary=edge"),
                ("cut before the last boundary", whole[:-12], "multipart/form-data; boundary=edge"),
                ("headers without end", b"--edge\r\nX: " + b"x" * 100_000 + b"\r\n\r\n1\r\n--edge--",
                 "multipart/form-data; boundary=edge")):
            with self.subTest(name):
                self.assert_problem(self.send(body, content_type), 400, "bad-request")

    def test_400_names_the_bad_parameter_and_what_is_allowed(self):
        for query, parameter, allowed in (
                ("confidence=1.01", "confidence", "0 to 1"),
                ("confidence=-0.1", "confidence", "0 to 1"),
                ("confidence=", "confidence", "0 to 1"),
                ("confidence", "confidence", "0 to 1"),
                ("confidence=nan", "confidence", "0 to 1"),
                ("confidence=inf", "confidence", "0 to 1"),
                ("confidence=1e999", "confidence", "0 to 1"),
                ("confidence=0,5", "confidence", "0 to 1"),
                ("confidence=0.5x", "confidence", "0 to 1"),
                ("confidence=%00", "confidence", "0 to 1"),
                ("confidence=%ff%fe", "confidence", "0 to 1"),
                ("iou=2", "iou", "0 to 1"),
                ("iou=half", "iou", "0 to 1"),
                ("max_detections=0", "max_detections", "1 to 300"),
                ("max_detections=-1", "max_detections", "1 to 300"),
                ("max_detections=301", "max_detections", "1 to 300"),
                ("max_detections=1.5", "max_detections", "1 to 300"),
                ("max_detections=99999999999999999999", "max_detections", "1 to 300"),
                ("coordinates=polar", "coordinates", "normalized"),
                ("coordinates=", "coordinates", "normalized"),
                ("confidence=0.5&confidence=0.5", "confidence", ""),
                ("iou=0.5&con%66idence=0.5&confidence=0.6", "confidence", ""),
                ("conf=0.5", "conf", "confidence, iou"),
                ("Confidence=0.5", "Confidence", "confidence, iou"),
                ("=1", "", ""),
                ("a=1;b=2", "a", "confidence, iou"),
                ("x" * 3000 + "=1", "x" * 3000, "confidence, iou"),
                ("%22%5c%0a=1", "\"\\\n", "confidence, iou")):
            with self.subTest(query[:40]):
                answer = self.post(f"/v1/predict/faces_cascade?{query}")
                problem = self.assert_problem(answer, 400, "bad-parameter")
                self.assertEqual(parameter, problem.get("parameter", ""))
                self.assertIn(allowed, problem["detail"])

    def test_400_when_nginx_cannot_understand_the_request(self):
        for name, data in (
                ("no HTTP", b"what is in this picture?\r\n\r\n"),
                ("no host", b"GET /v1/models HTTP/1.1\r\n\r\n"),
                ("a length that is no number",
                 b"POST /v1/predict/faces_cascade HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n"),
                ("a negative length",
                 b"POST /v1/predict/faces_cascade HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n"),
                ("two lengths", b"POST /v1/predict/faces_cascade HTTP/1.1\r\nHost: localhost\r\n"
                 b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
                ("a chunk that is none", b"POST /v1/predict/faces_cascade HTTP/1.1\r\nHost: localhost\r\n"
                 b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
                ("NUL in the address", b"GET /v1/mod\0els HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                ("encoded NUL in the address", b"GET /v1/models%00 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                ("NUL in a header", b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nA: b\0c\r\n\r\n"),
                ("out of the root", b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n")):
            with self.subTest(name):
                self.assert_problem(self.instance.raw(data), 400)

    def test_431_when_the_head_is_too_large(self):
        for name, lines in (
                ("a cookie", [b"Cookie: session=" + b"x" * 9000]),
                ("many cookies", [b"Cookie: %d=%s" % (i, b"x" * 4000) for i in range(20)]),
                ("a key", [b"Authorization: Bearer " + b"x" * 60_000]),
                ("a long name", [b"X" * 33_000 + b": y"]),
                ("many headers", [b"X-%d: %s" % (i, b"y" * 1000) for i in range(140)])):
            for method, target in (("GET", "/v1/models"), ("POST", "/v1/predict/faces_cascade"), ("GET", "/livez"),
                                   ("GET", "/v2/models/faces_cascade")):
                with self.subTest(name, target=target):
                    answer = self.instance.raw(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n".encode()
                                               + b"\r\n".join(lines) + b"\r\n\r\n")
                    problem = self.assert_problem(answer, 431, "head-too-large")
                    self.assertIn("8 KB", problem["detail"])
        # What fits is none of our business.
        cookie = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"x" * 8000 + b"\r\n\r\n"
        self.assertEqual(200, self.instance.raw(cookie).status)

    def test_431_over_http2_too(self):
        context = tls_context(("h2",))
        for size, status in ((8000, 200), (8100, 200), (9000, 431), (16_000, 431)):
            with self.subTest(size):
                answer = http_client.http2_get(self.instance.port, context, "/v1/models",
                                               headers=[(b"cookie", b"x" * size)])
                self.assertEqual(status == 200, answer[0])
                if status != 200:
                    self.assertEqual((431, "head-too-large"),
                                     (json.loads(answer[1])["status"], json.loads(answer[1])["code"]))

    # ------------------------------------------------------------ 404, 405

    def test_404_for_an_unknown_model(self):
        for model in ("nobody", "Faces_cascade", "faces_cascade%20", "faces_cascade%2f1", "%ff", "..%2ffaces_cascade",
                      "x" * 128, "x" * 1000, "faces_cascade:1", "a+b", "%E2%98%BA"):
            with self.subTest(model[:20]):
                self.assert_problem(self.post(f"/v1/predict/{model}"), 404, "unknown-model")
                self.assert_problem(self.instance.request("GET", f"/v1/models/{model}"), 404,
                                    "unknown-model")
        for model in ("%00", "f%00aces", "faces_cascade%00"):  # which nginx does not let pass
            with self.subTest(model, by="FastCGI"):
                answer = self.instance.fastcgi(ASTRONAUT, uri=f"/v1/predict/{model}")
                self.assert_problem(answer, 404, "unknown-model")

    def test_404_for_an_unknown_route(self):
        for target in ("/", "/v1", "/v1/", "/v1/predict", "/v1/predict/", "/predict/", "/v1/models/",
                       "/v1/predict/faces_cascade/1", "/v1/models/faces_cascade/1", "/V1/models",
                       "/favicon.ico", "/_problem",
                       "/livez/", "/metrics/x", "/%22%5c", "/%ff", "/?", "/v1/models%3f"):
            with self.subTest(target):
                self.assert_problem(self.instance.request("GET", target), 404, "unknown-route")

    def test_405_says_what_is_allowed(self):
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"):
            with self.subTest(method):
                answer = self.instance.request(method, "/v1/predict/faces_cascade")
                self.assertEqual("POST", answer.header("Allow"))
                if method == "HEAD":
                    self.assertEqual((405, b""), (answer.status, answer.body))
                else:
                    self.assert_problem(answer, 405, "method-not-allowed")
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"):
            for target in ("/v1/models", "/v1/models/faces_cascade"):
                with self.subTest(method, target=target):
                    answer = self.instance.request(method, target, b"")
                    self.assert_problem(answer, 405, "method-not-allowed")
                    self.assertEqual("GET, HEAD", answer.header("Allow"))

    def test_405_of_nginx_itself_says_what_is_allowed(self):
        answer = self.instance.raw(b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assert_problem(answer, 400)
        for method in ("TRACE", "CONNECT"):
            for target in ("/v1/models", "/v1/models/faces_cascade?a=b", "/v1/predict/faces_cascade",
                           "/predict/faces_cascade?iou=1",
                           "/v1/predict/faces_cascade/batch", "/v2", "/v2/health/ready", "/v2/models/faces_cascade",
                           "/v2/models/faces_cascade/versions/1/config", "/v2/models/faces_cascade/infer",
                           "/v2/models/faces_cascade/versions/1/infer?a=b", "/v2/repository/index", "/livez",
                           "/readyz"):
                with self.subTest(method, target=target):
                    answer = self.instance.raw(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                    self.assert_problem(answer, 405, "method-not-allowed")
                    others = self.instance.request("DELETE", target)  # which nginx leaves to who answers there
                    self.assertEqual((405, others.header("Allow")), (others.status, answer.header("Allow")))

    # ------------------------------------------------------------ 411, 413

    def test_411_without_a_length(self):
        raw = b"POST /v1/predict/faces_cascade HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n\r\n"
        self.assert_problem(self.instance.raw(raw), 411, "length-required")
        for length in (None, ""):
            answer = self.instance.fastcgi(ASTRONAUT, content_length=length)
            self.assert_problem(answer, 411, "length-required")

    def test_413_is_said_before_the_body_is_read(self):
        head = (b"POST /v1/predict/faces_cascade HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
                b"Content-Length: %d\r\n%s\r\n")
        for length in (MIB + 1, 100 * MIB, 2 ** 62):
            for expect in (b"", b"Expect: 100-continue\r\n"):
                with self.subTest(length=length, expect=expect):
                    answer = self.instance.raw(head % (length, expect))  # and no byte of a body
                    problem = self.assert_problem(answer, 413, "body-too-large")
                    self.assertIn("1 MB", problem["detail"])

    def test_413_for_a_body_that_was_sent(self):
        answer = self.instance.raw(
            b"POST /v1/predict/faces_cascade HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"10000\r\n" + bytes(0x10000) + b"\r\n" + b"200000\r\n" + bytes(0x200000) + b"\r\n0\r\n\r\n")
        self.assert_problem(answer, 413, "body-too-large")

    def test_413_of_a_worker_itself(self):
        for length in (MIB + 1, 2 ** 31, 2 ** 62, 2 ** 64, 10 ** 40):
            with self.subTest(length=length):
                answer = self.instance.fastcgi(b"", content_length=length)
                self.assert_problem(answer, 413, "body-too-large")
        answer = self.instance.fastcgi(bytes(MIB + 1))  # all of it was on its way
        self.assert_problem(answer, 413, "body-too-large")

    def test_a_body_of_exactly_the_limit_is_read(self):
        padded = ASTRONAUT + bytes(MIB - len(ASTRONAUT))
        self.assertIn(self.send(padded).status, (200, 422))  # nothing about its size
        self.assert_problem(self.send(padded + b"\0"), 413)

    # ------------------------------------------------------------ 415, 422

    def test_415_for_what_is_no_picture_that_we_decode(self):
        image = pictures.astronaut().resize((64, 64))
        rng = random.Random(1)
        for name, body in (
                ("text", b"what is in this picture?"),
                ("one byte", b"\xff"),
                ("NULs", bytes(10_000)),
                ("random bytes", b"\1" + rng.randbytes(10_000)),
                ("BMP", pictures.encode(image, "BMP")),
                ("TIFF", pictures.encode(image, "TIFF")),
                ("PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n"),
                ("SVG", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
                ("ICO", pictures.encode(image, "ICO")),
                ("a program", Path("/bin/true").read_bytes())):
            for content_type in ("application/octet-stream", "image/jpeg"):
                with self.subTest(name, content_type=content_type):
                    self.assert_problem(self.send(body, content_type), 415, "unsupported-media")
            with self.subTest(name, content_type="form"):
                self.assert_problem(self.send(*multipart([("image", body)])), 415, "unsupported-media")

    def test_415_for_a_wrong_content_type(self):
        for content_type in ("text/plain", "application/ld+json", "application/x-www-form-urlencoded",
                             "multipart/mixed; boundary=x", "video/mp4", "nonsense", "image", "/"):
            with self.subTest(content_type):
                self.assert_problem(self.send(ASTRONAUT, content_type), 415, "unsupported-media")

    def test_422_for_a_damaged_picture(self):
        image = pictures.astronaut()
        png, webp = pictures.encode(image, "PNG"), pictures.encode(image, "WEBP", quality=90)
        gif = pictures.encode(image.quantize(64), "GIF")
        self.assertLess(len(png), MIB)
        for kind, whole in (("JPEG", ASTRONAUT), ("PNG", png), ("WebP", webp), ("GIF", gif)):
            for share in (0.02, 0.3, 0.7, 0.99):
                with self.subTest(kind, kept=share):
                    answer = self.send(whole[:int(len(whole) * share)])
                    self.assert_problem(answer, 422, "bad-picture")
        damaged = bytearray(png)
        damaged[len(png) // 2] ^= 0xff  # a checksum does not fit any more
        for name, body in (
                ("JPEG's magic alone", b"\xff\xd8\xff"),
                ("PNG's magic alone", b"\x89PNG\r\n\x1a\n"),
                ("no pixels", pictures.png_header_only(0, 10)),
                ("PNG with a flipped byte", bytes(damaged)),
                ("JPEG without pixels", pictures.jpeg_header_only(640, 480)),
                ("JPEG with a hole", ASTRONAUT[:20_000] + bytes(20_000) + ASTRONAUT[40_000:])):
            with self.subTest(name):
                self.assert_problem(self.send(body), 422, "bad-picture")

    def test_422_for_too_many_pixels_costs_neither_time_nor_memory(self):
        before = {pid: processes.peak_memory_kib(pid) for pid in self.pids}
        for name, body in (("PNG", pictures.png_header_only(30_000, 30_000)),
                           ("PNG of most pixels", pictures.png_header_only(2 ** 31 - 1, 2 ** 31 - 1)),
                           ("JPEG", pictures.jpeg_header_only(65_000, 65_000)),
                           ("WebP", pictures.webp_header_only(16_383, 16_383)),
                           ("GIF", GIF[:6] + b"\xff" * 4 + GIF[10:])):
            for times in range(10):
                with self.subTest(name, times=times):
                    self.assertLess(len(body), 150)
                    self.assert_problem(self.send(body), 422, "bad-picture")
        # A picture of 30,000 x 30,000 would take 2.7 GB.
        for pid, peak in before.items():
            self.assertLess(processes.peak_memory_kib(pid) - peak, 64 * 1024)

    def test_422_for_a_header_that_lies_costs_no_memory(self):
        """Within limits.pixels, but no such picture fits into so few bytes."""
        before = {pid: processes.peak_memory_kib(pid) for pid in self.pids}
        for name, body in (("PNG", pictures.png_header_only(7_000, 7_000)),
                           ("JPEG", pictures.jpeg_header_only(7_000, 7_000))):
            with self.subTest(name):
                self.assert_problem(self.send(body), 422, "bad-picture")
        for pid, peak in before.items():
            self.assertLess(processes.peak_memory_kib(pid) - peak, 64 * 1024)

    # ------------------------------------------------------------ which error comes first

    def test_every_error_is_counted_under_its_status(self):
        before = self.instance.metrics()
        self.post("/v1/predict/faces_cascade?iou=2")
        self.post("/v1/predict/nobody")
        self.instance.request("GET", "/v1/predict/faces_cascade")
        self.instance.fastcgi(b"", content_length=None)
        self.instance.fastcgi(b"", content_length=MIB + 1)
        self.send(b"text")
        self.send(ASTRONAUT[:1000])
        after = self.instance.metrics()
        for status in ("400", "404", "405", "411", "413", "415", "422"):
            with self.subTest(status):
                self.assertEqual(1, after.value("inferpool_requests_total", status=status)
                                 - before.value("inferpool_requests_total", status=status))


class RateTest(SystemTest):
    SETTINGS = {"workers": 1, "threads": 2, "nginx.rate_per_s": 1, "nginx.burst": 2}

    def test_429_for_more_than_the_rate_and_the_burst(self):
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: self.instance.request("GET", "/v1/models"), range(12)))
        self.assertEqual({200, 429}, {answer.status for answer in answers})
        for answer in answers:
            if answer.status == 429:
                self.assert_problem(answer, 429, "too-many-requests")
        # Probes are not counted, and patience helps.
        for _ in range(10):
            self.assertEqual(200, self.instance.request("GET", "/readyz").status)
        eventually(lambda: self.instance.request("GET", "/v1/models").status == 200, "a 200 again",
                   pause_s=2)


class AwayTest(SystemTest):
    def test_503_with_retry_after_while_no_model_server_is_there(self):
        instance = self.start({"modelserver.enabled": False,
                               "backend.targets": ["unix:/nowhere/modelserver.sock"]},
                              self.addCleanup, wait_ready=False)
        instance.wait_workers()
        for name, answer in (
                ("predict", instance.predict("faces_cascade", ASTRONAUT)),
                ("models", instance.request("GET", "/v1/models")),
                ("model", instance.request("GET", "/v1/models/faces_cascade"))):
            with self.subTest(name):
                self.assert_problem(answer, 503, "model-server-away")
                self.assertLess(answer.seconds, 10)
        # What is wrong with the request itself is said all the same.
        self.assert_problem(instance.predict("faces_cascade", b"text"), 415)
        self.assert_problem(instance.predict("faces_cascade", ASTRONAUT, "iou=2"), 400)

    def test_503_while_no_worker_can_be_reached(self):
        instance = self.start({"workers": 1}, self.addCleanup)
        instance.serve.terminate()
        self.assertEqual(0, instance.serve.wait(60))
        for target in ("/v1/models", "/readyz", "/livez"):
            with self.subTest(target):
                self.assert_problem(instance.request("GET", target), 503, "overloaded")
        self.assert_problem(instance.predict("faces_cascade", ASTRONAUT), 503, "overloaded")
        for target in ("/v2", "/v2/models/faces_cascade?a=b"):
            problem = self.assert_problem(instance.request("GET", target), 503, "overloaded")
            self.assertEqual(problem["detail"], problem["error"])

    def test_503_when_more_requests_wait_than_may(self):
        instance = self.start({"workers": 1, "threads": 1, "listen.backlog": 1}, self.addCleanup)
        self.assert_good(instance.predict("faces_cascade", ASTRONAUT))
        frozen = instance.stop_modelserver()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            pending = [pool.submit(instance.predict, "faces_cascade", ASTRONAUT) for _ in range(8)]
            try:
                # The worker has one in hand and the backlog holds one or two.
                eventually(lambda: sum(request.done() for request in pending) >= 4, "some are refused")
                for request in pending:
                    if request.done():
                        self.assert_problem(request.result(), 503, "overloaded")
                self.assertTrue(any(not request.done() for request in pending))
            finally:
                os.kill(frozen, signal.SIGCONT)
            answers = [request.result() for request in pending]
        self.assertEqual({200, 503}, {answer.status for answer in answers})
        self.assert_good(instance.predict("faces_cascade", ASTRONAUT))


class SlowTest(SystemTest):
    """One worker, so that its connection is known to be there when the model server freezes."""

    SETTINGS = {"workers": 1, "threads": 8, "timeouts.request_s": 3}

    def eventually_good(self, picture):
        """The detections. A busy machine may need more than one request's time."""
        answer = eventually(
            lambda: answer if (answer := self.instance.predict("faces_cascade", picture)).status == 200 else None,
            "a 200")
        return answer.detections

    def assert_504_and_recovery(self, picture):
        instance = self.instance
        expected = self.eventually_good(picture)
        pids = instance.wait_workers()
        frozen = instance.stop_modelserver()
        try:
            with concurrent.futures.ThreadPoolExecutor(5) as pool:
                answers = list(pool.map(lambda _: instance.predict("faces_cascade", picture), range(5)))
            for answer in answers:
                self.assert_problem(answer, 504, "model-too-slow")
                self.assertGreaterEqual(answer.seconds, 2.9)
            # The time is up for the threads too, whether or not the model server ever comes back.
            instance.wait_in_work(0)
        finally:
            os.kill(frozen, signal.SIGCONT)
        self.assertEqual(expected, self.eventually_good(picture))
        self.assertEqual(pids, instance.workers())
        self.assertEqual(frozen, instance.modelserver())

    def test_504_when_the_model_is_too_slow_and_200_when_it_is_back(self):
        face = pictures.astronaut().crop((120, 20, 330, 230)).resize((96, 96))
        self.assert_504_and_recovery(pictures.encode(face, "PNG"))

    def test_504_also_when_the_model_server_does_not_even_take_the_picture(self):
        """Far more pixels than a socket's buffers hold: the request cannot be sent to its end."""
        self.assert_504_and_recovery(pictures.encode(pictures.astronaut().resize((1024, 1024)), "JPEG"))


if __name__ == "__main__":
    unittest.main()

"""inferpool.js in Chromium and Node.js and inferpool.py, against a real pool behind a proxy that delays,
cuts connections and refuses: each call ends in the right answer or the right error, within its time."""

import concurrent.futures
import email.utils
import json
import socket
import subprocess
import threading
import time
import unittest
import urllib.parse

import pictures
from bad_proxy import BadProxy, problem
from client_programs import MODEL, ClientTest, InChromium, InNode, InPython, encoded, found, inferpool
from harness import free_ports
from pictures import ASTRONAUT
from processes import eventually

SLACK_S = 15  # a busy machine's, on top of what a call may take; what hangs does so for 40 s
OVERLOADED = problem("overloaded", 503)


class Cases:
    """What holds for all of them."""

    # ------------------------------------------------------------ what can be asked

    def test_every_call_has_its_answer(self):
        told = self.call(confidence=0.3)
        self.assertNotIn("error", told)
        self.assertEqual(f"/v1/predict/{MODEL}?confidence=0.3", self.proxy.requests[0].path)
        self.assertEqual(ASTRONAUT, self.proxy.requests[0].body)
        self.assertEqual(self.expected, found(told["value"]))

        batch = self.call("batch", MODEL, [encoded(ASTRONAUT), encoded(ASTRONAUT[:20_000])])["value"]
        self.assertEqual([200, 422], [one["status"] for one in batch["results"]])
        self.assertEqual(self.expected, found(batch["results"][0]))
        self.assertEqual("bad-picture", batch["results"][1]["problem"]["code"])

        models = self.call("models")["value"]
        self.assertEqual(["faces_cascade", "people", "shapes"], [one["name"] for one in models])
        self.assertEqual(320, self.call("model", "shapes")["value"]["useful_side"])
        self.assertEqual(self.instance.request("GET", "/v1/limits").json(), self.call("limits")["value"])

        drawn = self.call(render="jpeg")["value"]
        self.assertGreater(drawn["bytes"], 10_000)

    def test_several_models_are_asked_in_one_call(self):
        self.proxy.reset(("cut answer",))
        told = self.call("analyze", encoded(ASTRONAUT), models=["faces_cascade", "shapes", "nobody"])
        self.assertEqual(2, len(self.proxy.requests))
        for request in self.proxy.requests:
            self.assertEqual("/v1/analyze?models=faces_cascade%2Cshapes%2Cnobody", request.path)
            self.assertEqual(ASTRONAUT, request.body)
        results = told["value"]["results"]
        self.assertEqual({"faces_cascade": 200, "shapes": 200, "nobody": 404},
                         {name: part["status"] for name, part in results.items()})
        self.assertEqual(self.expected[2], results["faces_cascade"]["detections"])

    def test_parameters_of_every_kind_go_into_the_query(self):
        self.proxy.reset(("answer", 200, {"Content-Type": "application/json"}, b"{}"))
        self.call("predict", "yolo@4", encoded(ASTRONAUT), confidence={"person": 0.6}, classes=["car", "traffic light"],
                  roi=[1, 2, 30, 40], class_agnostic=True, iou=None)
        path, query = self.proxy.requests[0].path.split("?")
        self.assertEqual("/v1/predict/yolo%404", path)
        self.assertEqual({"confidence.person": "0.6", "classes": "car,traffic light", "roi": "1,2,30,40",
                          "class_agnostic": "true"}, dict(urllib.parse.parse_qsl(query)))

    def test_what_the_call_says_is_in_the_headers(self):
        self.call(client={"key": "secret", "headers": {"X-Shop": "7"}}, priority="low", request_id="abc")
        sent = self.proxy.requests[0].headers
        self.assertEqual(("Bearer secret", "7", "low", "abc"),
                         tuple(sent[name] for name in ("authorization", "x-shop", "x-priority", "x-request-id")))
        self.assertGreater(int(sent["x-timeout-ms"]), 50_000)
        self.assertLessEqual(int(sent["x-timeout-ms"]), 60_000)

    def test_a_path_before_the_server_is_kept(self):
        self.proxy.paths = ("/vision/",)
        self.addCleanup(setattr, self.proxy, "paths", BadProxy.PATHS)
        for url in ("/vision", "/vision/"):
            self.proxy.reset(("answer", 200, {"Content-Type": "application/json"}, b'{"models":[]}'))
            self.assertEqual([], self.call("models", url=self.proxy.url + url).get("value"))
            self.assertEqual("/vision/v1/models", self.proxy.requests[0].path)

    def test_progress_is_told(self):
        large = pictures.encode(pictures.astronaut().resize((1500, 1500)), "PNG", compress_level=1)
        self.assertGreater(len(large), 1_000_000)
        told = self.call("predict", MODEL, encoded(large), progress=True,
                         **({"original": True} if self.runner.is_browser else {}))
        self.assertNotIn("error", told)
        self.assertEqual(large, self.proxy.requests[0].body)
        sent = [one for one, _ in told["progress"]]
        self.assertEqual(sorted(sent), sent)
        self.assertEqual(len(large), sent[-1])
        self.assertEqual({len(large)}, {total for _, total in told["progress"]})
        # With it, a call is tried again as without.
        self.proxy.reset(("cut",), ("answer", 503, {}, OVERLOADED))
        self.assert_right(self.call(progress=True), sent=3)

    def test_what_the_progress_raises_ends_the_call(self):
        told = self.call(progress="raise")
        self.assertEqual((False, "enough"), (told["error"]["is_ours"], told["error"]["message"]))
        self.assertLessEqual(len(self.proxy.requests), 1)

    # ------------------------------------------------------------ what passes

    def test_what_passes_is_tried_again(self):
        html = {"Content-Type": "text/html"}
        for faults in ([("answer", 429, {}, problem("too-many-requests", 429))],
                       [("answer", 503, {}, OVERLOADED), ("answer", 504, {}, problem("model-too-slow", 504))],
                       [("answer", 502, html, b"<html>Bad Gateway</html>")], [("answer", 504, html, b"")],
                       [("cut",)], [("cut upload",)], [("cut answer",)], [("cut answer",), ("cut",), ("cut upload",)]):
            with self.subTest(faults):
                self.proxy.reset(*faults)
                self.assert_right(self.call(), sent=1 + len(faults))

    def test_retry_after_is_waited_for(self):
        date = email.utils.formatdate(time.time() + 3600 + 2, usegmt=True)
        its_clock = {"Retry-After": date, "Date": email.utils.formatdate(time.time() + 3600, usegmt=True)}
        for headers, at_least in (({"Retry-After": "1"}, 1), (its_clock, 1.9), ({"Retry-After": "soon"}, 0),
                                  ({"Retry-After": "Wed, 21 Oct 99999999999 07:28:00 GMT"}, 0)):
            with self.subTest(headers):
                self.proxy.reset(("answer", 429, headers, problem("too-many-requests", 429)))
                told = self.call()
                self.assert_right(told, sent=2)
                first, second = (request.time for request in self.proxy.requests)
                self.assertGreaterEqual(second - first, at_least)
                self.assertLess(second - first, 1.25 * at_least + SLACK_S)

    def test_the_attempts_end(self):
        for attempts in (1, 3):
            self.proxy.reset(always=("answer", 503, {}, OVERLOADED))
            told = self.call(attempts=attempts)
            self.assert_error(told, "ProblemError", "overloaded", sent=attempts, status=503, attempts=attempts,
                              request_id="proxy")
        self.proxy.reset(always=("cut",))
        told = self.call(client={"attempts": 2})
        self.assert_error(told, "ConnectionFailedError", "connection-failed", sent=2, status=0, attempts=2)

    def test_a_wait_that_is_longer_than_the_budget_is_not_begun(self):
        for retry_after, options in (("3600", {}), ("3", {"budget_ms": 1000}), ("60", {"budget_ms": 90_000})):
            with self.subTest(retry_after, **options):
                self.proxy.reset(always=("answer", 503, {"Retry-After": retry_after}, OVERLOADED))
                told = self.call(**options)
                self.assert_error(told, "ProblemError", "overloaded", sent=1, retry_after_ms=1000 * int(retry_after))

    def test_nobody_listens(self):
        told = self.call(url=f"http://localhost:{free_ports(1)[0]}", attempts=2)
        self.assert_error(told, "ConnectionFailedError", "connection-failed", sent=0, attempts=2)

    # ------------------------------------------------------------ what does not pass

    def test_what_does_not_pass_is_not_tried_again(self):
        told = self.call(confidence=2)
        error = self.assert_error(told, "ProblemError", "bad-parameter", sent=1, status=400, attempts=1,
                                  parameter="confidence")
        self.assertIn("allowed is a number from 0 to 1", error["detail"])
        told = self.call("predict", "nobody", encoded(ASTRONAUT))
        self.assert_error(told, "ProblemError", "unknown-model", sent=2, status=404)
        self.proxy.reset(("answer", 200, {"Content-Type": "text/html"}, b"<html>Sign in</html>"))
        self.assert_error(self.call(), "UnexpectedAnswerError", "unexpected-answer", sent=1, status=200)

    def test_an_answer_that_is_not_of_this_api(self):
        for body in (b"{}", b'{"models": 1, "results": {}}', b"[]", b"[" * 100_000):
            for call, *given in (("models",), ("batch", MODEL, [encoded(ASTRONAUT)])):
                with self.subTest(call, body=body[:40]):
                    self.proxy.reset(("answer", 200, {"Content-Type": "application/json"}, body))
                    self.assert_error(self.call(call, *given), "UnexpectedAnswerError", "unexpected-answer", sent=1,
                                      status=200)

    def test_a_problem_says_no_more_than_it_may(self):
        body = {"code": "overloaded", "title": 7, "request_id": 7, "parameter": [7], "status": 200, "name": "n",
                "message": "m", "stack": "s", "attempts": 9, "retry_after_ms": "abc", "retry_after_s": "abc"}
        self.proxy.reset(always=("answer", 503, {}, json.dumps(body).encode()))
        error = self.assert_error(self.call(attempts=2), "ProblemError", "overloaded", sent=2, status=503, attempts=2,
                                  retry_after_ms=0, title="overloaded", message="overloaded")
        self.assertNotIn(7, (error["request_id"], error.get("parameter")))
        first, second = (request.time for request in self.proxy.requests)
        self.assertGreater(second - first, 0.1)

    def test_a_redirect_is_not_followed(self):
        for status in (301, 302, 307):
            for progress in (False, True):
                with self.subTest(status, progress=progress):
                    self.proxy.reset(("answer", status, {"Location": "/v1/models"}, b""))
                    is_blind = self.runner.is_browser and progress  # XMLHttpRequest follows
                    error = self.assert_error(self.call(progress=progress), "UnexpectedAnswerError",
                                              "unexpected-answer", sent=2 if is_blind else 1,
                                              status=0 if self.runner.is_browser else status)
                    self.assertIn("the server's own address", error["detail"])

    # ------------------------------------------------------------ deadlines and cancelling

    def test_a_time_without_end_is_a_long_one(self):
        self.assert_right(self.call(timeout_ms=1e15), sent=1)
        self.assertGreater(int(self.proxy.requests[0].headers["x-timeout-ms"]), 9e8)
        self.assertLessEqual(int(self.proxy.requests[0].headers["x-timeout-ms"]), 1e9)

    def test_a_call_ends_with_its_time(self):
        for fault in (("delay", 40), ("drip",)):
            with self.subTest(fault):
                self.proxy.reset(always=fault)
                told = self.call(timeout_ms=5000)
                self.assert_error(told, "DeadlineError", "deadline-exceeded", sent=1, attempts=1)
                self.assertGreaterEqual(told["seconds"], 4.9)
                self.assertLess(told["seconds"], 5 + SLACK_S)
                request = self.proxy.requests[0]
                eventually(lambda: request.left, "the connection is closed")
                timeout = int(request.headers["x-timeout-ms"])
                self.assertTrue(0 < timeout <= 5000, timeout)

    def test_the_time_is_that_of_all_attempts(self):
        self.proxy.reset(("answer", 503, {"Retry-After": "1"}, OVERLOADED), always=("delay", 40))
        told = self.call(timeout_ms=8000)
        self.assert_error(told, "DeadlineError", "deadline-exceeded", sent=2, attempts=2)
        self.assertLess(told["seconds"], 8 + SLACK_S)
        first, second = (int(request.headers["x-timeout-ms"]) for request in self.proxy.requests)
        self.assertGreaterEqual(first - second, 1000)

    def test_a_cancelled_call_stops(self):
        for fault in (("delay", 40), ("drip",), ("answer", 503, {"Retry-After": "8"}, OVERLOADED)):
            with self.subTest(fault):
                self.proxy.reset(fault)
                told = self.call(cancel_after_ms=3000)
                self.assertEqual(self.runner.cancelled, told["error"]["name"])
                self.assertGreaterEqual(told["seconds"], 2.9)
                self.assertLess(told["seconds"], 3 + SLACK_S)
                if fault[0] != "answer":
                    eventually(lambda: self.proxy.requests[0].left, "the connection is closed")
                else:
                    time.sleep(8)
                self.assertEqual(1, len(self.proxy.requests))

    # ------------------------------------------------------------ many at once

    def test_many_calls_at_once_through_a_bad_network(self):
        self.proxy.random_faults(seed=25, share=0.3)
        count, attempts = 16, 6
        told = self.runner.make([
            {"url": self.proxy.url, "call": "predict", "arguments": [MODEL, encoded(ASTRONAUT)],
             "options": {"attempts": attempts, "timeout_ms": 100_000}} for _ in range(count)])
        for one in told:
            if "error" in one:  # six faults in a row
                self.assertEqual(attempts, one["error"]["attempts"], one["error"])
            else:
                self.assertEqual(self.expected, found(one["value"]))
        self.assertGreaterEqual(sum("value" in one for one in told), count - 1)
        self.assertGreater(len(self.proxy.requests), count)
        self.assertLessEqual(len(self.proxy.requests), count * attempts)


class PythonTest(Cases, ClientTest):
    @classmethod
    def program(cls):
        return InPython()

    def test_connections_are_kept_and_one_that_was_closed_is_not_used(self):
        proxy = BadProxy(self.instance, keep_alive=True)
        self.addCleanup(proxy.close)
        with inferpool.Client(proxy.url, attempts=1) as client:
            for _ in range(5):
                client.predict(MODEL, ASTRONAUT)
            self.assertEqual(1, proxy.connections)
            proxy.reset(("answer", 503, {"Connection": "close"}, OVERLOADED))
            with self.assertRaises(inferpool.ProblemError):
                client.models()
            client.models()
            self.assertLessEqual(proxy.connections, 2)
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: found(client.predict(MODEL, ASTRONAUT)), range(24)))
            self.assertEqual([self.expected] * 24, answers)
            self.assertLessEqual(proxy.connections, 10)

    def test_over_tls_with_the_servers_certificate(self):
        url = f"https://localhost:{self.instance.port}"
        with inferpool.Client(url, cafile=str(self.instance.state / "tls/certificate.pem")) as client:
            for _ in range(2):
                self.assertEqual(self.expected, found(client.predict(MODEL, ASTRONAUT)))
        with self.assertRaises(inferpool.ConnectionFailedError) as caught:
            inferpool.Client(url, attempts=1).models()
        self.assertIn("certificate", caught.exception.detail)

    def test_pictures_are_bytes_paths_and_files(self):
        with inferpool.Client(self.proxy.url) as client, pictures.ASTRONAUT_FILE.open("rb") as file:
            path = pictures.ASTRONAUT_FILE
            for picture in (ASTRONAUT, bytearray(ASTRONAUT), memoryview(ASTRONAUT), path, str(path), file):
                self.assertEqual(self.expected, found(client.predict(MODEL, picture)))

    def test_a_call_is_cancelled_before_its_request_has_left(self):
        with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            for _ in range(4):  # so that a further connection has to wait
                waiting = socket.socket()
                self.addCleanup(waiting.close)
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            for step, scheme, server in (("upload", "http", silent), ("handshake", "https", silent),
                                         ("connect", "http", full)):
                with self.subTest(step):
                    cancel = threading.Event()
                    threading.Timer(0.3, cancel.set).start()
                    url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}"
                    with inferpool.Client(url) as client, self.assertRaises(inferpool.CancelledError):
                        client.predict(MODEL, bytes(30_000_000), timeout_s=SLACK_S, cancel=cancel)


class NodeTest(Cases, ClientTest):
    @classmethod
    def program(cls):
        if subprocess.run(["node", "--version"], capture_output=True, check=False).returncode != 0:
            raise unittest.SkipTest("there is no node")
        return InNode()


class ChromiumTest(Cases, ClientTest):
    SETTINGS = {"cors.origins": ["*"]}

    @classmethod
    def program(cls):
        runner = InChromium(cls.proxy.url)
        cls.addClassCleanup(runner.browser.quit)
        return runner

    def test_a_page_of_another_origin_may_load_and_use_it(self):
        elsewhere = BadProxy(self.instance)
        self.addCleanup(elsewhere.close)
        elsewhere.reset(("answer", 200, {"Content-Type": "text/html"}, b"<!doctype html><title>A shop</title>"))
        browser = self.runner.browser
        self.addCleanup(browser.driver.get, self.proxy.url + "/docs/errors")
        browser.driver.get(elsewhere.url + "/v1/shop")
        told = browser.run(
            self.runner.script + "const module = await import(arguments[0] + '/client.js');"
            "return perform(module, {call: 'predict', arguments: arguments[1], client: {key: 'k'}, options: {progress: true}});",
            self.proxy.url, [MODEL, encoded(ASTRONAUT)])
        self.assert_right(told, sent=2)  # with the browser's own question
        self.assertEqual(["OPTIONS", "POST"], [request.method for request in self.proxy.requests])
        self.assertEqual(len(ASTRONAUT), told["progress"][-1][0])


if __name__ == "__main__":
    unittest.main()

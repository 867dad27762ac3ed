"""Routes: versions, canaries, shadows, fallbacks, and the command that changes them."""

import json
import os
import signal
import statistics
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

import pictures
from harness import SystemTest, inferpool
from http_client import multipart
from model_servers import outside
from plain_server import PROTOCOL, SIDE, Net, PlainServer, pb
from processes import eventually
from test_auth import KeysFile, bearer

WITH_INDEX = (*PROTOCOL, "RepositoryIndex")
PICTURE = pictures.plain(SIDE, SIDE, "PNG")


class Versions(PlainServer):
    """`models`: {name: {version: Net}}. `delay_s`: what each inference takes longer."""

    def __init__(self, models, calls=WITH_INDEX):
        self.delay_s = 0
        self._asked = threading.local()
        super().__init__(models, calls)

    def _handler(self, name):
        answer = super()._handler(name)

        def with_version(request, context):
            self._asked.version = (getattr(request, "version", "")
                                   or getattr(request, "model_version", ""))
            if name == "ModelInfer":
                time.sleep(self.delay_s)
            return answer(request, context)
        return with_version

    def _model(self, name, context):
        versions = self.models.get(name) or {}
        version = self._asked.version or max(versions, default="")
        if version not in versions:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no {name} {version}")
        if versions[version].fails:
            context.abort(*versions[version].fails)
        return versions[version]

    def ModelStatistics(self, request, context):
        answer = pb.ModelStatisticsResponse()
        answer.model_stats.add(name=request.name, version=request.version)
        return answer

    def RepositoryIndex(self, request, context):
        answer = pb.RepositoryIndexResponse()
        for name, versions in list(self.models.items()):
            for version in versions:
                answer.models.add(name=name, version=version, state="READY")
        return answer


def yolo():
    """Two versions, told apart by the class that they find."""
    return {"yolo": {"1": Net(0, version="1"), "2": Net(1, version="2")}}


def run(instance, *arguments):
    verb, *rest = arguments
    return inferpool("routes", verb, *rest, "-c", instance.config_file)


class RoutesTest(SystemTest):
    def servers(self, *servers):
        for server in servers:
            self.addCleanup(server.stop)
        return servers

    def pool(self, *servers, **settings):
        dotted = {key.replace("__", "."): value for key, value in settings.items()}
        self.instance = self.start({**outside(*servers), "backend.transport": "inline", **dotted},
                                   cleanup=self.addCleanup)
        return self.instance

    def predict(self, name, **options):
        return self.instance.predict(name, PICTURE, content_type="image/png", **options)

    def version(self, name, **options):
        """The version that answers; what is found says the same."""
        answer = self.assert_good(self.predict(name, **options))
        version = answer["model"]["version"]
        self.assertEqual([int(version) - 1], [item["class_id"] for item in answer["detections"]])
        return version

    def routes(self, *arguments, status=0):
        done = run(self.instance, *arguments)
        self.assertEqual(status, done.returncode, done.stdout + done.stderr)
        return done.stdout if status == 0 else done.stderr

    def counts(self, name, route, variant, version, model="yolo", **more):
        try:
            return self.instance.metrics().value(f"inferpool_route_{name}", route=route, variant=variant,
                                                 model=model, version=version, **more)
        except KeyError:
            return None

    # ------------------------------------------------------------ versions

    def test_a_version_may_be_asked_for(self):
        self.pool(*self.servers(Versions({**yolo(), "odd@1": {"7": Net(0, version="7")}})))
        self.assertEqual("2", self.version("yolo"))
        for _ in range(3):
            self.assertEqual("1", self.version("yolo@1"))
            self.assertEqual("2", self.version("yolo@2"))
        self.assert_problem(self.predict("yolo@3"), 404, "unknown-model")
        odd = self.assert_good(self.predict("odd@1"))
        self.assertEqual({"name": "odd@1", "version": "7"}, odd["model"])
        described = self.instance.request("GET", "/v1/models/yolo@1").json()
        self.assertEqual(("yolo", "1"), (described["name"], described["version"]))
        body, content_type = multipart([("images", PICTURE, "a.png")] * 2)
        batch = self.assert_good(self.predict_batch("yolo@1", body, content_type))
        self.assertEqual(["1", "1"], [item["model"]["version"] for item in batch["results"]])

    def predict_batch(self, name, body, content_type):
        return self.instance.request("POST", f"/v1/predict/{name}/batch", body,
                                     {"Content-Type": content_type})

    def test_a_key_is_for_all_versions_of_its_model(self):
        keys = KeysFile(self.addCleanup)
        yolo_only = bearer(keys.add("yolo", "--models", "yolo"))
        other = bearer(keys.add("other", "--models", "other"))
        self.pool(*self.servers(Versions(yolo())), auth__keys_file=str(keys.path))
        self.assertEqual("1", self.version("yolo@1", headers=yolo_only))
        self.assert_problem(self.predict("yolo@1", headers=other), 403, "forbidden")

    # ------------------------------------------------------------ what a route leads to

    def test_a_route_hides_the_model_of_its_name_and_its_key_suffices(self):
        keys = KeysFile(self.addCleanup)
        objects = bearer(keys.add("objects", "--models", "objects,yolo"))
        only = bearer(keys.add("only", "--models", "objects"))
        server = Versions(yolo(), (*WITH_INDEX, "ModelStatistics"))
        self.pool(*self.servers(server), auth__keys_file=str(keys.path),
                  routes={"yolo": {"model": "yolo", "version": 1},
                          "objects": {"model": "yolo", "version": 2}})
        answer = self.assert_good(self.predict("yolo", headers=objects))
        self.assertEqual({"name": "yolo", "version": "1"}, answer["model"])
        self.assertEqual({"name": "yolo", "variant": "primary"}, answer["route"])
        self.assert_problem(self.predict("yolo@2", headers=objects), 404, "unknown-model")
        self.assertEqual("2", self.version("objects", headers=only))
        self.assert_problem(self.predict("yolo", headers=only), 403, "forbidden")

        def get(path, headers=objects):
            return self.instance.request("GET", path, headers=headers)
        self.assertEqual(["1"], get("/v2/models/yolo").json()["versions"])
        self.assertEqual(404, get("/v2/models/yolo/versions/2").status)
        self.assertEqual({"name": "objects", "ready": True},
                         get("/v2/models/objects/ready", only).json())
        stats = get("/v2/models/objects/stats", only)
        self.assertEqual(200, stats.status)
        self.assertEqual(["2"], [one["version"] for one in stats.json()["model_stats"]])
        index = get("/v2/repository/index").json()
        self.assertEqual([("objects", "READY"), ("yolo", "READY")],
                         sorted((entry["name"], entry["state"]) for entry in index))
        listed = {model["name"]: model for model in get("/v1/models").json()["models"]}
        self.assertEqual({"objects", "yolo"}, set(listed))
        self.assertEqual({"model": "yolo", "version": 1}, listed["yolo"]["route"])
        self.assertEqual("2", get("/v1/models/objects").json()["version"])
        self.assertEqual({"objects"}, {model["name"]
                                       for model in get("/v1/models", only).json()["models"]})
        # The tensors themselves.
        tensor = {"name": "images", "datatype": "FP32", "shape": [1, 3, SIDE, SIDE],
                  "data": [0.0] * (3 * SIDE * SIDE)}
        infer = self.instance.request("POST", "/v2/models/yolo/infer",
                                      json.dumps({"inputs": [tensor]}).encode(),
                                      {"Content-Type": "application/json", **objects})
        self.assertEqual(200, infer.status, infer.body[:300])
        self.assertEqual("1", infer.json()["model_version"])
        self.assertEqual("yolo; variant=primary", infer.header("X-Inferpool-Route"))
        drawn = self.predict("objects", headers={**only, "Accept": "image/png"})
        self.assertEqual("image/png", drawn.header("Content-Type"))
        self.assertEqual("objects; variant=primary", drawn.header("X-Inferpool-Route"))

    def test_a_canary_is_sticky(self):
        keys = KeysFile(self.addCleanup)
        people = {f"key-{i}": bearer(keys.add(f"key-{i}")) for i in range(24)}
        canary = {"model": "yolo", "version": 2, "percent": 40}
        self.pool(*self.servers(Versions(yolo())), auth__keys_file=str(keys.path),
                  routes={"objects": {"model": "yolo", "version": 1, "canary": canary}})

        def by_key():
            versions = {}
            for name, headers in people.items():
                answer = self.assert_good(self.predict("objects", headers=headers))
                versions[name] = answer["model"]["version"]
                self.assertEqual({"1": "primary", "2": "canary"}[versions[name]],
                                 answer["route"]["variant"])
            return versions
        first = by_key()
        self.assertEqual({"1", "2"}, set(first.values()))
        for _ in range(2):
            self.assertEqual(first, by_key())
        before = self.instance.workers()
        done = self.instance.reload(**{"log.slow_ms": 1})  # replaces the workers
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        eventually(lambda: not set(before) & set(self.instance.workers()), "all workers are others")
        self.assertEqual(first, by_key())
        self.routes("set", "objects", "canary.percent=70")
        grown = by_key()
        self.assertLess({name for name in first if first[name] == "2"},
                        {name for name in grown if grown[name] == "2"}, "they stay in it")
        metrics = self.instance.metrics()
        requests = sum(value for (name, _), value in metrics.samples.items()
                       if name == "inferpool_route_requests_total")
        self.assertEqual(5 * len(people), requests, "the recycling of workers loses no count")
        self.assertEqual(requests, metrics.sum("inferpool_route_findings_total"))
        self.assertEqual(0, metrics.sum("inferpool_route_errors_total"))

    # ------------------------------------------------------------ the command

    def test_changes_under_load_lose_no_request_and_are_there_at_once(self):
        canary = {"model": "yolo", "version": 2, "percent": 0}
        self.pool(*self.servers(Versions(yolo())),
                  routes={"objects": {"model": "yolo", "version": 1, "canary": canary}})
        stop = threading.Event()

        def ask():
            answers = []
            while not stop.is_set():
                answers.append(self.predict("objects").status)
            return answers
        with ThreadPoolExecutor(4) as clients:
            work = [clients.submit(ask) for _ in range(4)]
            try:
                for change, version in ((("set", "objects", "canary.percent=100"), "2"),
                                        (("rollback", "objects"), "1"),
                                        (("set", "objects", "canary=" + json.dumps(canary)), "1"),
                                        (("promote", "objects"), "2"),
                                        (("rollback", "objects"), "1")):
                    begin = time.monotonic()
                    self.assertIn("all 2 workers", self.routes(*change))
                    self.assertLess(time.monotonic() - begin, 3)
                    self.assertEqual({version}, {self.version("objects") for _ in range(4)})
            finally:
                stop.set()
            statuses = [status for answers in work for status in answers.result()]
        self.assertGreater(len(statuses), 20)
        self.assertEqual({200}, set(statuses))
        said = [line for line in self.instance.log() if line.get("event") == "routes changed"]
        self.assertEqual([1, 2, 3, 4, 5], [line["change"] for line in said], "each once")
        self.assertEqual("promote objects", said[3]["what"])
        self.assertTrue(said[0]["by"] and said[0]["at"])

    def test_changes_count_until_the_configuration_changes(self):
        self.pool(*self.servers(Versions(yolo())),
                  routes={"objects": {"model": "yolo", "version": 1}})
        self.assertIn("objects", self.routes("list"))
        self.assertIn("0 to 100", self.routes("set", "objects", "canary.model=yolo",
                                              "canary.percent=500", status=1))
        self.assertIn("no route none", self.routes("promote", "none", status=1))
        self.assertIn("no canary", self.routes("promote", "objects", status=1))
        self.assertIn("pipeline", self.routes("set", "text", "model=yolo", status=1))
        self.routes("set", "objects", "version=2")
        self.assertEqual("2", self.version("objects"))
        listed = json.loads(self.routes("list", "--json"))
        self.assertEqual("changed", listed["effective"])
        self.assertEqual(1, listed["configuration"]["objects"]["version"])
        self.assertEqual(2, listed["changed"]["objects"]["version"])
        self.assertEqual((2, 2), (listed["workers"], listed["workers_following"]))
        text = self.routes("list")
        self.assertRegex(text, r'(?m)^\* objects +changes +\{"model": "yolo", "version": 2\}$')
        self.assertRegex(text, r'(?m)^  objects +configuration +\{"model": "yolo", "version": 1\}$')
        # A file that is broken changes nothing.
        path = Path(self.instance.state) / "routes.json"
        good = path.read_text()
        path.write_text(good[:-20])
        time.sleep(1.2)
        self.assertEqual("2", self.version("objects"))
        self.assertIn("remove the file", self.routes("set", "objects", "version=1", status=1))
        # Nor a worker that stands in for one that crashed.
        before = self.instance.workers()
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        eventually(lambda: len(set(self.instance.workers()) - set(before)) == 2, "there are new workers")
        self.assertEqual({"2"}, {self.version("objects") for _ in range(6)})
        # Nor in new workers, which say why they are not ready.
        done = self.instance.reload(**{"log.slow_ms": 2})
        self.assertNotEqual(0, done.returncode, done.stdout)
        self.assertIn("routes.json", done.stdout + done.stderr)
        self.assertEqual({"2"}, {self.version("objects") for _ in range(6)})
        shown = run(self.instance, "list")
        self.assertEqual(1, shown.returncode)
        self.assertIn("configuration", shown.stdout)
        self.assertIn("routes.json", shown.stderr)
        path.write_text(good)
        # New workers go by it from their first request on, until the configuration says otherwise.
        self.assertEqual(0, self.instance.reload(**{"log.slow_ms": 1}).returncode)
        self.assertEqual({"2"}, {self.version("objects") for _ in range(6)})
        self.instance.settings["routes"] = {"other": {"model": "yolo", "version": 1}}
        self.instance.write_config()
        self.assertIn("reload first", self.routes("set", "other", "version=2", status=1))
        self.assertEqual(0, self.instance.reload().returncode)
        self.assertEqual("1", self.version("other"))
        self.assert_problem(self.predict("objects"), 404, "unknown-model")
        self.assertEqual("configuration", json.loads(self.routes("list", "--json"))["effective"])

    def test_check_says_what_is_wrong(self):
        config = Path(KeysFile(self.addCleanup).folder.name) / "config.json"
        config.write_text(json.dumps({"routes": {
            "a": {"model": "m", "fallback": "b"}, "b": {"model": "m", "fallback": "a"},
            "c": {"model": "m", "canary": {"model": "n", "percent": 101}, "modell": 1}}}))
        done = inferpool("check", "-c", config)
        self.assertEqual(2, done.returncode)
        for words in ("routes.a.fallback: leads in a circle: a -> b -> a",
                      "routes.c.canary.percent: allowed is a number from 0 to 100",
                      "routes.c.modell: is unknown"):
            self.assertIn(words, done.stderr)

    # ------------------------------------------------------------ fallback

    def test_the_fallback_answers_while_the_servers_are_away(self):
        first, second = self.servers(Versions(yolo()),
                                     Versions({"small": {"5": Net(0, version="5")}}))
        self.pool(first, second, breaker__open_s=1,
                  routes={"objects": {"model": "yolo", "version": 2, "fallback": "small"}})
        self.assertEqual("2", self.version("objects"))
        first.stop()
        for _ in range(12):
            answer = self.assert_good(self.predict("objects"))
            self.assertEqual({"name": "small", "version": "5"}, answer["model"])
            self.assertEqual({"name": "objects", "variant": "fallback"}, answer["route"])
        self.assert_problem(self.predict("yolo"), 503, "model-server-away")
        self.assertEqual(12, self.counts("requests_total", "objects", "fallback", "5", "small"))
        first.start()
        eventually(lambda: self.assert_good(self.predict("objects"))["route"]["variant"] == "primary",
                   "the model is back")

    def test_the_primary_answers_while_there_is_no_such_canary(self):
        canary = {"model": "yolo", "version": 7, "percent": 100}
        self.pool(*self.servers(Versions(yolo())),
                  routes={"objects": {"model": "yolo", "version": 1, "canary": canary}})
        answer = self.assert_good(self.predict("objects"))
        self.assertEqual({"name": "objects", "variant": "primary"}, answer["route"])
        self.assertEqual("1", self.version("objects"))
        body, content_type = multipart([("images", PICTURE, "a.png")] * 2)
        batch = self.assert_good(self.predict_batch("objects", body, content_type))
        self.assertEqual(["1", "1"], [item["model"]["version"] for item in batch["results"]])

    def test_a_batch_of_failures_is_an_error(self):
        [server] = self.servers(Versions(yolo()))
        self.pool(server, routes={"objects": {"model": "yolo", "version": 1}})
        self.assertEqual("1", self.version("objects"))
        server.models["yolo"]["1"].fails = (grpc.StatusCode.INTERNAL, "broken")
        body, content_type = multipart([("images", PICTURE, "a.png")] * 2)
        batch = self.assert_good(self.predict_batch("objects", body, content_type))
        self.assertEqual([True, True], [item["status"] >= 500 for item in batch["results"]])
        self.assertEqual(1, self.counts("errors_total", "objects", "primary", "1"))

    def test_shells_at_once_all_succeed(self):
        self.pool(*self.servers(Versions(yolo())),
                  routes={"objects": {"model": "yolo", "version": 1}})
        with ThreadPoolExecutor(4) as shells:
            done = list(shells.map(
                lambda i: run(self.instance, "set", f"objects{i}", '{"model": "yolo"}'), range(8)))
        self.assertEqual([0] * 8, [one.returncode for one in done], [one.stderr for one in done])
        said = [line for line in self.instance.log() if line.get("event") == "routes changed"]
        self.assertEqual(list(range(1, 9)), sorted(line["change"] for line in said), "each once")

    def test_the_fallback_answers_when_too_little_time_is_left(self):
        first, second = self.servers(Versions(yolo()),
                                     Versions({"small": {"5": Net(0, version="5")}}))
        first.delay_s = 0.3
        self.pool(first, second, workers=1, threads=8,
                  routes={"objects": {"model": "yolo", "version": 2, "fallback": "small"}})
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda _: self.predict("objects").status, range(24)))
        self.assertEqual({200}, set(answers))
        for limit, variant in ((200, "fallback"), (20_000, "primary")):
            answer = self.assert_good(self.predict("objects", headers={"X-Timeout-Ms": str(limit)}))
            self.assertEqual(variant, answer["route"]["variant"])

    # ------------------------------------------------------------ shadow

    def test_a_shadow_is_asked_as_well_and_compared(self):
        [server] = self.servers(Versions({**yolo(), "like": {"1": Net(0, version="1")}}))
        shadow = {"model": "like", "percent": 100}
        self.pool(server, routes={
            "same": {"model": "yolo", "version": 1, "shadow": shadow},
            "other": {"model": "yolo", "version": 2, "shadow": shadow},
            "none": {"model": "yolo", "version": 1}})
        for _ in range(6):
            for route, version in (("same", "1"), ("other", "2"), ("none", "1")):
                self.assertEqual(version, self.version(route))
                time.sleep(0.05)

        def count(route, outcome):
            try:
                return self.instance.metrics().value(
                    "inferpool_route_agreement_total", route=route, variant="shadow", model="like",
                    version="1", outcome=outcome)
            except KeyError:
                return None
        eventually(lambda: count("same", "matched") == 6, "the shadow agrees")
        eventually(lambda: count("other", "only_shadow") == 6, "the shadow does not agree")
        self.assertEqual((0, 0, 6, 0), (count("same", "only_primary"), count("same", "only_shadow"),
                                        count("other", "only_primary"), count("other", "matched")))
        self.assertEqual(6, self.counts("requests_total", "same", "shadow", "1", "like"))
        self.assertIsNone(count("none", "matched"))

    def test_a_shadow_is_asked_about_each_picture_of_a_batch(self):
        [server] = self.servers(Versions({**yolo(), "like": {"1": Net(0, version="1")}}))
        self.pool(server, routes={
            "all": {"model": "yolo", "version": 1, "shadow": {"model": "like", "percent": 100}},
            "half": {"model": "yolo", "version": 1, "shadow": {"model": "like", "percent": 50}}})
        body, kind = multipart([("images", PICTURE, "a.png")] * 16 + [("images", b"hello", "b.txt")])

        def ask(route):
            answer = self.instance.request("POST", f"/v1/predict/{route}/batch", body, {"Content-Type": kind})
            self.assertEqual([200] * 16 + [415], [part["status"] for part in self.assert_good(answer)["results"]])

        def asked(route):
            return self.counts("requests_total", route, "shadow", "1", "like") or 0
        ask("all")
        eventually(lambda: asked("all") == 16, "the shadow is asked about all")
        self.assertEqual(16, self.counts("agreement_total", "all", "shadow", "1", "like", outcome="matched"))
        for _ in range(4):
            ask("half")
        eventually(lambda: asked("half") > 16, "the shadow is asked about some of each batch")
        time.sleep(0.5)
        self.assertLess(asked("half"), 48)

    def test_what_lists_and_pipelines_ask_is_counted_by_route(self):
        [server] = self.servers(Versions({**yolo(), "like": {"1": Net(0, version="1")}}))
        self.pool(server, routes={
            "objects": {"model": "yolo", "version": 2, "canary": {"model": "yolo", "version": 1, "percent": 100}},
            "parts": {"model": "like"}, "gone": {"model": "nothing"}},
            pipelines={"both": {"model": "objects", "each": [{"model": "parts"}]}})
        answer = self.instance.request("POST", "/v1/analyze?models=objects,yolo,both,gone", PICTURE,
                                       {"Content-Type": "image/png"})
        self.assertEqual([200, 200, 200, 404],
                         [part["status"] for part in self.assert_good(answer)["results"].values()])
        self.assert_good(self.predict("both"))
        for name, count in (("requests_total", 3), ("errors_total", 0), ("pictures_total", 3), ("findings_total", 3)):
            self.assertEqual(count, self.counts(name, "objects", "canary", "1"), name)
        self.assertEqual(2, self.counts("requests_total", "parts", "primary", "1", "like"))
        self.assertEqual(2, self.counts("pictures_total", "parts", "primary", "1", "like"))
        self.assertEqual(1, self.counts("requests_total", "gone", "primary", "", "nothing"))

    def test_a_shadow_that_hangs_is_not_felt(self):
        first, second = self.servers(Versions(yolo()), Versions({"like": {"1": Net(0, version="1")}}))
        self.pool(first, second, workers=1, routes={
            "objects": {"model": "yolo", "version": 1, "shadow": {"model": "like", "percent": 100}}})

        def times(count):
            taken = []
            for _ in range(count):
                begin = time.monotonic()
                self.assertEqual("1", self.version("objects"))
                taken.append(time.monotonic() - begin)
            return sorted(taken)
        times(20)
        usual = times(100)
        second.hangs |= set(PROTOCOL)
        hung = times(100)
        print(f"median {statistics.median(usual) * 1e3:.1f} ms, with a hung shadow "
              f"{statistics.median(hung) * 1e3:.1f} ms; p95 {usual[94] * 1e3:.1f} and "
              f"{hung[94] * 1e3:.1f} ms")
        self.assertLess(statistics.median(hung), 1.5 * statistics.median(usual) + 0.01)
        self.assertLess(hung[-1], 4, "nobody waits for the shadow")


if __name__ == "__main__":
    unittest.main()

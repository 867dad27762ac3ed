"""Several model servers with different models, and servers that have less than Triton."""

import json
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import grpc

import pictures
from edge import temporary_folder
from harness import SystemTest, inferpool, nested
from http_client import multipart
from model_servers import ModelServer, outside
from pictures import ASTRONAUT
from plain_server import PROTOCOL, SIDE, Net, PlainServer
from processes import eventually

WITH_INDEX = (*PROTOCOL, "RepositoryIndex")
PICTURE = pictures.plain(SIDE, SIDE, "PNG")


class ServersTest(SystemTest):
    def servers(self, *servers):
        for server in servers:
            self.addCleanup(server.destroy if isinstance(server, ModelServer) else server.stop)
        return servers

    def pool(self, *servers, **settings):
        wait_ready = settings.pop("wait_ready", True)
        dotted = {key.replace("__", "."): value for key, value in settings.items()}
        self.instance = self.start({**outside(*servers), "backend.transport": "inline", **dotted},
                                   cleanup=self.addCleanup, wait_ready=wait_ready)
        return self.instance

    def predict(self, model, picture=PICTURE):
        return self.instance.predict(quote(model, safe=""), picture, content_type="image/png")

    def classes(self, model):
        """The class ids of what is found."""
        answer = self.predict(model)
        return [item["class_id"] for item in self.assert_good(answer)["detections"]]

    def listed(self):
        answer = self.instance.request("GET", "/v1/models")
        return {model["name"]: model for model in self.assert_good(answer)["models"]}

    def reload(self, **settings):
        done = self.instance.reload(**settings)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    # ------------------------------------------------------------ which server has which model

    def test_each_model_is_asked_of_the_server_that_has_it(self):
        first, second = self.servers(ModelServer(), ModelServer(models=("people",)))
        self.pool(first, second)
        for _ in range(10):
            self.assert_good(self.instance.predict("faces_cascade", ASTRONAUT))
            self.assert_good(self.instance.predict("people", ASTRONAUT))
            self.assertEqual(200, self.instance.request("GET", "/v2/models/people").status)
            self.assertEqual(200, self.instance.request("GET", "/v2/models/faces_cascade/config").status)
            self.assert_problem(self.instance.predict("none", ASTRONAUT), 404, "unknown-model")
            self.assertEqual(404, self.instance.request("GET", "/v2/models/none").status)
        self.assertEqual({"faces_cascade": [first.target], "people": [second.target]},
                         {name: model["servers"] for name, model in self.listed().items()})
        index = self.instance.request("GET", "/v2/repository/index").json()
        self.assertEqual({"faces_cascade", "people"}, {entry["name"] for entry in index})
        readyz = self.instance.probe("/readyz").json()
        self.assertEqual([(first.target, ["faces_cascade"]), (second.target, ["people"])],
                         [(server["target"], server["models"]) for server in readyz["model_servers"]])

    def test_a_model_that_moves_is_found_at_once(self):
        first, second = self.servers(PlainServer({"a": Net(0), "b": Net(1)}, WITH_INDEX),
                                     PlainServer({"c": Net(1)}, WITH_INDEX))
        self.pool(first, second)
        self.assertEqual([0], self.classes("a"))
        for source, target in ((first, second), (second, first), (first, second)):
            target.models["a"] = source.models.pop("a")
            self.assertEqual([0], self.classes("a"))
            self.assertEqual(200, self.instance.request("GET", "/v2/models/a").status)
        self.assertEqual([1], self.classes("b"))

    def test_without_an_index_a_model_is_found_too(self):
        first, second = self.servers(PlainServer({"a": Net(0)}), PlainServer({"b": Net(1)}))
        self.pool(first, second)
        for _ in range(6):
            self.assertEqual([0], self.classes("a"))
            self.assertEqual([1], self.classes("b"))
            self.assert_problem(self.predict("none"), 404, "unknown-model")
        self.assertEqual({"a": [first.target], "b": [second.target]},
                         {name: model["servers"] for name, model in self.listed().items()})
        first.models, second.models = second.models, first.models
        self.assertEqual([1], self.classes("b"))
        self.assertEqual([0], self.classes("a"))

    def test_without_an_index_both_servers_of_a_model_are_used(self):
        first, second = self.servers(PlainServer({"a": Net(0)}), PlainServer({"a": Net(0)}))
        self.pool(first, second, timeouts__request_s=2)
        self.assertEqual([0], self.classes("a"))
        hung, other = (first, second) if ("ModelInfer", "a") in first.asked else (second, first)
        hung.hangs |= set(PROTOCOL)
        eventually(lambda: self.predict("a").status == 200, "the other one is asked")
        self.assertIn(("ModelInfer", "a"), other.asked)

    def test_no_request_is_lost_when_one_of_two_servers_drops_a_model(self):
        first, second = self.servers(PlainServer({"a": Net(0)}, WITH_INDEX),
                                     PlainServer({"a": Net(0)}, WITH_INDEX))
        self.pool(first, second, workers=1, threads=8)
        with ThreadPoolExecutor(16) as clients:
            for _ in range(3):
                eventually(lambda: len(self.listed()["a"]["servers"]) == 2, "both have it")
                for _ in range(4):
                    self.assertEqual([0], self.classes("a"))
                work = [clients.submit(lambda: [self.predict("a").status for _ in range(6)])
                        for _ in range(16)]
                time.sleep(0.1)
                gone = second.models.pop("a")
                for answers in work:
                    self.assertEqual([200] * 6, answers.result())
                second.models["a"] = gone

    def test_nobody_waits_for_a_server_that_hangs(self):
        first, second = self.servers(PlainServer({"a": Net(0)}, WITH_INDEX),
                                     PlainServer({"b": Net(1)}, WITH_INDEX))
        self.pool(first, second)
        self.assertEqual([0], self.classes("a"))
        first.hangs.add("RepositoryIndex")
        self.predict("none")  # it may be the first that it hangs for
        begin = time.monotonic()
        for _ in range(5):
            self.assert_problem(self.predict("none"), 404, "unknown-model")
        self.assertLess(time.monotonic() - begin, 4)

    def test_when_the_only_server_of_a_model_is_away_it_is_away_and_no_other(self):
        first, second = self.servers(PlainServer({"a": Net(0)}, WITH_INDEX),
                                     PlainServer({"b": Net(1)}, WITH_INDEX))
        self.pool(first, second)
        self.classes("a")
        first.stop()
        for _ in range(10):
            self.assert_problem(self.predict("a"), 503, "model-server-away")
            self.assertEqual([1], self.classes("b"))
        self.assertIn("b", self.listed())
        first.start()
        eventually(lambda: self.predict("a").status == 200, "the model is back")

    def test_a_rollout_server_by_server_mixes_nothing(self):
        old, new = Net(kind=0), Net(kind=3, classes=4, side=2 * SIDE, version="2")
        first, second = self.servers(PlainServer({"a": old}, WITH_INDEX), PlainServer({"a": old}, WITH_INDEX))
        self.pool(first, second)
        for _ in range(8):
            self.assertEqual([0], self.classes("a"))
        second.models["a"] = new
        seen = set()
        end = time.monotonic() + 8
        while time.monotonic() < end:
            seen.update(self.classes("a"))
        self.assertEqual({0, 3}, seen)
        first.models["a"] = new
        for _ in range(20):
            self.assertIn(self.classes("a"), ([3],))

    def test_a_version_is_asked_of_the_server_that_has_it(self):
        first, second = self.servers(PlainServer({"a": Net(version="1")}, WITH_INDEX),
                                     PlainServer({"a": Net(version="2")}, WITH_INDEX))
        self.pool(first, second)
        for _ in range(6):
            for version, server in (("1", first), ("2", second)):
                answer = self.instance.request("GET", f"/v2/models/a/versions/{version}")
                self.assertEqual([version], answer.json()["versions"])

    def test_two_hundred_models_on_two_servers(self):
        models = {f"m{i:03}": Net(i % 2) for i in range(200)}
        first, second = self.servers(
            PlainServer(dict(list(models.items())[:100]), WITH_INDEX),
            PlainServer(dict(list(models.items())[100:]), WITH_INDEX))
        self.pool(first, second)
        self.assertEqual(sorted(models), sorted(self.listed()))
        for name in ("m000", "m099", "m100", "m199"):
            self.assertEqual([int(name[1:]) % 2], self.classes(name))

    def test_one_whose_index_hangs_or_fails_takes_nothing_from_the_others(self):
        first, second = self.servers(PlainServer({"a": Net(0)}, WITH_INDEX),
                                     PlainServer({"b": Net(1)}, WITH_INDEX))
        first.hangs.add("RepositoryIndex")
        self.pool(first, second)
        self.assertEqual([1], self.classes("b"))
        self.assertEqual([0], self.classes("a"))
        begin = time.monotonic()
        self.assertIn("b", self.listed())
        self.assertLess(time.monotonic() - begin, 10)

    # ------------------------------------------------------------ less than Triton

    def test_metadata_is_enough(self):
        for calls in (PROTOCOL, tuple(set(PROTOCOL) - {"ServerReady"}),
                      ("ModelReady", "ModelMetadata", "ModelInfer")):
            with self.subTest(calls):
                [server] = self.servers(PlainServer({"net": Net(1), "typed": Net(typed=True, version="")}, calls))
                self.pool(server)
                self.assertEqual([1], self.classes("net"))
                self.assertEqual([0], self.classes("typed"))
                batch = self.instance.request(
                    "POST", "/v1/predict/net/batch", *_form([PICTURE, PICTURE]))
                self.assertEqual([200, 200], [one["status"] for one in self.assert_good(batch)["results"]])
                self.assertEqual({"net", "typed"}, set(self.listed()))
                self.assert_problem(self.predict("none"), 404, "unknown-model")
                self.assertEqual(501, self.instance.request("GET", "/v2/models/net/config").status)
                self.assertEqual(200, self.instance.request("GET", "/v2/health/ready").status)
                self.reload(threads=5)
                self.assertEqual([1], self.classes("net"))

    def test_one_that_only_describes_and_infers_is_ready_and_listed_each_time(self):
        [server] = self.servers(PlainServer({"net": Net(1)}, ("ModelMetadata", "ModelInfer")))
        self.pool(server)
        self.assertEqual([1], self.classes("net"))
        for _ in range(3):
            self.assertEqual({"net"}, set(self.listed()))

    def test_a_server_of_another_protocol_is_not_ready_and_says_why(self):
        [server] = self.servers(PlainServer({}, ()))
        self.pool(server, wait_ready=False)
        answer = eventually(lambda: answer if "KServe" in (answer := self.instance.probe("/readyz")).body.decode()
                            else None, "it says why")
        self.assertEqual(503, answer.status)
        self.assert_problem(self.predict("net"), 501, "unusable-model")

    def test_without_tensors_it_says_what_to_set_and_that_works(self):
        labels = temporary_folder(self) / "labels.txt"
        labels.write_text("cup\ndog\n")
        [server] = self.servers(PlainServer({"net": Net(1, tensors=False)}))
        self.pool(server)
        problem = self.assert_problem(self.predict("net"), 501, "unusable-model")
        self.assertIn("\"models\"", problem["detail"])
        net = Net(1)
        settings = {"family": "yolov8", "class_names": str(labels),
                    "inputs": _tensors(net.inputs()), "outputs": _tensors(net.outputs())}
        self.reload(models={"net": settings})
        [found] = self.assert_good(self.predict("net"))["detections"]
        self.assertEqual("dog", found["class_name"])
        self.assertEqual({"net"}, set(self.listed()))
        self.reload(models={"net": {**settings, "class_names": ["one", "two"]}})
        [found] = self.assert_good(self.predict("net"))["detections"]
        self.assertEqual("two", found["class_name"])

    def test_a_setting_that_is_wrong_is_refused_at_load(self):
        [server] = self.servers(PlainServer({"net": Net()}))
        self.pool(server)
        for model, text in (({"famliy": "yolov8"}, "famliy"), ({"family": "yolo9000"}, "allowed are"),
                            ({"max_batch_size": -1}, "max_batch_size"),
                            ({"class_names": "/nonexistent/labels.txt"}, "/nonexistent/labels.txt"),
                            ({"inputs": [{"name": "a"}]}, "models.net.inputs[0]")):
            with self.subTest(model):
                self.instance.config_file.write_text(
                    json.dumps(nested({**self.instance.settings, "models": {"net": model}})))
                for command in ("check", "reload"):
                    done = inferpool(command, "-c", self.instance.config_file)
                    self.assertNotEqual(0, done.returncode, command)
                    self.assertIn(text, done.stdout + done.stderr)

    def test_one_model_that_fails_takes_nothing_from_the_others(self):
        sick = Net(fails=(grpc.StatusCode.INTERNAL, "its runtime has gone"))
        [server] = self.servers(PlainServer(
            {"net": Net(1), "sick": sick, "late": Net(ready=False)}, (*WITH_INDEX, "ModelConfig")))
        self.pool(server)
        self.assertEqual([1], self.classes("net"))
        listed = self.listed()
        self.assertEqual({"net", "sick"}, set(listed))
        self.assertIn("its runtime has gone", listed["sick"]["unusable"])
        self.assert_problem(self.predict("sick"), 502, "bad-model-answer")

    def test_what_the_server_calls_unprocessable_is_not_the_models_fault(self):
        server = PlainServer({"net": Net()})
        self.servers(server)
        self.pool(server)
        self.classes("net")
        server.models["net"].fails = (grpc.StatusCode.FAILED_PRECONDITION, "rank 4 wanted")
        problem = self.assert_problem(self.predict("net"), 502, "bad-model-answer")
        self.assertIn("rank 4 wanted", problem["detail"])

    def test_a_name_with_a_slash_is_reachable(self):
        name = "team/net"
        [server] = self.servers(PlainServer({name: Net(1)}, WITH_INDEX))
        self.pool(server)
        self.assertIn(name, self.listed())
        self.assertEqual([1], self.classes(name))
        for path in (f"/v1/models/{quote(name, safe='')}", f"/v2/models/{quote(name, safe='')}",
                     f"/v2/models/{quote(name, safe='')}/ready"):
            self.assertEqual(200, self.instance.request("GET", path).status, path)

    def test_where_there_are_keys_strangers_are_told_how_many_models_there_are(self):
        [server] = self.servers(PlainServer({"secret": Net()}, WITH_INDEX))
        keys = temporary_folder(self) / "keys.json"
        done = inferpool("keys", "add", "somebody", "--file", keys)
        self.assertEqual(0, done.returncode, done.stderr)
        self.pool(server, auth__keys_file=str(keys))
        answer = eventually(lambda: answer if (answer := self.instance.probe("/readyz").json())
                            ["model_servers"][0]["models"] == 1 else None, "it knows the model")
        self.assertNotIn("secret", json.dumps(answer))


def _tensors(tensors):
    return [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in tensors]


def _form(files):
    body, content_type = multipart([("images", file, "a.png") for file in files])
    return body, {"Content-Type": content_type}


if __name__ == "__main__":
    unittest.main()

"""Who decides what is loaded: nobody, clients, or the repository's folder."""

import json
import shutil
import threading
import unittest

import grpc
import numpy as np
from google.protobuf import json_format, text_format

from kserve import SOURCE, config_pb, pb
from serving import ServerTest, eventually, identity

REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL,
           grpc.StatusCode.UNAVAILABLE)
UNKNOWN = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE)

ONE = {"INPUT0": np.zeros(1, np.int32)}


def as_json(text):
    """config.pbtxt as a load request carries it."""
    return json_format.MessageToJson(text_format.Parse(text, config_pb.ModelConfig()),
                                     preserving_proto_field_name=True)


class ControlTest(ServerTest):
    def load(self, model, config=None, files=None, client=None):
        request = pb.RepositoryModelLoadRequest(model_name=model)
        if config is not None:
            request.parameters["config"].string_param = config
        for path, data in (files or {}).items():
            request.parameters[f"file:{path}"].bytes_param = data
        (client or self.client).RepositoryModelLoad(request, timeout=60)

    def unload(self, model, **parameters):
        request = pb.RepositoryModelUnloadRequest(model_name=model)
        for name, value in parameters.items():
            request.parameters[name].bool_param = value
        self.client.RepositoryModelUnload(request, timeout=60)

    def assert_refused(self, call, *arguments, codes=REFUSED, text=""):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments)
        self.assertIn(caught.exception.code(), codes, caught.exception.details())
        self.assertRegex(caught.exception.details(), f"(?i){text}")

    def state(self, model, client=None):
        """{version: state}"""
        return {version: entry.state
                for (name, version), entry in (client or self.client).index().items()
                if name == model}

    def max_batch(self, model, client=None):
        return (client or self.client).config(model).max_batch_size


class NobodyTests(ControlTest):
    MODELS = {"echo": identity()}

    def test_loading_and_unloading_are_refused(self):
        self.assert_refused(self.load, "echo", text="explicit|not allowed")
        self.assert_refused(self.unload, "echo", text="explicit|not allowed")
        self.client.infer("echo", ONE)

    def test_a_changed_folder_is_not_looked_at(self):
        self.server.write("late", identity())
        self.assertFalse(self.client.is_ready("late"))


class ExplicitTests(ControlTest):
    MODELS = {"echo": identity("INT32", (-1,)), "first": identity(),
              "two": (identity(more="version_policy { all {} }"), (1, 2)),
              "broken": "backend: 7"}
    OPTIONS = ("--model-control-mode", "explicit", "--load-model", "first")

    def test_only_what_was_asked_for_is_loaded(self):
        server = self.start(self.MODELS, *self.OPTIONS)
        self.assertTrue(server.client.is_ready("first"))
        self.assertFalse(server.client.is_ready("echo"))
        self.assertEqual({"echo", "first", "two", "broken"},
                         {name for name, _ in server.client.index()})
        self.assertEqual({"first"}, {name for name, _ in server.client.index(ready=True)})

    def test_load_infer_unload(self):
        self.load("echo")
        self.assertEqual({"1": "READY"}, self.state("echo"))
        self.client.infer("echo", ONE)
        self.unload("echo")
        eventually(lambda: self.state("echo") == {"1": "UNAVAILABLE"}, "it is unloaded")
        self.assertIn("unloaded", self.client.index()["echo", "1"].reason)
        self.assertFalse(self.client.is_ready("echo"))
        self.assert_refused(self.client.infer, "echo", ONE, codes=UNKNOWN)
        self.load("echo")
        self.client.infer("echo", ONE)

    def test_all_versions_come_and_go_together(self):
        self.load("two")
        self.assertEqual({"1": "READY", "2": "READY"}, self.state("two"))
        self.unload("two")
        eventually(lambda: set(self.state("two").values()) == {"UNAVAILABLE"}, "all are unloaded")

    def test_what_cannot_be_loaded(self):
        self.assert_refused(self.load, "nobody", text="nobody")
        self.assert_refused(self.load, "broken", text="broken|config.pbtxt")
        for name in ("", " ", "..", "../models/echo", "/etc", "a/b", "\0"):
            with self.subTest(name):
                self.assert_refused(self.load, name)

    def test_a_request_in_flight_survives_the_unloading(self):
        self.load("slow", as_json(identity(delay_ms=300)), {"1/x": b""})
        call = self.client.ModelInfer.future(self.request("slow"), timeout=60)
        eventually(lambda: call.running(), "it has been sent")
        threading.Event().wait(0.1)
        self.unload("slow")
        call.result(60)
        self.assertFalse(self.client.is_ready("slow"))

    @staticmethod
    def request(model):
        request = pb.ModelInferRequest(model_name=model)
        request.inputs.add(name="INPUT0", datatype="INT32", shape=[1])
        request.raw_input_contents.append(bytes(4))
        return request

    # ------------------------------------------------------------ overrides

    def test_a_configuration_for_this_once(self):
        self.load("echo", as_json(identity("INT32", (-1,), batch=4)))
        self.assertEqual(4, self.max_batch("echo"))
        self.client.infer("echo", {"INPUT0": np.zeros((4, 2), np.int32)})
        self.load("echo")
        self.assertEqual(0, self.max_batch("echo"))

    def test_a_configuration_that_is_none_leaves_the_model_alone(self):
        self.load("echo")
        for config in ("", "{", "[]", '{"no_such_field": 1}', '{"max_batch_size": "x"}',
                       '{"backend": "no such backend"}', '{"name": "other"}',
                       "{" + '"a":{' * 10_000):
            with self.subTest(config=config[:30]):
                self.assert_refused(self.load, "echo", config)
                self.client.infer("echo", ONE)

    def test_files_come_with_the_request(self):
        self.load("sent", as_json(identity()), {"5/data": b"\0\1", "5/folder/more": b""})
        self.assertEqual({"5": "READY"}, self.state("sent"))
        self.client.infer("sent", ONE, version="5")

    def test_a_net_comes_with_the_request(self):
        folder = SOURCE / "ops/models/shapes"
        config = json.loads(as_json((folder / "config.pbtxt").read_text()))
        del config["name"]
        for output in config.get("output", ()):
            output.pop("label_filename", None)  # the folder's, which is out of the game
        self.load("net", json.dumps(config),
                  {"1/model.onnx": (folder / "1/model.onnx").read_bytes()})
        metadata = self.client.ModelMetadata(pb.ModelMetadataRequest(name="net"))
        (tensor,) = metadata.inputs
        shape = [max(size, 1) for size in tensor.shape]
        answer = self.client.infer("net", {tensor.name: np.zeros(shape, np.float32)})
        self.assertTrue(answer)

    def test_files_that_are_none(self):
        config = as_json(identity())
        for path in ("../evil", "1/../../evil", "/etc/evil", "1", "x/file", "0/file", "-1/file",
                     "1//", "1/.hidden", ""):
            with self.subTest(path):
                self.assert_refused(self.load, "evil", config, {path: b"x"})
        self.assert_refused(self.load, "net", config.replace("identity", "onnxruntime"),
                            {"1/model.onnx": b"no net"})
        self.assert_refused(self.load, "files", None, {"1/data": b""}, text="config")

    def test_reloading_is_without_a_gap(self):
        self.load("echo")
        over, failures, calls = threading.Event(), [], [0]

        def ask():
            while not over.is_set():
                try:
                    self.client.infer("echo", ONE)
                    calls[0] += 1
                except grpc.RpcError as error:
                    failures.append(error.details())
        askers = [threading.Thread(target=ask) for _ in range(3)]
        for asker in askers:
            asker.start()
        for _ in range(15):
            self.load("echo")
        over.set()
        for asker in askers:
            asker.join()
        self.assertEqual([], failures)
        self.assertGreater(calls[0], 15)


class PollTests(ControlTest):
    MODELS = {"echo": identity("INT32", (-1,)), "goes": identity(), "breaks": identity(),
              "grows": identity()}
    OPTIONS = ("--model-control-mode", "poll", "--repository-poll-secs", "1")

    def test_the_server_follows_its_folder(self):
        """All changes at once, as each is looked at once a second."""
        self.server.write("late", identity())
        self.server.write("echo", identity("INT32", (-1,), batch=4))
        self.server.write("breaks", "no such field: 1")
        self.server.write("grows", identity(), versions=(2,))
        shutil.rmtree(self.server.repository / "goes")
        eventually(lambda: self.client.is_ready("late"), "a new model is loaded")
        eventually(lambda: self.max_batch("echo") == 4, "a changed model is loaded again")
        eventually(lambda: not self.client.is_ready("goes"), "a model without a folder goes")
        eventually(lambda: self.client.is_ready("grows", "2"), "a new version is loaded")
        eventually(lambda: not self.client.is_ready("grows", "1"), "and the older one goes")
        eventually(lambda: any("config.pbtxt" in entry.reason for (name, _), entry in
                               self.client.index().items() if name == "breaks"), "it says why")
        self.client.infer("breaks", ONE)  # what was loaded serves on

    def test_clients_have_no_say(self):
        self.assert_refused(self.load, "echo")
        self.assert_refused(self.unload, "echo")


class VersionTests(ControlTest):
    VERSIONS = (1, 2, 10)
    MODELS = {
        "latest": (identity(), VERSIONS),
        "latest_two": (identity(more="version_policy { latest { num_versions: 2 } }"), VERSIONS),
        "all": (identity(more="version_policy { all {} }"), VERSIONS),
        "some": (identity(more="version_policy { specific { versions: [ 1, 2 ] } }"), VERSIONS),
        "missing": (identity(more="version_policy { specific { versions: [ 7 ] } }"), VERSIONS),
    }

    def test_the_policy_chooses(self):
        for model, versions in (("latest", {"10"}), ("latest_two", {"2", "10"}),
                                ("all", {"1", "2", "10"}), ("some", {"1", "2"}),
                                ("missing", set())):
            with self.subTest(model):
                self.assertEqual(versions, {version for version in ("1", "2", "7", "10")
                                            if self.client.is_ready(model, version)})
        self.assertIn("7", "".join(entry.reason for (name, _), entry in self.client.index().items()
                                   if name == "missing"))

    def test_versions_are_numbers_not_texts(self):
        response = self.client.ModelInfer(ExplicitTests.request("all"))
        self.assertEqual("10", response.model_version)


class WarmupTests(ControlTest):
    WARMUP = """model_warmup {{ name: "w" {} inputs {{ key: "{}" value {{
        data_type: TYPE_INT32 dims: 1 {} }} }} }}"""
    MODELS = {
        "zero": identity(more=WARMUP.format("", "INPUT0", "zero_data: true")),
        "random": identity(batch=4, more=WARMUP.format("batch_size: 4 count: 3", "INPUT0",
                                                       "random_data: true")),
        "wrong": identity(more=WARMUP.format("", "INPUT9", "zero_data: true")),
    }

    def test_a_model_that_cannot_be_warmed_up_is_not_served(self):
        self.assertTrue(self.client.is_ready("zero"))
        self.assertTrue(self.client.is_ready("random"))
        self.assertFalse(self.client.is_ready("wrong"))
        self.assertRegex("".join(entry.reason for entry in self.client.index().values()), "INPUT[09]")

    def test_it_is_not_counted(self):
        self.assertEqual(0, self.client.statistics("random").inference_count)


if __name__ == "__main__":
    unittest.main()

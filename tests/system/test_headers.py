"""Headers that say how a request is to be worked on, up to what the model server gets to see."""

import json
import math
import tempfile
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

import pictures
from harness import SystemTest, inferpool
from model_servers import kserve
from processes import eventually

pb, config_pb = kserve.pb, kserve.config_pb

PICTURE = pictures.plain(64, 64)
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


OUTPUTS = (("num_dets", "INT32", [1]), ("det_boxes", "FP32", [2, 4]), ("det_scores", "FP32", [2]),
           ("det_classes", "INT32", [2]))


class WatchingServer:
    """A model server with one detector, `watched`, of five priority levels, that finds nothing and
    remembers what it was asked: (parameters, metadata, rows) of each ModelInfer."""

    def __init__(self):
        self.calls = []
        self.pause_s = 0
        handlers = {
            "ServerReady": (pb.ServerReadyRequest, lambda *_: pb.ServerReadyResponse(ready=True)),
            "ModelReady": (pb.ModelReadyRequest, lambda *_: pb.ModelReadyResponse(ready=True)),
            "RepositoryIndex": (pb.RepositoryIndexRequest, self.index),
            "ModelMetadata": (pb.ModelMetadataRequest, self.metadata),
            "ModelConfig": (pb.ModelConfigRequest, self.config),
            "ModelInfer": (pb.ModelInferRequest, self.infer),
        }
        self.server = grpc.server(ThreadPoolExecutor(8))
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            "inference.GRPCInferenceService",
            {name: grpc.unary_unary_rpc_method_handler(
                function, request_deserializer=kind.FromString,
                response_serializer=lambda message: message.SerializeToString())
             for name, (kind, function) in handlers.items()}),))
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.target = f"ipv4:127.0.0.1:{port}"
        self.server.start()

    @staticmethod
    def index(*_):
        response = pb.RepositoryIndexResponse()
        response.models.add(name="watched", version="1", state="READY")
        return response

    @staticmethod
    def metadata(*_):
        response = pb.ModelMetadataResponse(name="watched", versions=["1"])
        response.inputs.add(name="image", datatype="UINT8", shape=[-1, 64, 64, 3])
        for name, datatype, shape in OUTPUTS:
            response.outputs.add(name=name, datatype=datatype, shape=[-1, *shape])
        return response

    @staticmethod
    def config(*_):
        response = pb.ModelConfigResponse()
        response.config.name = "watched"
        response.config.max_batch_size = 4
        response.config.dynamic_batching.priority_levels = 5
        response.config.dynamic_batching.default_priority_level = 3
        return response

    def infer(self, request, context):
        rows = request.inputs[0].shape[0]
        self.calls.append(({name: value.int64_param for name, value in request.parameters.items()},
                           dict(context.invocation_metadata()), rows))
        time.sleep(self.pause_s)
        response = pb.ModelInferResponse(model_name="watched", model_version="1")
        for name, datatype, shape in OUTPUTS:
            response.outputs.add(name=name, datatype=datatype, shape=[rows, *shape])
            response.raw_output_contents.append(bytes(4 * rows * math.prod(shape)))
        return response


class HeadersTest(SystemTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory(prefix="ipkeys", dir="/tmp")
        cls.addClassCleanup(folder.cleanup)
        keys_file = Path(folder.name) / "keys.json"
        cls.keys = {}
        for priority in ("high", "normal", "low"):
            done = inferpool("keys", "add", priority, "--priority", priority, "--file", keys_file)
            assert done.returncode == 0, done.stderr
            cls.keys[priority] = done.stdout.strip()
        cls.server = WatchingServer()
        cls.addClassCleanup(lambda: cls.server.server.stop(0).wait())
        cls.instance = cls.start(
            {"modelserver.enabled": False, "backend.targets": [cls.server.target], "log.access": True,
             "backend.transport": "inline", "auth.keys_file": str(keys_file), "workers": 1,
             "threads": 12, "batch.max": 4, "batch.wait_us": 500_000},
            cleanup=cls.addClassCleanup)

    def ask(self, key="high", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.instance.predict("watched", PICTURE,
                                     headers={"X-API-Key": self.keys[key], **headers})

    def seen(self, key="high", **headers):
        """(parameters, metadata, rows) that the model server got with such a request."""
        before = len(self.server.calls)
        self.assert_good(self.ask(key, **headers))
        self.assertEqual(before + 1, len(self.server.calls))
        return self.server.calls[-1]

    # ------------------------------------------------------------ X-Priority

    def test_a_priority_is_the_models_level_and_the_keys_at_most(self):
        for key, asked, level in (("high", "high", 1), ("high", "normal", None), ("high", "low", 5),
                                  ("high", None, None), ("normal", "high", None), ("normal", "low", 5),
                                  ("low", "high", 5), ("low", None, 5)):
            with self.subTest(key=key, asked=asked):
                headers = {"X_Priority": asked} if asked else {}
                self.assertEqual({"priority": level} if level else {}, self.seen(key, **headers)[0])

    def test_another_priority_is_400(self):
        problem = self.assert_problem(self.ask(X_Priority="urgent"), 400, "bad-parameter")
        self.assertEqual("X-Priority", problem["parameter"])

    def test_over_v2_a_request_names_its_level_and_has_the_keys_at_most(self):
        body = json.dumps({
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 64, 64, 3],
                        "data": [0] * (64 * 64 * 3)}],
            "parameters": {"priority": 1}})
        for key, expected in (("high", {"priority": 1}), ("normal", {"priority": 3}),
                              ("low", {"priority": 5})):
            with self.subTest(key):
                answer = self.instance.request("POST", "/v2/models/watched/infer", body,
                                               {"X-API-Key": self.keys[key]})
                self.assertEqual(200, answer.status, answer.body)
                parameters = self.server.calls[-1][0]
                self.assertEqual(expected, {name: value for name, value in parameters.items()
                                            if name == "priority"})

    # ------------------------------------------------------------ X-Timeout-Ms

    def test_a_request_ends_at_its_own_deadline(self):
        self.seen()  # the model is known
        self.server.pause_s = 3
        try:
            answer = self.ask(X_Timeout_Ms="300")
            self.assert_problem(answer, 504, "model-too-slow")
            self.assertLess(answer.seconds, 2.5)
        finally:
            self.server.pause_s = 0
        self.assert_good(self.ask(X_Timeout_Ms="99999999999999999999"))

    def test_a_timeout_that_is_none_is_400(self):
        for text in ("0", "-5", "soon", "1.5", "1s"):
            with self.subTest(text):
                problem = self.assert_problem(self.ask(X_Timeout_Ms=text), 400, "bad-parameter")
                self.assertEqual("X-Timeout-Ms", problem["parameter"])

    # ------------------------------------------------------------ traceparent

    def test_a_trace_goes_on_to_the_model_server_and_into_the_log(self):
        metadata = self.seen(traceparent=TRACEPARENT, tracestate="a=1 , b@c=2")[1]
        self.assertEqual(TRACEPARENT, metadata["traceparent"])
        self.assertEqual("a=1,b@c=2", metadata["tracestate"])
        eventually(lambda: any(line.get("trace_id") == TRACE_ID for line in self.instance.log()),
                   "the trace is in the log")

    def test_an_invalid_trace_is_ignored(self):
        for text in ("nonsense", TRACEPARENT.upper(), "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
                     TRACEPARENT.replace("00-", "ff-", 1), TRACEPARENT + "-more"):
            with self.subTest(text):
                metadata = self.seen(traceparent=text, tracestate="a=1")[1]
                self.assertNotIn("traceparent", metadata)
                self.assertNotIn("tracestate", metadata)
        metadata = self.seen(traceparent=TRACEPARENT, tracestate="no list")[1]
        self.assertIn("traceparent", metadata)
        self.assertNotIn("tracestate", metadata)

    def test_of_several_lines_with_the_same_name_the_first_counts(self):
        def raw(*lines):
            head = "\r\n".join(("POST /v1/predict/watched HTTP/1.1", "Host: localhost", f"X-API-Key: {self.keys['high']}",
                                f"Content-Length: {len(PICTURE)}", *lines))
            return self.instance.raw(head.encode() + b"\r\n\r\n" + PICTURE)
        self.assert_good(raw(f"traceparent: {TRACEPARENT}", "tracestate: a=1", "tracestate: b=2", "X-Priority: low",
                             "X-Priority: urgent", f"X-API-Key: {self.keys['low']}x"))
        parameters, metadata, _ = self.server.calls[-1]
        self.assertEqual(("a=1", 5), (metadata["tracestate"], parameters["priority"]))
        self.assert_problem(raw("X-Priority: urgent", "X-Priority: low"), 400, "bad-parameter")
        self.assert_problem(raw("Authorization: Bearer a", "Authorization: Bearer a"), 400, "bad-request")

    def test_requests_of_different_priorities_are_not_joined(self):
        self.server.pause_s = 0.2
        before = len(self.server.calls)
        try:
            with ThreadPoolExecutor(12) as pool:
                answers = list(pool.map(lambda asked: self.ask(X_Priority=asked),
                                        ["high", "normal", "low"] * 4))
        finally:
            self.server.pause_s = 0
        for answer in answers:
            self.assert_good(answer)
        rows = {1: 0, None: 0, 5: 0}
        for parameters, _, joined in self.server.calls[before:]:
            rows[parameters.get("priority")] += joined
        self.assertEqual({1: 4, None: 4, 5: 4}, rows)
        self.assertLess(len(self.server.calls) - before, 12, "none were joined at all")


if __name__ == "__main__":
    unittest.main()

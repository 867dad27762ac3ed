"""The KServe v2 protocol over HTTP, through nginx, as clients of Triton's speak it."""

import gzip
import http.client
import json
import shutil
import tempfile
import unittest
from pathlib import Path

import numpy as np

import model_servers
from harness import SystemTest
from model_servers import pb
from pictures import SOURCE
from v2_models import VALUES, array_of, repository

from serving import threads  # of the folder that v2_models adds
from v2_client import Input, V2Client, infer_body, output  # needs it too


class V2Test(SystemTest):
    SETTINGS = {}

    @classmethod
    def setUpClass(cls):
        folder = Path(tempfile.mkdtemp(prefix="ipv2", dir="/tmp"))
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        repository(folder)
        cls.instance = cls.start({"modelserver.repository": str(folder), "limits.body_mb": 8},
                                 cleanup=cls.addClassCleanup)
        cls.grpc = model_servers.embedded(cls.instance)
        cls.addClassCleanup(cls.grpc.close)

    def setUp(self):
        self.client = V2Client(self.instance)
        self.addCleanup(self.client.close)

    def assert_json(self, answer):
        self.assertEqual(200, answer.status, answer.body[:500])
        self.assertEqual("application/json", answer.header("Content-Type"))
        self.assert_common_headers(answer)
        return answer.json()

    def assert_error(self, answer, status, text="."):
        self.assertEqual(status, answer.status, answer.body[:500])
        self.assertEqual("application/json", answer.header("Content-Type"))
        self.assert_common_headers(answer)
        self.assertEqual(["error"], list(answer.json()))
        self.assertRegex(answer.json()["error"], text)
        if status == 503:
            self.assertRegex(answer.header("Retry-After") or "", r"^\d+$")
        return answer.json()["error"]

    # ------------------------------------------------------------ about servers and models

    def test_health_and_server_metadata(self):
        self.assertEqual({"live": True}, self.assert_json(self.client.get("/v2/health/live")))
        self.assertEqual({"ready": True}, self.assert_json(self.client.get("/v2/health/ready")))
        metadata = self.assert_json(self.client.get("/v2"))
        theirs = self.grpc.ServerMetadata(pb.ServerMetadataRequest())
        self.assertEqual((theirs.name, theirs.version), (metadata["name"], metadata["version"]))
        self.assertIn("binary_tensor_data", metadata["extensions"])
        self.assertNotIn("system_shared_memory", metadata["extensions"])

    def test_model_metadata_is_the_model_servers(self):
        for path, version in (("/v2/models/simple", ""), ("/v2/models/versions/versions/1", "1"),
                              ("/v2/models/shapes", ""), ("/v2/models/s%69mple", "")):
            with self.subTest(path):
                metadata = self.assert_json(self.client.get(path))
                theirs = self.grpc.ModelMetadata(
                    pb.ModelMetadataRequest(name=metadata["name"], version=version))
                self.assertEqual(list(theirs.versions), metadata["versions"])
                self.assertEqual(theirs.platform, metadata["platform"])
                for kind in ("inputs", "outputs"):
                    self.assertEqual([{"name": one.name, "datatype": one.datatype,
                                       "shape": list(one.shape)} for one in getattr(theirs, kind)],
                                     metadata[kind])

    def test_model_config_is_written_as_triton_does(self):
        config = self.assert_json(self.client.get("/v2/models/simple/config"))
        self.assertEqual(("simple", "add_sub", 8),
                         (config["name"], config["backend"], config["max_batch_size"]))
        self.assertEqual("TYPE_INT32", config["input"][0]["data_type"])
        self.assertEqual([16], config["input"][0]["dims"])
        versioned = self.assert_json(self.client.get("/v2/models/versions/versions/3/config"))
        self.assertEqual([1, 3], versioned["version_policy"]["specific"]["versions"])

    def test_models_are_ready_or_not(self):
        for path in ("simple", "versions", "versions/versions/1", "versions/versions/3"):
            answer = self.assert_json(self.client.get(f"/v2/models/{path}/ready"))
            self.assertEqual({"name": path.split("/")[0], "ready": True}, answer)
        for path in ("nobody", "versions/versions/2", "versions/versions/9"):
            self.assert_error(self.client.get(f"/v2/models/{path}/ready"), 400, "not ready")

    def test_the_index(self):
        theirs = {(entry.name, entry.version): entry.state for entry in self.grpc.index().values()}
        for method, body in (("POST", None), ("POST", b""), ("POST", b"{}"), ("GET", None),
                             ("POST", b'{"ready":false}')):
            answer = self.assert_json(self.client.request(method, "/v2/repository/index", body))
            self.assertEqual(theirs, {(entry["name"], entry.get("version", "")): entry["state"]
                                      for entry in answer})
        # Triton's client names no length when it has nothing to say.
        bare = self.instance.raw(b"POST /v2/repository/index HTTP/1.1\r\nHost: localhost\r\n"
                                 b"Connection: close\r\n\r\n")
        self.assertEqual(len(theirs), len(bare.json()))
        ready = self.assert_json(
            self.client.request("POST", "/v2/repository/index", json.dumps({"ready": True})))
        self.assertEqual({"READY"}, {entry["state"] for entry in ready})
        self.assertEqual({"1", "3"}, {entry["version"] for entry in ready
                                      if entry["name"] == "versions"})
        for body in (b"[]", b'{"ready":1}', b"{", b'{"ready":true}x'):
            self.assert_error(self.client.request("POST", "/v2/repository/index", body), 400)

    def test_statistics_count(self):
        def count(path):
            (one,) = self.assert_json(self.client.get(path))["model_stats"]
            return one["inference_count"], one["inference_stats"]["success"]["count"]
        before = count("/v2/models/identity_int8/stats")
        self.client.infer("identity_int8", [Input("INPUT0", array_of("INT8"))])
        self.assertEqual((before[0] + 1, before[1] + 1),
                         count("/v2/models/identity_int8/versions/1/stats"))
        everybody = self.assert_json(self.client.get("/v2/models/stats"))["model_stats"]
        self.assertLessEqual({"simple", "faces_cascade", "versions"}, {one["name"] for one in everybody})

    # ------------------------------------------------------------ inference

    def test_every_datatype_comes_back_as_it_was_sent(self):
        for datatype in VALUES:
            array = array_of(datatype)
            for binary_in in (True, False):
                for binary_out in (True, False, None):
                    if datatype == "FP16" and (not binary_in or binary_out is False):
                        continue
                    with self.subTest(datatype, binary_in=binary_in, binary_out=binary_out):
                        outputs = (None if binary_out is None else
                                   [output("OUTPUT0", binary_out)])
                        result = self.client.infer(f"identity_{datatype.lower()}",
                                                   [Input("INPUT0", array, binary_in)], outputs,
                                                   request_id="an id")
                        found = result.array("OUTPUT0")
                        self.assertEqual(array.shape, found.shape)
                        if datatype == "BYTES":
                            self.assertEqual(list(array), [
                                one.encode() if isinstance(one, str) else one for one in found])
                        else:
                            self.assertEqual(array.tobytes(), found.tobytes())
                        self.assertEqual(("an id", f"identity_{datatype.lower()}", "1"),
                                         tuple(result.json[key] for key in
                                               ("id", "model_name", "model_version")))

    def test_what_json_cannot_carry_travels_as_binary(self):
        bits = np.array([0x3f80, 0xffff], dtype=np.uint16)
        result = self.client.infer("identity_bf16", [Input("INPUT0", bits, datatype="BF16")])
        self.assertEqual(bits.tobytes(), result.array("OUTPUT0").tobytes())
        for datatype in ("BF16", "FP16"):
            model = f"identity_{datatype.lower()}"
            self.assert_error(self.client.infer_answer(
                model, [Input("INPUT0", bits, False, datatype)]), 400, "binary form")
            self.assert_error(self.client.infer_answer(
                model, [Input("INPUT0", bits, True, datatype)], [output("OUTPUT0", False)]),
                400, "binary form")
        foreign = np.array([b"\xff\xfe"], dtype=object)
        self.assert_error(self.client.infer_answer(
            "identity_bytes", [Input("INPUT0", foreign)], [output("OUTPUT0", False)]),
            400, "UTF-8")
        result = self.client.infer("identity_bytes", [Input("INPUT0", foreign)])
        self.assertEqual([b"\xff\xfe"], list(result.array("OUTPUT0")))

    def test_nan_and_infinities_are_written_as_triton_writes_them(self):
        array = np.array([np.nan, np.inf, -np.inf], dtype=np.float32)
        answer = self.client.infer_answer("identity_fp32", [Input("INPUT0", array, False)],
                                          [output("OUTPUT0", False)])
        self.assertIn(b'"data":[NaN,Infinity,-Infinity]', answer.body)

    def test_plain_json_as_with_curl(self):
        """No binary anything; curl's own Content-Type; data nested."""
        body = {"inputs": [{"name": "INPUT0", "shape": [2, 16], "datatype": "INT32",
                            "data": [list(range(16)), list(range(16, 32))]},
                           {"name": "INPUT1", "shape": [2, 16], "datatype": "INT32",
                            "data": [1] * 32}], "unknown": {"is": ["ignored"]}}
        answer = self.client.request("POST", "/v2/models/simple/infer", json.dumps(body, indent=2),
                                     {"Content-Type": "application/x-www-form-urlencoded"})
        found = {one["name"]: one for one in self.assert_json(answer)["outputs"]}
        self.assertEqual({"name": "OUTPUT0", "datatype": "INT32", "shape": [2, 16],
                          "data": [i + 1 for i in range(32)]}, found["OUTPUT0"])
        self.assertEqual([i - 1 for i in range(32)], found["OUTPUT1"]["data"])

    def test_one_output_in_each_form(self):
        ones = np.ones((1, 16), dtype=np.int32)
        inputs = [Input("INPUT0", ones * 5), Input("INPUT1", ones * 3, binary=False)]
        result = self.client.infer("simple", inputs,
                                   [output("OUTPUT1", True), output("OUTPUT0", False)])
        self.assertEqual({"OUTPUT1"}, set(result.raw))
        self.assertTrue((result.array("OUTPUT0") == 8).all())
        self.assertTrue((result.array("OUTPUT1") == 2).all())
        result = self.client.infer("simple", inputs, [output("OUTPUT0")])
        self.assertEqual(["OUTPUT0"], [one["name"] for one in result.json["outputs"]])

    def test_classification(self):
        array = np.array([[[0.1, 0.7, 0.2]]], dtype=np.float32)
        for binary in (True, False):
            result = self.client.infer("batched", [Input("INPUT0", array)],
                                       [output("OUTPUT0", binary, class_count=2)])
            found = [one if isinstance(one, str) else one.decode()
                     for one in result.array("OUTPUT0").flatten()]
            self.assertEqual(["0.700000:1", "0.200000:2"], found)

    def test_versions(self):
        array = np.array([1, 2], dtype=np.int32)
        for version, served in (("", "3"), ("1", "1"), ("3", "3")):
            result = self.client.infer("versions", [Input("INPUT0", array)], version=version)
            self.assertEqual(served, result.json["model_version"])
        for version in ("2", "9"):
            answer = self.client.infer_answer("versions", [Input("INPUT0", array)],
                                              version=version)
            self.assertIn(answer.status, (404, 503))
            self.assert_error(answer, answer.status, "versions")

    def test_compressed_bodies(self):
        array = np.zeros(10_000, dtype=np.float32)
        for compression in ("gzip", "deflate"):
            result = self.client.infer("identity_fp32", [Input("INPUT0", array)],
                                       compression=compression)
            self.assertEqual(array.tobytes(), result.array("OUTPUT0").tobytes())
        # RFC 9110, 8.4.1.3, and RFC 1952, 2.2: x-gzip is gzip, and several members are one body.
        body = json.dumps({"inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [4], "data": [1, 2, 3, 4]}]})
        members = b"".join(gzip.compress(body[at:at + 20].encode()) for at in range(0, len(body), 20))
        for coding in ("gzip", "x-gzip", "X-GZIP", "identity, gzip"):
            for packed in (gzip.compress(body.encode()), members):
                answer = self.instance.request("POST", "/v2/models/identity_fp32/infer", packed,
                                               {"Content-Type": "application/json", "Content-Encoding": coding})
                self.assertEqual((200, [1, 2, 3, 4]), (answer.status, answer.json()["outputs"][0]["data"]))
        for spoilt in (members + b"\0", members + b"x", members[:-1], members[:-4] + b"\1\0\0\0"):
            answer = self.instance.request("POST", "/v2/models/identity_fp32/infer", spoilt,
                                           {"Content-Type": "application/json", "Content-Encoding": "gzip"})
            self.assert_error(answer, 400, "gzip")
        bomb = [Input("INPUT0", np.zeros(9 << 20, dtype=np.uint8))]
        self.assert_error(self.client.infer_answer("identity_uint8", bomb, compression="gzip"),
                          413, "unpacked")
        refused = self.client.infer_answer("identity_fp32", [Input("INPUT0", array)], headers={"Content-Encoding": "br"})
        self.assert_error(refused, 415, "br")
        self.assertEqual("gzip, deflate", refused.header("Accept-Encoding"))
        self.assert_error(self.client.infer_answer("identity_fp32", [Input("INPUT0", array)],
                                                   headers={"Content-Encoding": "gzip"}),
                          400, "gzip")

    def test_only_tensors_are_packed(self):
        # tritonclient.http.aio accepts gzip whatever it asks for, and unpacks what infer() gets alone.
        packed = {"Accept-Encoding": "gzip, deflate"}
        for method, path in (("GET", "/v2/models/simple/config"), ("GET", "/v2/models/stats"),
                             ("POST", "/v2/repository/index"),
                             ("GET", f"/v2/models/{'n' * 900}"), ("GET", f"/v2/none/{'n' * 900}"),
                             ("POST", f"/v2/models/{'n' * 900}/infer"),
                             ("POST", f"/v2/models/{'%01' * 900}/infer")):
            with self.subTest(path):
                body = b'{"inputs": []}' if path.endswith("/infer") else b""
                answer = self.client.request(method, path, body, packed)
                self.assertIsNone(answer.header("Content-Encoding"))
                self.assertGreater(len(answer.body), 512)
                json.loads(answer.body)
        array = np.zeros(10_000, dtype=np.float32)
        answer = self.client.infer_answer("identity_fp32", [Input("INPUT0", array, binary=False)],
                                          [output("OUTPUT0", binary=False)], headers=packed)
        self.assertEqual("gzip", answer.header("Content-Encoding"))
        self.assertEqual([0.0] * 10_000, json.loads(gzip.decompress(answer.body))["outputs"][0]["data"])

    def test_large_tensors_in_both_forms(self):
        array = np.random.default_rng(1).random(300_000, dtype=np.float32)
        for binary in (True, False):
            result = self.client.infer("identity_fp32", [Input("INPUT0", array, binary)],
                                       [output("OUTPUT0", binary)])
            self.assertEqual(array.tobytes(), result.array("OUTPUT0").tobytes())

    def test_a_detection_gives_the_tensors_that_grpc_gives(self):
        picture = (SOURCE / "tests/data/vision/baseline.jpg.bgr").read_bytes()
        pixels = np.frombuffer((picture * (3 * 96 * 96 // len(picture) + 1))[:3 * 96 * 96],
                               np.uint8).reshape(96, 96, 3)
        net = np.random.default_rng(2).random((1, 3, 320, 320), dtype=np.float32)
        for model, array in (("faces_cascade", pixels), ("shapes", net)):
            name = self.client.get(f"/v2/models/{model}").json()["inputs"][0]["name"]
            expected = self.grpc.infer(model, {name: array})
            result = self.client.infer(model, [Input(name, array)])
            self.assertEqual(set(expected), set(result.raw))
            for one, tensor in expected.items():
                self.assertEqual(tensor.tobytes(), result.array(one).tobytes(), (model, one))

    def test_side_by_side(self):
        def work(number):
            client = V2Client(self.instance)
            try:
                for turn in range(10):
                    array = np.full((2, 50), number * 100 + turn, dtype=np.int32).reshape(-1)
                    result = client.infer("identity_int32", [Input("INPUT0", array)],
                                          request_id=f"{number}-{turn}")
                    self.assertEqual(f"{number}-{turn}", result.json["id"])
                    self.assertEqual(array.tobytes(), result.array("OUTPUT0").tobytes())
            finally:
                client.close()
            return True
        with threads(8) as pool:
            self.assertTrue(all(pool.map(work, range(8))))

    # ------------------------------------------------------------ what is refused

    def test_errors_of_the_model_server(self):
        array = np.zeros(3, dtype=np.int32)
        self.assert_error(self.client.infer_answer("nobody", [Input("INPUT0", array)]),
                          404, "^Request for unknown model")
        for path in ("/v2/models/nobody", "/v2/models/nobody/config", "/v2/models/nobody/stats"):
            self.assert_error(self.client.get(path), 404, "unknown model")
        self.assert_error(self.client.infer_answer("identity_int32", [Input("WRONG", array)]),
                          400, "INPUT0")
        self.assert_error(self.client.infer_answer("identity_int8", [Input("INPUT0", array)]),
                          400, "INT")
        self.assert_error(self.client.infer_answer("identity_int32", [Input("INPUT0", array)],
                                                   [output("WRONG")]), 400, "WRONG")

    def test_malformed_requests(self):
        tensor = {"name": "INPUT0", "shape": [2], "datatype": "INT32", "data": [1, 2]}
        for change, text in ((dict(shape=[3]), "elements"), (dict(shape=[-1]), "shape"),
                             (dict(shape=[2**40, 2**40]), "."), (dict(data=[1, 2**31]), "range"),
                             (dict(data=["1", 2]), "INT32"), (dict(datatype="INT"), "datatype"),
                             (dict(name=""), "name"), (dict(data=None), "array")):
            body = json.dumps({"inputs": [{**tensor, **change}]})
            with self.subTest(body):
                self.assert_error(
                    self.client.request("POST", "/v2/models/identity_int32/infer", body), 400, text)
        for body in (b"", b"{", b"null", b"[]", b'{"inputs":{}}', b"\xff", b"[" * 200_000,
                     b'{"inputs":[{"data":' + b"[" * 200_000, b'{"inputs":[],"inputs":[]}',
                     json.dumps({"inputs": [tensor, tensor]}).encode(),
                     json.dumps({"inputs": [tensor]}).encode() + b"x"):
            with self.subTest(body[:60]):
                self.assert_error(
                    self.client.request("POST", "/v2/models/identity_int32/infer", body), 400)

    def test_the_binary_part_must_add_up(self):
        body, header = infer_body([Input("INPUT0", np.zeros(4, dtype=np.int32))])
        for sent, length in ((body + b"x", header), (body[:-1], header), (body, header - 1),
                             (body, header + 1), (body, len(body) + 1), (body, 0), (body, "x"),
                             (body, -1), (body, 2**70), (body, None)):
            with self.subTest(length, bytes=len(sent)):
                headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
                self.assert_error(self.client.request(
                    "POST", "/v2/models/identity_int32/infer", sent, headers), 400)

    def test_what_is_for_administrators_is_403(self):
        for method, path in (("POST", "/v2/repository/models/simple/load"),
                             ("POST", "/v2/repository/models/simple/unload"),
                             ("GET", "/v2/systemsharedmemory/status"),
                             ("POST", "/v2/systemsharedmemory/region/a/register"),
                             ("POST", "/v2/cudasharedmemory/unregister"),
                             ("GET", "/v2/trace/setting"), ("POST", "/v2/logging"),
                             ("GET", "/v2/models/simple/trace/setting")):
            self.assert_error(self.client.request(method, path, b"{}" if method == "POST" else None),
                              403, "administrators")

    def test_shared_memory_is_not_for_web_clients(self):
        tensor = {"name": "INPUT0", "shape": [2], "datatype": "INT32",
                  "parameters": {"shared_memory_region": "a", "shared_memory_byte_size": 8}}
        self.assert_error(self.client.request(
            "POST", "/v2/models/identity_int32/infer", json.dumps({"inputs": [tensor]})),
            400, "shared memory")
        wanted = {"name": "OUTPUT0", "parameters": tensor["parameters"]}
        del tensor["parameters"]
        tensor["data"] = [1, 2]
        self.assert_error(self.client.request(
            "POST", "/v2/models/identity_int32/infer",
            json.dumps({"inputs": [tensor], "outputs": [wanted]})), 400, "shared memory")

    def test_routes_and_methods(self):
        for path in ("/v2/", "/v2/health", "/v2/health/x", "/v2/models", "/v2/models/",
                     "/v2/models/simple/", "/v2/models/simple/generate",
                     "/v2/models/simple/versions/x/ready", "/v2/models/simple/versions",
                     "/v2/models/simple/versions//infer", "/v2/repository", "/v2/x"):
            with self.subTest(path):
                self.assert_error(self.client.get(path), 404, "there is nothing at")
        for method, path, allowed in (("GET", "/v2/models/simple/infer", "POST"),
                                      ("POST", "/v2", "GET, HEAD"),
                                      ("DELETE", "/v2/repository/index", "GET, HEAD, POST"),
                                      ("PUT", "/v2/models/simple", "GET, HEAD")):
            answer = self.client.request(method, path)
            self.assert_error(answer, 405, method)
            self.assertEqual(allowed, answer.header("Allow"))

    def test_bodies_without_a_length_and_too_long_ones(self):
        connection = http.client.HTTPSConnection("localhost", self.instance.port,
                                                 context=self.instance.context, timeout=60)
        self.addCleanup(connection.close)
        connection.request("POST", "/v2/models/simple/infer", iter([b"{}"]), encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})
        self.assertIn(connection.getresponse().status, (400, 411))
        answer = self.instance.request("POST", "/v2/models/simple/infer", bytes(9 << 20))
        self.assertEqual(413, answer.status)


if __name__ == "__main__":
    unittest.main()

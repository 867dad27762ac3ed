"""Whatever comes in, the server lives and serves the next."""

import random
import socket
import unittest
from pathlib import Path

import grpc
import numpy as np

from kserve import Client, add_input, infer_request, pb
from serving import Server, ServerTest, add_sub, identity, threads

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
METHODS = [method.name for method in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods]


class HostileTests(ServerTest):
    MODELS = {"simple": add_sub(), "echo": identity("INT32", (-1,)), "strings": identity("BYTES")}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.MODELS, tcp=True)
        cls.addClassCleanup(cls.server.stop)
        cls.client = cls.server.client

    def tearDown(self):
        client = Client(self.server.address)
        self.addCleanup(client.close)
        self.assert_alive(client)
        answer = client.infer("echo", {"INPUT0": np.arange(3, dtype=np.int32)})
        self.assertEqual([0, 1, 2], list(answer["OUTPUT0"]))

    def connect(self):
        host, _, port = self.server.address.rpartition(":")
        connection = socket.create_connection((host, int(port)), timeout=20)
        self.addCleanup(connection.close)
        return connection

    def peak_memory_mib(self):
        for line in Path(f"/proc/{self.server.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) >> 10
        raise AssertionError("no VmHWM")

    def outcome(self, method, data):
        """Bytes as they are, as the request of an RPC; its status."""
        call = self.client.channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
        try:
            call(data, timeout=20)
            return grpc.StatusCode.OK
        except grpc.RpcError as error:
            return error.code()

    # ------------------------------------------------------------ bytes

    def test_garbage_on_the_port(self):
        noise = random.Random(1)
        for data in (b"\0" * 1000, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\0" * 100,
                     PREFACE, PREFACE + noise.randbytes(5000), PREFACE[:10], b"\xff" * 100_000,
                     PREFACE + b"\xff\xff\xff" + bytes(6), PREFACE + bytes(9) * 1000,
                     *(noise.randbytes(2000) for _ in range(20))):
            connection = self.connect()
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except OSError:
                pass

    def test_connections_that_say_nothing(self):
        for _ in range(200):
            self.connect()
        self.assert_alive()

    def test_no_protobuf(self):
        noise = random.Random(2)
        for method in METHODS:
            if method != "ModelStreamInfer":
                for size in (1, 3, 10, 1000):
                    self.outcome(method, noise.randbytes(size))

    def test_truncated_requests(self):
        data = infer_request("simple", {name: np.zeros((1, 16), np.int32)
                                        for name in ("INPUT0", "INPUT1")}).SerializeToString()
        self.assertEqual(grpc.StatusCode.OK, self.outcome("ModelInfer", data))
        for size in range(len(data)):
            self.assertNotEqual(grpc.StatusCode.OK, self.outcome("ModelInfer", data[:size]), size)

    def test_requests_with_a_wrong_byte(self):
        noise = random.Random(3)
        data = infer_request("strings", {"INPUT0": np.array([b"abc", b"", b"xyz"], object)},
                             parameters={"timeout": 5, "x": "y"}).SerializeToString()
        for _ in range(500):
            wrong = bytearray(data)
            for _ in range(noise.randint(1, 3)):
                wrong[noise.randrange(len(wrong))] = noise.randrange(256)
            self.assertNotIn(self.outcome("ModelInfer", bytes(wrong)),
                             (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED))

    def test_a_stream_of_garbage(self):
        call = self.client.channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        noise = random.Random(4)
        try:
            self.assertEqual([], list(call(iter([noise.randbytes(100)] * 5), timeout=20)))
        except grpc.RpcError as error:
            self.assertNotEqual(grpc.StatusCode.DEADLINE_EXCEEDED, error.code())

    # ------------------------------------------------------------ sizes

    def test_a_very_large_request_and_its_answer(self):
        array = np.arange(15_000_000, dtype=np.int32)  # 60 MB
        answer = self.client.infer("echo", {"INPUT0": array})
        self.assertTrue(np.array_equal(array, answer["OUTPUT0"]))

    def test_a_request_past_the_limit(self):
        request = pb.ModelInferRequest(model_name="echo")
        add_input(request, "INPUT0", "INT32", [80 << 20], bytes(320 << 20))
        self.assert_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "", self.client.ModelInfer, request)

    def test_claims_cost_no_memory(self):
        before = self.peak_memory_mib()
        for shape in ([2 ** 40], [2 ** 31, 2 ** 9], [2 ** 20, 2 ** 20]):
            for model, datatype in (("strings", "BYTES"), ("echo", "INT32")):
                request = pb.ModelInferRequest(model_name=model)
                add_input(request, "INPUT0", datatype, shape, b"\0\0\0\0")
                self.assert_error(grpc.StatusCode.INVALID_ARGUMENT, "", self.client.ModelInfer,
                                  request)
        self.assertLess(self.peak_memory_mib() - before, 100)

    def test_very_many_of_everything(self):
        request = pb.ModelInferRequest(model_name="echo")
        request.inputs.add(name="INPUT0", datatype="INT32", shape=[1] * 100_000)
        request.raw_input_contents.append(bytes(4))
        self.assert_error(grpc.StatusCode.INVALID_ARGUMENT, "", self.client.ModelInfer, request)
        request = pb.ModelInferRequest(model_name="echo")
        for i in range(20_000):
            add_input(request, f"INPUT{i}", "INT32", [1], bytes(4))
        self.assert_error(grpc.StatusCode.INVALID_ARGUMENT, "", self.client.ModelInfer, request)
        request = infer_request("echo", {"INPUT0": np.zeros(1, np.int32)})
        for i in range(20_000):
            request.parameters[f"p{i}"].int64_param = i
        self.client.ModelInfer(request)

    def test_texts_that_are_none(self):
        for name in ("\0", "a\0b", "../../etc", "{}{}%s%n", "x" * 1_000_000):
            self.assert_error(grpc.StatusCode.NOT_FOUND, "unknown model", self.client.ModelInfer,
                              pb.ModelInferRequest(model_name=name))
        # No UTF-8, in the field of the model's name.
        self.assertNotEqual(grpc.StatusCode.OK, self.outcome("ModelInfer", b"\x0a\x02\xc3\x28"))

    def test_callers_that_come_and_go(self):
        request = infer_request("echo", {"INPUT0": np.zeros(100_000, np.int32)})

        def come_and_go(_):
            call = self.client.ModelInfer.future(request, timeout=20)
            call.cancel()
        with threads(8) as pool:
            list(pool.map(come_and_go, range(200)))


if __name__ == "__main__":
    unittest.main()

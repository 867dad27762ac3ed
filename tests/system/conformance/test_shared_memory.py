"""The system-shared-memory extension, with segments that behave and segments that do not."""

import threading
import time
import unittest
from pathlib import Path

import grpc
import numpy as np

from kserve import (add_input, add_output, in_memory, infer_request, output_arrays, pack_bytes, pb,
                    unpack_bytes)
from segments import Segment
from serving import ServerTest, add_sub, eventually, identity

INVALID = grpc.StatusCode.INVALID_ARGUMENT
INTERNAL = grpc.StatusCode.INTERNAL
NOT_FOUND = grpc.StatusCode.NOT_FOUND


class SharedMemoryTest(ServerTest):
    MODELS = {"simple": add_sub(), "echo": identity("FP32", (-1,)), "strings": identity("BYTES"),
              "slow": identity("FP32", (-1,), delay_ms=400)}

    def segment(self, size):
        segment = Segment(size)
        self.addCleanup(segment.close)
        return segment

    def register(self, name, segment, byte_size=None, offset=0):
        self.client.SystemSharedMemoryRegister(pb.SystemSharedMemoryRegisterRequest(
            name=name, key=segment.key, offset=offset,
            byte_size=segment.size - offset if byte_size is None else byte_size))
        self.addCleanup(self.unregister, name)

    def unregister(self, name=""):
        self.client.SystemSharedMemoryUnregister(
            pb.SystemSharedMemoryUnregisterRequest(name=name))

    def region(self, name, size):
        segment = self.segment(size)
        self.register(name, segment)
        return segment

    def regions(self, name=""):
        return dict(self.client.SystemSharedMemoryStatus(
            pb.SystemSharedMemoryStatusRequest(name=name)).regions)

    @staticmethod
    def request(model, count, source=None, target=None, datatype="FP32"):
        """Identity: `count` elements from and to those parameters."""
        request = pb.ModelInferRequest(model_name=model)
        raw = bytes(4 * count) if source is None else None
        add_input(request, "INPUT0", datatype, [count], raw, parameters=source)
        add_output(request, "OUTPUT0", target)
        return request


class RegionTests(SharedMemoryTest):
    def register_error(self, code, text, **fields):
        self.assert_error(code, text, self.client.SystemSharedMemoryRegister,
                          pb.SystemSharedMemoryRegisterRequest(**fields))

    def test_register_status_unregister(self):
        segment = self.segment(8192)
        self.register("a", segment, byte_size=4096, offset=4096)
        self.register("b", segment, byte_size=100)
        self.assertEqual({"a", "b"}, set(self.regions()))
        region = self.regions("a")["a"]
        self.assertEqual(("a", segment.key, 4096, 4096),
                         (region.name, region.key, region.offset, region.byte_size))
        self.unregister("a")
        self.assertEqual({"b"}, set(self.regions()))
        self.assert_error(NOT_FOUND, "a", self.client.SystemSharedMemoryStatus,
                          pb.SystemSharedMemoryStatusRequest(name="a"))

    def test_an_empty_name_means_all(self):
        segment = self.segment(100)
        for name in ("a", "b", "c"):
            self.register(name, segment)
        self.unregister()
        self.assertEqual({}, self.regions())

    def test_unregistering_a_stranger_succeeds(self):
        self.unregister("nobody")

    def test_a_name_is_given_once(self):
        segment = self.region("twice", 100)
        self.register_error(grpc.StatusCode.ALREADY_EXISTS, "twice", name="twice",
                            key=segment.key, byte_size=100)
        self.unregister("twice")
        self.register("twice", segment)

    def test_what_cannot_be_opened(self):
        for key in ("/ipconf-no-such-segment", "/", "", "/..", "/../etc/passwd", "/a/b", "/\0x",
                    "/" + "x" * 300):
            with self.subTest(key=key[:20]):
                with self.assertRaises(grpc.RpcError) as caught:
                    self.client.SystemSharedMemoryRegister(pb.SystemSharedMemoryRegisterRequest(
                        name="bad", key=key, byte_size=100))
                self.assertIn(caught.exception.code(), (INTERNAL, INVALID))
        self.register_error(INTERNAL, "no-such-segment", name="bad", key="/ipconf-no-such-segment",
                            byte_size=100)
        self.assertEqual({}, self.regions())

    def test_a_region_outside_of_its_segment(self):
        segment = self.segment(4096)
        for offset, byte_size in ((0, 4097), (4096, 1), (1, 4096), (2 ** 63, 4096), (0, 2 ** 64 - 1),
                                  (2 ** 64 - 4096, 8192)):
            with self.subTest(offset=offset, byte_size=byte_size):
                with self.assertRaises(grpc.RpcError) as caught:
                    self.client.SystemSharedMemoryRegister(pb.SystemSharedMemoryRegisterRequest(
                        name="bad", key=segment.key, offset=offset, byte_size=byte_size))
                self.assertIn(caught.exception.code(), (INTERNAL, INVALID))

    def test_recycling_leaves_no_mapping(self):
        maps = Path(f"/proc/{self.server.process.pid}/maps")
        descriptors = Path(f"/proc/{self.server.process.pid}/fd")
        before = len(list(descriptors.iterdir()))
        for _ in range(200):
            segment = Segment(4096)
            try:
                self.client.SystemSharedMemoryRegister(pb.SystemSharedMemoryRegisterRequest(
                    name="again", key=segment.key, byte_size=4096))
                self.client.ModelInfer(self.request("echo", 8, in_memory("again", 32),
                                                    in_memory("again", 32, 64)))
                self.unregister("again")
            finally:
                segment.close()
        self.assertEqual({}, self.regions())
        eventually(lambda: "ipconf-" not in maps.read_text(), "everything is unmapped")
        self.assertLess(len(list(descriptors.iterdir())), before + 20)


class RefusedTests(ServerTest):
    """A server that was not told to take its clients' shared memory, as Triton since 2.69."""

    def setUp(self):
        self.client = self.start({"echo": identity("FP32", (-1,))}, client_shm=False).client

    def test_nothing_is_registered(self):
        segment = Segment(4096)
        self.addCleanup(segment.close)
        text = "Client shared memory is disabled.*--allow-client-shm=true"
        client = self.client
        for call, request in (
                (client.SystemSharedMemoryRegister, pb.SystemSharedMemoryRegisterRequest(
                    name="r", key=segment.key, byte_size=4096)),
                (client.SystemSharedMemoryUnregister, pb.SystemSharedMemoryUnregisterRequest()),
                (client.CudaSharedMemoryRegister, pb.CudaSharedMemoryRegisterRequest(name="r")),
                (client.CudaSharedMemoryUnregister, pb.CudaSharedMemoryUnregisterRequest())):
            self.assert_error(grpc.StatusCode.UNIMPLEMENTED, text, call, request)
        status = client.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest())
        self.assertEqual({}, dict(status.regions))
        self.assert_error(NOT_FOUND, "Unable to find shared memory region", client.ModelInfer,
                          SharedMemoryTest.request("echo", 1, in_memory("r", 4)))
        client.ModelInfer(SharedMemoryTest.request("echo", 1))


class InferTests(SharedMemoryTest):
    def test_in_and_out(self):
        values = np.random.default_rng(5).random(1000, np.float32)
        source, target = self.region("in", 4000), self.region("out", 5000)
        source.put(values)
        response = self.client.ModelInfer(
            self.request("echo", 1000, in_memory("in", 4000), in_memory("out", 4900, 100)))
        np.testing.assert_array_equal(values, target.array(np.float32, 1000, 100))
        (output,) = response.outputs
        self.assertEqual([1000], list(output.shape))
        self.assertEqual("out", output.parameters["shared_memory_region"].string_param)
        self.assertEqual(4000, output.parameters["shared_memory_byte_size"].int64_param)
        self.assertEqual(100, output.parameters["shared_memory_offset"].int64_param)
        self.assertFalse(any(response.raw_output_contents))

    def test_each_direction_alone(self):
        values = np.arange(10, dtype=np.float32)
        self.region("in", 4096).put(values, 8)
        response = self.client.ModelInfer(self.request("echo", 10, in_memory("in", 40, 8)))
        np.testing.assert_array_equal(values, output_arrays(response)["OUTPUT0"])
        target = self.region("out", 40)
        request = infer_request("echo", {"INPUT0": values})
        add_output(request, "OUTPUT0", in_memory("out", 40))
        self.client.ModelInfer(request)
        np.testing.assert_array_equal(values, target.array(np.float32))

    def test_raw_contents_belong_to_the_inputs_that_are_not_in_memory(self):
        a, b = np.arange(16, dtype=np.int32), np.full(16, 5, np.int32)
        self.region("in", 64).put(a)
        target = self.region("out", 64)
        request = pb.ModelInferRequest(model_name="simple")
        add_input(request, "INPUT0", "INT32", [1, 16], parameters=in_memory("in", 64))
        add_input(request, "INPUT1", "INT32", [1, 16], b.tobytes())
        add_output(request, "OUTPUT0")
        add_output(request, "OUTPUT1", in_memory("out", 64))
        response = self.client.ModelInfer(request)
        self.assertEqual([(a + b).tobytes(), b""], list(response.raw_output_contents))
        np.testing.assert_array_equal(a - b, target.array(np.int32))

    def test_strings(self):
        texts = [b"", b"one", b"x" * 1000]
        packed = pack_bytes(texts)
        self.region("in", 4096).put(packed)
        target = self.region("out", 4096)
        response = self.client.ModelInfer(self.request(
            "strings", 3, in_memory("in", len(packed)), in_memory("out", 4096), "BYTES"))
        size = response.outputs[0].parameters["shared_memory_byte_size"].int64_param
        self.assertEqual(len(packed), size)
        self.assertEqual(texts, unpack_bytes(bytes(target.memory[:size])))

    def test_an_unknown_region(self):
        self.assert_error(NOT_FOUND, "nobody", self.client.ModelInfer,
                          self.request("echo", 1, in_memory("nobody", 4)))
        self.assert_error(NOT_FOUND, "nobody", self.client.ModelInfer,
                          self.request("echo", 1, None, in_memory("nobody", 4)))

    def test_an_output_that_does_not_fit(self):
        target = self.region("out", 4096)
        self.assert_error(INTERNAL, "39.*40|40.*39", self.client.ModelInfer,
                          self.request("echo", 10, None, in_memory("out", 39)))
        self.assertEqual(bytes(4096), bytes(target.memory))

    def test_parts_that_make_no_sense(self):
        self.region("r", 4096)
        for byte_size, offset in ((4, 4096), (4, 4093), (4, 2 ** 63 - 1), (4, -4), (8, 0), (0, 0),
                                  (-4, 0), (4, -2 ** 63), (2 ** 63 - 1, 2 ** 63 - 1)):
            with self.subTest(byte_size=byte_size, offset=offset):
                self.assert_error(INVALID, "", self.client.ModelInfer,
                                  self.request("echo", 1, in_memory("r", byte_size, offset)))
        with self.assertRaises(grpc.RpcError) as caught:
            self.client.ModelInfer(self.request("echo", 1, None, in_memory("r", 4, 4096)))
        self.assertIn(caught.exception.code(), (INVALID, INTERNAL))
        self.assert_error(INVALID, "", self.client.ModelInfer,
                          self.request("echo", 1, {"shared_memory_region": "r"}))

    def test_memory_and_contents_together(self):
        self.region("r", 4096)
        request = self.request("echo", 1, in_memory("r", 4))
        request.raw_input_contents.append(bytes(4))
        self.assert_error(INVALID, "", self.client.ModelInfer, request)
        request = self.request("echo", 1, in_memory("r", 4))
        request.inputs[0].contents.fp32_contents.append(1)
        self.assert_error(INVALID, "", self.client.ModelInfer, request)

    def test_large_tensors(self):
        values = np.random.default_rng(6).random(3 * 640 * 640, np.float32)
        self.region("in", values.nbytes).put(values)
        target = self.region("out", values.nbytes)
        for _ in range(5):
            self.client.ModelInfer(self.request("echo", values.size, in_memory("in", values.nbytes),
                                                in_memory("out", values.nbytes)))
        np.testing.assert_array_equal(values, target.array(np.float32))


class HostileTests(SharedMemoryTest):
    """Segments whose owner pulls the rug."""

    def start_slow(self, source, target, count=8):
        call = self.client.ModelInfer.future(self.request("slow", count, source, target), timeout=60)
        time.sleep(0.1)  # it has begun, most likely; when it has not, this is another test
        return call

    def tearDown(self):
        self.assert_alive()
        self.client.infer("echo", {"INPUT0": np.zeros(1, np.float32)})

    def test_unregistered_while_it_is_in_use(self):
        values = np.arange(8, dtype=np.float32)
        source, target = self.region("in", 4096), self.region("out", 4096)
        source.put(values)
        call = self.start_slow(in_memory("in", 32), in_memory("out", 32))
        self.unregister()
        self.assertEqual({"in", "out"}, set(self.regions()))
        call.result(60)
        self.assertEqual({}, self.regions())
        np.testing.assert_array_equal(values, target.array(np.float32, 8))
        self.assert_error(NOT_FOUND, "in", self.client.ModelInfer,
                          self.request("echo", 8, in_memory("in", 32)))

    def test_an_unlinked_segment_still_serves(self):
        segment = self.region("gone", 4096)
        segment.put(np.full(8, 3, np.float32))
        segment.unlink()
        response = self.client.ModelInfer(self.request("echo", 8, in_memory("gone", 32)))
        self.assertEqual(3, output_arrays(response)["OUTPUT0"][7])

    def outcome(self, call, *arguments):
        """OK or an error of ours; not a dead server."""
        try:
            call(*arguments)
        except grpc.RpcError as error:
            self.assertIn(error.code(), (INTERNAL, INVALID), error.details())

    def test_a_truncated_segment(self):
        for size in (0, 100_000):
            for source, target in ((in_memory("r", 400_000), None), (None, in_memory("r", 400_000))):
                with self.subTest(size=size, writes=target is not None):
                    segment = self.region("r", 400_000)
                    segment.truncate(size)
                    self.outcome(self.client.ModelInfer,
                                 self.request("echo", 100_000, source, target))
                    self.assert_alive()
                    self.unregister("r")

    def test_truncated_while_it_is_in_use(self):
        source, target = self.region("in", 400_000), self.region("out", 400_000)
        call = self.start_slow(in_memory("in", 400_000), in_memory("out", 400_000), 100_000)
        source.truncate(0)
        target.truncate(0)
        self.outcome(call.result, 60)

    def test_rewritten_while_it_is_in_use(self):
        packed = pack_bytes([b"x" * 20] * 1000)
        segment = self.region("in", len(packed))
        segment.put(packed)
        over = threading.Event()

        def scribble():
            noise = np.random.default_rng(7)
            while not over.is_set():
                at = int(noise.integers(0, segment.size - 4))
                segment.memory[at:at + 4] = noise.bytes(4)

        writer = threading.Thread(target=scribble)
        writer.start()
        try:
            for _ in range(100):
                self.outcome(self.client.ModelInfer, self.request(
                    "strings", 1000, in_memory("in", len(packed)), None, "BYTES"))
        finally:
            over.set()
            writer.join()


if __name__ == "__main__":
    unittest.main()

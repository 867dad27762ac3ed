"""ONNX nets and clients that would have the server end, hang, or answer what is not so."""

import struct
import threading
import unittest

import grpc
import numpy as np
from onnx import TensorProto, helper

import kserve
from kserve import pb
from segments import Segment
from serving import Server, ServerTest, threads

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def net(nodes, inputs, outputs, initializers=()):
    """`inputs` and `outputs`: [(name, type, shape)]."""
    graph = helper.make_graph([helper.make_node(operator, taken, given, **attributes)
                               for operator, taken, given, attributes in nodes], "net",
                              [helper.make_tensor_value_info(*value) for value in inputs],
                              [helper.make_tensor_value_info(*value) for value in outputs],
                              list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)],
                             ir_version=8).SerializeToString()


NETS = {
    "expand": (net([("Expand", ["x", "size"], ["y"], {})],
                   [("x", FLOAT, [1]), ("size", INT64, [1])], [("y", FLOAT, [None])]), ""),
    "reshape": (net([("Reshape", ["x", "size"], ["y"], {})],
                    [("x", FLOAT, [4]), ("size", INT64, [1])], [("y", FLOAT, [1 << 40])]), ""),
    "passed": (net([("Add", ["x", "x"], ["y"], {})], [("x", FLOAT, [4])],
                   [("y", FLOAT, [4]), ("x", FLOAT, [4])]), ""),
    "transpose": (net([("Transpose", ["x"], ["y"], {"perm": [1, 0]})], [("x", FLOAT, [256, 256])],
                      [("y", FLOAT, [256, 256])]), ""),
    "top": (net([("TopK", ["x", "k"], ["y", "indices"], {})], [("x", FLOAT, [200_000])],
                [("y", FLOAT, [100_000])],
                [helper.make_tensor("k", INT64, [1], [100_000])]), ""),
    "strings": (net([("Concat", ["x", "x"], ["y"], {"axis": 1})], [("x", STRING, ["n", 2])],
                    [("y", STRING, ["n", 4])]),
                "max_batch_size: 2\ninstance_group { count: 1 }\ndynamic_batching { "
                "preferred_batch_size: 2 max_queue_delay_microseconds: 20000000 }"),
    "sides": (net([("Relu", ["x"], ["y"], {})], [("x", FLOAT, ["batch", 3, "height", "width"])],
                  [("y", FLOAT, ["batch", 3, "height", "width"])]),
              'max_batch_size: 4\ninput { name: "x" data_type: TYPE_FP32 dims: [ 3, 64, 64 ] }\n'
              'output { name: "y" data_type: TYPE_FP32 dims: [ 3, -1, -1 ] }'),
}


class HostileNetTests(ServerTest):
    @classmethod
    def setUpClass(cls):
        cls.MODELS = {name: config for name, (_, config) in NETS.items()}
        cls.OPTIONS = ("--model-control-mode", "explicit")
        super().setUpClass()
        for name, (model, _) in NETS.items():
            (cls.server.repository / name / "1/model.onnx").write_bytes(model)
            cls.client.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=name), timeout=60)

    def segment(self, size):
        """Registered."""
        segment = Segment(size)
        self.addCleanup(segment.close)
        self.client.SystemSharedMemoryRegister(pb.SystemSharedMemoryRegisterRequest(
            name=segment.name, key=segment.key, byte_size=size))
        return segment

    def test_what_needs_more_memory_than_there_is_is_refused(self):
        for _ in range(3):
            self.assert_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "", self.client.infer, "expand", {
                "x": np.ones(1, np.float32), "size": np.array([1 << 40])})
        self.assertEqual(7, len(self.client.infer("expand", {
            "x": np.ones(1, np.float32), "size": np.array([7])})["y"]))

    def test_an_output_that_finds_no_memory_costs_its_request_alone(self):
        for _ in range(6):  # more than there are instances: each is given back
            self.assert_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "not enough memory",
                              self.client.infer, "reshape",
                              {"x": np.ones(4, np.float32), "size": np.array([4])})

    def test_an_input_that_is_an_output_too_comes_back(self):
        x = np.arange(1, 5, dtype=np.float32)
        answers = self.client.infer("passed", {"x": x})
        np.testing.assert_array_equal(answers["x"], x)
        np.testing.assert_array_equal(answers["y"], 2 * x)

    def test_input_and_output_may_lie_in_the_same_memory(self):
        x = np.arange(256 * 256, dtype=np.float32).reshape(256, 256)
        segment = self.segment(x.nbytes)
        segment.put(x)
        request = pb.ModelInferRequest(model_name="transpose")
        where = kserve.in_memory(segment.name, x.nbytes)
        kserve.add_input(request, "x", "FP32", x.shape, parameters=where)
        kserve.add_output(request, "y", where)
        self.client.ModelInfer(request, timeout=60)
        np.testing.assert_array_equal(segment.array(np.float32).reshape(256, 256), x.T)

    def test_values_may_change_while_they_are_sorted(self):
        rng = np.random.default_rng(1)
        one, other = (rng.random(200_000, np.float32) for _ in range(2))
        segment = self.segment(one.nbytes)
        segment.put(one)
        request = pb.ModelInferRequest(model_name="top")
        kserve.add_input(request, "x", "FP32", one.shape,
                         parameters=kserve.in_memory(segment.name, one.nbytes))
        done = threading.Event()

        def change():
            while not done.is_set():
                segment.put(other)
                segment.put(one[::-1])
        changing = threading.Thread(target=change)
        changing.start()
        try:
            for _ in range(60):
                self.client.ModelInfer(request, timeout=60)
        finally:
            done.set()
            changing.join()
        self.assert_alive()

    def test_strings_do_not_reach_into_the_next_request_of_their_batch(self):
        sound = kserve.pack_bytes([b"a" * 20, b"b" * 20])
        begin = kserve.pack_bytes([b"", b"p"])
        # Three strings, the last of which would take the neighbour's first, with its length.
        room = len(sound) - len(begin) - 4
        forged = begin + struct.pack("<I", room + 4 + len(b"victim")) + b"E" * room
        segment = self.segment(len(sound))
        segment.put(sound)
        request = pb.ModelInferRequest(model_name="strings")
        kserve.add_input(request, "x", "BYTES", [1, 2],
                         parameters=kserve.in_memory(segment.name, len(sound)))
        with threads(2) as pool:
            attack = pool.submit(self.client.ModelInfer, request, timeout=60)
            # Nothing tells of a request that it was checked and waits for a second one.
            threading.Event().wait(1)
            segment.put(forged)
            victim = pool.submit(self.client.infer, "strings",
                                 {"x": np.array([[b"victim", b"second"]], object)})
            self.assertEqual([b"victim", b"second"] * 2, list(victim.result()["y"][0]))
            self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT, attack.exception().code())

    def test_sizes_that_the_configuration_leaves_open_are_the_inputs(self):
        x = np.full((2, 3, 64, 64), -1, np.float32)
        self.assertEqual(x.shape, self.client.infer("sides", {"x": x})["y"].shape)


if __name__ == "__main__":
    unittest.main()

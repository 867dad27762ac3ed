"""What is wrong with a request is said with the right status, and harms no other."""

import time
import unittest

import grpc
import numpy as np

from kserve import DATATYPES, add_input, add_output, infer_request, pb
from serving import ServerTest, add_sub, identity

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND


class ErrorTests(ServerTest):
    MODELS = {"simple": add_sub(), "simple_string": add_sub("BYTES"),
              "fixed": identity("FP32", (2, 3)),
              **{f"id_{datatype}": identity(datatype) for datatype in DATATYPES},
              "broken": 'backend: "no such backend"\n' + identity().replace("backend", "# "),
              "half": (identity("INT32", more="version_policy { specific { versions: 1 } }"),
                       (1, 2))}

    @staticmethod
    def simple(shape=(1, 16), datatype=np.int32, inputs=("INPUT0", "INPUT1"), **options):
        array = np.zeros(shape, datatype)
        return infer_request("simple", {name: array for name in inputs}, **options)

    def assert_invalid(self, text, request):
        self.assert_error(INVALID, text, self.client.ModelInfer, request)

    def tearDown(self):
        # Whatever it was, the next request is answered.
        self.client.ModelInfer(self.simple())

    # ------------------------------------------------------------ who

    def test_unknown_models(self):
        unknown = "request for unknown model"
        array = {"INPUT0": np.zeros(1, np.int32)}
        for model, version in (("nobody", ""), ("nobody", "1"), ("simple", "2"), ("half", "2"),
                               ("", "")):
            with self.subTest(model=model, version=version):
                self.assert_error(NOT_FOUND, unknown, self.client.ModelInfer,
                                  infer_request(model, array, version=version))
        for call, request in ((self.client.ModelMetadata, pb.ModelMetadataRequest),
                              (self.client.ModelConfig, pb.ModelConfigRequest),
                              (self.client.ModelStatistics, pb.ModelStatisticsRequest)):
            with self.subTest(request.DESCRIPTOR.name):
                self.assert_error(NOT_FOUND, unknown, call, request(name="nobody"))
                self.assert_error(NOT_FOUND, unknown, call, request(name="simple", version="9"))

    def test_a_model_that_failed_to_load(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.client.ModelInfer(infer_request("broken", {"INPUT0": np.zeros(1, np.int32)}))
        self.assertIn(caught.exception.code(), (NOT_FOUND, grpc.StatusCode.UNAVAILABLE))
        self.assertIn("broken", caught.exception.details())

    def test_a_version_that_is_no_number(self):
        for version in ("latest", "1.0", " 1", "-1", "99999999999999999999"):
            with self.subTest(version):
                self.assert_error(INVALID, "version", self.client.ModelInfer,
                                  self.simple(version=version))

    # ------------------------------------------------------------ inputs

    def test_wrong_inputs(self):
        self.assert_invalid("INPUT1|2 inputs", self.simple(inputs=["INPUT0"]))
        self.assert_invalid("INPUT9|3", self.simple(inputs=["INPUT0", "INPUT1", "INPUT9"]))
        self.assert_invalid("INPUT9|INPUT1", self.simple(inputs=["INPUT0", "INPUT9"]))
        self.assert_invalid("input", self.simple(inputs=[]))

    def test_an_input_twice(self):
        request = self.simple(inputs=["INPUT0"])
        add_input(request, "INPUT0", "INT32", [1, 16], bytes(64))
        self.assert_invalid("INPUT0", request)

    def test_wrong_shapes(self):
        self.assert_invalid(r"\[1,15\].*\[-1,16\]", self.simple((1, 15)))
        self.assert_invalid("shape", self.simple((16,)))
        self.assert_invalid("shape", self.simple((1, 1, 16)))
        self.assert_error(INVALID, "shape", self.client.infer, "fixed",
                          {"INPUT0": np.zeros((3, 2), np.float32)})

    def test_a_batch_over_the_maximum_and_one_of_nothing(self):
        self.assert_invalid("batch|8", self.simple((9, 16)))
        self.assert_invalid("batch|shape", self.simple((0, 16)))

    def test_inputs_that_disagree_on_the_batch(self):
        self.assert_invalid("batch|shape", infer_request("simple", {
            "INPUT0": np.zeros((2, 16), np.int32), "INPUT1": np.zeros((3, 16), np.int32)}))

    def test_wrong_datatypes(self):
        self.assert_invalid("UINT32.*INT32|INT32.*UINT32|TYPE_", self.simple(datatype=np.uint32))
        for name in ("int32", "INT33", "", "TYPE_INT32"):
            with self.subTest(name):
                request = self.simple()
                request.inputs[0].datatype = name
                self.assert_invalid("datatype|type", request)

    def test_impossible_shapes(self):
        for shape in ([-1, 16], [1, -16], [2 ** 62, 16], [2 ** 32, 2 ** 32], [2 ** 63 - 1] * 9):
            with self.subTest(shape=shape):
                request = self.simple()
                del request.inputs[0].shape[:]
                request.inputs[0].shape.extend(shape)
                self.assert_invalid("", request)

    def test_wrong_sizes(self):
        for size in (0, 63, 65, 128):
            with self.subTest(size):
                request = self.simple()
                request.raw_input_contents[1] = bytes(size)
                self.assert_invalid("INPUT1.*64|64", request)

    def test_wrong_counts_of_raw_contents(self):
        request = self.simple()
        request.raw_input_contents.append(bytes(64))
        self.assert_invalid("raw", request)
        request = self.simple()
        del request.raw_input_contents[1]
        self.assert_invalid("raw|INPUT1", request)

    # ------------------------------------------------------------ contents

    def test_typed_together_with_raw(self):
        request = self.simple()
        request.inputs[0].contents.int_contents.extend(range(16))
        self.assert_invalid("contents", request)

    def test_typed_contents_of_another_datatype(self):
        for datatype, (_, _, field) in DATATYPES.items():
            if field is None:
                continue
            with self.subTest(datatype):
                request = pb.ModelInferRequest(model_name=f"id_{datatype}")
                tensor = add_input(request, "INPUT0", datatype, [2])
                if field == "fp64_contents":
                    tensor.contents.fp32_contents.extend([1, 2])
                else:
                    tensor.contents.fp64_contents.extend([1, 2])
                self.assert_invalid("INPUT0|contents", request)

    def test_typed_contents_of_another_number(self):
        for typed in ([], [1], [1, 2, 3]):
            request = pb.ModelInferRequest(model_name="id_INT32")
            add_input(request, "INPUT0", "INT32", [2], typed=typed)
            self.assert_invalid("", request)

    def test_typed_values_out_of_range(self):
        for datatype, value in (("INT8", 128), ("UINT8", 256), ("INT16", -40000),
                                ("UINT16", 70000)):
            with self.subTest(datatype):
                request = pb.ModelInferRequest(model_name=f"id_{datatype}")
                add_input(request, "INPUT0", datatype, [1], typed=[value])
                try:
                    self.client.ModelInfer(request)  # Triton truncates
                except grpc.RpcError as error:
                    self.assertEqual(INVALID, error.code())

    def test_half_floats_must_be_raw(self):
        for datatype in ("FP16", "BF16"):
            with self.subTest(datatype):
                request = pb.ModelInferRequest(model_name=f"id_{datatype}")
                tensor = add_input(request, "INPUT0", datatype, [2])
                tensor.contents.fp32_contents.extend([1, 2])
                self.assert_invalid("raw|contents|FP16|BF16", request)

    def test_malformed_strings(self):
        for raw in (b"", b"\1", b"\1\0\0\0", b"\1\0\0\0ab", b"\xff\xff\xff\xff" + b"x" * 60,
                    b"\0\0\0\0\0\0\0\0"):
            with self.subTest(raw=raw[:8]):
                request = pb.ModelInferRequest(model_name="id_BYTES")
                add_input(request, "INPUT0", "BYTES", [1], raw)
                self.assert_invalid("", request)

    def test_strings_that_are_no_numbers(self):
        for text in (b"", b"one", b"1x", b"9" * 40):
            array = np.array([text] * 16, object).reshape(1, 16)
            self.assert_error(INVALID, "", self.client.infer, "simple_string",
                              {"INPUT0": array, "INPUT1": array})

    # ------------------------------------------------------------ outputs, deadlines

    def test_wrong_parameters(self):
        for name, value, text in (("priority", -1, "negative"), ("priority", "1", "int64_param"),
                                  ("timeout", 1.5, "int64_param"), ("timeout", True, "int64_param"),
                                  ("sequence_id", 1.0, "int64_param or string_param"),
                                  ("sequence_start", 1, "bool_param"), ("triton_x", 1, "reserved")):
            with self.subTest(name, value=value):
                self.assert_invalid(f"'{name}'.*{text}", self.simple(parameters={name: value}))

    def test_wrong_classifications(self):
        for value in (0, -1, "1"):
            request = self.simple()
            add_output(request, "OUTPUT0", {"classification": value})
            self.assert_invalid("OUTPUT0.*classification", request)

    def test_wrong_outputs(self):
        request = self.simple()
        add_output(request, "OUTPUT9")
        self.assert_invalid("OUTPUT9", request)
        request = self.simple()
        add_output(request, "OUTPUT0")
        add_output(request, "OUTPUT0")
        self.assert_invalid("OUTPUT0", request)

    def test_named_repositories_are_not_known(self):
        with self.assertRaises(grpc.RpcError):
            self.client.RepositoryIndex(pb.RepositoryIndexRequest(repository_name="other"))

    def test_a_foreign_name_comes_back_readable(self):
        error = self.assert_error(NOT_FOUND, "unknown model", self.client.ModelInfer,
                                  infer_request("\N{SNOWMAN}" * 4000, {}))
        self.assertLess(len(error.details()), 8000)


class DeadlineTests(ServerTest):
    MODELS = {"slow": identity(delay_ms=400), "slower": identity(delay_ms=800)}
    ONE = {"INPUT0": np.zeros(1, np.int32)}

    def test_a_deadline_ends_the_call_and_frees_its_place(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.client.infer("slow", self.ONE, timeout=0.05)
        self.assertEqual(grpc.StatusCode.DEADLINE_EXCEEDED, caught.exception.code())
        self.client.infer("slow", self.ONE)

    def test_a_cancelled_call_that_waits_is_never_run(self):
        running = self.client.ModelInfer.future(infer_request("slower", self.ONE))
        time.sleep(0.1)
        waiting = self.client.ModelInfer.future(infer_request("slower", self.ONE))
        time.sleep(0.1)
        waiting.cancel()
        running.result(60)
        self.client.infer("slower", self.ONE)  # would come after it
        self.assertEqual(2, self.client.statistics("slower").execution_count)


if __name__ == "__main__":
    unittest.main()

"""Tensors in and out: every datatype, raw and typed, and the arithmetic of the simple models."""

import unittest

import grpc
import numpy as np

from kserve import DATATYPES, add_input, add_output, infer_request, output_arrays, pack_bytes, pb
from serving import ServerTest, add_sub, identity, threads

# Edges of each datatype.
VALUES = {
    "BOOL": [True, False, True],
    **{f"UINT{bits}": [0, 1, 2 ** bits - 1] for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": [-2 ** (bits - 1), -1, 2 ** (bits - 1) - 1] for bits in (8, 16, 32, 64)},
    "FP16": [0.5, -65504.0, np.inf],
    "FP32": [0.1, -3e38, np.nan],
    "FP64": [0.1, -1e308, np.nan],
    "BYTES": [b"", b"\0\xff" * 40, "text \N{SNOWMAN}".encode()],
    "BF16": [0x3f80, 0xff80, 0x7fc0],
}


def raw_of(datatype):
    values = VALUES[datatype]
    return (pack_bytes(values) if datatype == "BYTES"
            else np.array(values, DATATYPES[datatype][1]).tobytes())


class DatatypeTests(ServerTest):
    MODELS = {**{f"id_{datatype}": identity(datatype, (-1, -1)) for datatype in DATATYPES},
              "any": identity("INT32", (-1, -1, -1), batch=4), "scalar": identity("FP32", (1,))}

    def ask(self, datatype, shape, **contents):
        request = pb.ModelInferRequest(model_name=f"id_{datatype}")
        add_input(request, "INPUT0", datatype, shape, **contents)
        response = self.client.ModelInfer(request)
        (output,) = response.outputs
        self.assertEqual((datatype, shape), (output.datatype, list(output.shape)))
        self.assertFalse(output.HasField("contents"), "answers are raw")
        return response.raw_output_contents[0]

    def test_raw_contents_come_back_bit_by_bit(self):
        for datatype in DATATYPES:
            with self.subTest(datatype):
                raw = raw_of(datatype)
                self.assertEqual(raw, self.ask(datatype, [1, 3], raw=raw))
                self.assertEqual(raw, self.ask(datatype, [3, 1], raw=raw))

    def test_typed_contents_come_back_raw(self):
        for datatype, (_, _, field) in DATATYPES.items():
            if field is not None:
                with self.subTest(datatype):
                    self.assertEqual(raw_of(datatype),
                                     self.ask(datatype, [1, 3], typed=VALUES[datatype]))

    def test_tensors_of_no_elements(self):
        for datatype in DATATYPES:
            with self.subTest(datatype):
                self.assertEqual(b"", self.ask(datatype, [0, 5], raw=b""))

    def test_every_shape_that_fits(self):
        for shape in ((1, 1, 1, 1), (4, 2, 3, 5), (2, 7, 1, 1)):
            array = np.random.default_rng(1).integers(-9, 9, shape, np.int32)
            answer = self.client.infer("any", {"INPUT0": array})["OUTPUT0"]
            np.testing.assert_array_equal(array, answer)

    def test_a_large_tensor(self):
        array = np.random.default_rng(2).random((3, 2_000_000), np.float32)  # 24 MB
        answer = self.client.infer("id_FP32", {"INPUT0": array})["OUTPUT0"]
        self.assertTrue(np.array_equal(array, answer))

    def test_compressed_messages(self):
        array = np.zeros((1000, 100), np.float32)
        request = infer_request("id_FP32", {"INPUT0": array})
        for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
            answer = self.client.ModelInfer(request, compression=compression)
            self.assertTrue(np.array_equal(array, output_arrays(answer)["OUTPUT0"]))

    def test_many_strings(self):
        strings = [str(i).encode() * (i % 50) for i in range(20_000)]
        array = np.array(strings, dtype=object).reshape(100, 200)
        answer = self.client.infer("id_BYTES", {"INPUT0": array})["OUTPUT0"]
        self.assertEqual(strings, list(answer.flatten()))


class SimpleTests(ServerTest):
    """What the example clients of Triton's "simple" models do."""

    MODELS = {"simple": add_sub(), "simple_fp32": add_sub("FP32"),
              "simple_string": add_sub("BYTES")}

    def test_simple(self):
        a = np.arange(16, dtype=np.int32).reshape(1, 16)
        b = np.full((1, 16), 3, np.int32)
        answer = self.client.infer("simple", {"INPUT0": a, "INPUT1": b})
        np.testing.assert_array_equal(a + b, answer["OUTPUT0"])
        np.testing.assert_array_equal(a - b, answer["OUTPUT1"])

    def test_simple_fp32_in_a_batch_of_its_own(self):
        a = np.random.default_rng(3).random((8, 16), np.float32)
        b = np.random.default_rng(4).random((8, 16), np.float32)
        answer = self.client.infer("simple_fp32", {"INPUT0": a, "INPUT1": b})
        np.testing.assert_array_equal(a + b, answer["OUTPUT0"])
        np.testing.assert_array_equal(a - b, answer["OUTPUT1"])

    def test_simple_string(self):
        def strings(values):
            return np.array([str(value).encode() for value in values], object).reshape(1, 16)
        answer = self.client.infer("simple_string", {"INPUT0": strings(range(16)),
                                                     "INPUT1": strings([1] * 16)})
        self.assertEqual([i + 1 for i in range(16)], [int(one) for one in answer["OUTPUT0"][0]])
        self.assertEqual([i - 1 for i in range(16)], [int(one) for one in answer["OUTPUT1"][0]])

    def test_typed_contents_of_two_inputs(self):
        request = pb.ModelInferRequest(model_name="simple")
        add_input(request, "INPUT0", "INT32", [1, 16], typed=range(16))
        add_input(request, "INPUT1", "INT32", [1, 16], typed=[1] * 16)
        answer = output_arrays(self.client.ModelInfer(request))
        self.assertEqual(list(range(1, 17)), list(answer["OUTPUT0"][0]))

    def test_inputs_in_any_order(self):
        a, b = (np.full((1, 16), value, np.int32) for value in (7, 5))
        answer = self.client.infer("simple", {"INPUT1": b, "INPUT0": a})
        self.assertEqual(2, answer["OUTPUT1"][0, 0])

    def test_only_the_outputs_asked_for_and_in_that_order(self):
        arrays = {f"INPUT{i}": np.full((1, 16), i, np.int32) for i in (0, 1)}
        for names in (["OUTPUT1"], ["OUTPUT1", "OUTPUT0"], ["OUTPUT0"]):
            request = infer_request("simple", arrays)
            for name in names:
                add_output(request, name)
            response = self.client.ModelInfer(request)
            self.assertEqual(names, [output.name for output in response.outputs])
            self.assertEqual(-1 if names[0] == "OUTPUT1" else 1,
                             output_arrays(response)[names[0]][0, 0])


def reshaping(inward, outward, batch=0, more=""):
    return f"""
        backend: "identity"
        max_batch_size: {batch}
        input {{ name: "INPUT0" data_type: TYPE_INT32 {inward} }}
        output {{ name: "OUTPUT0" data_type: TYPE_INT32 {outward} }}
        {more}
        """


class ReshapeTests(ServerTest):
    """The engine sees other shapes than clients, of the same elements."""

    MODELS = {
        "fixed": reshaping("dims: [ 6 ] reshape { shape: [ 2, 3 ] }",
                           "dims: [ 3, 2 ] reshape { shape: [ 2, 3 ] }"),
        "rows": reshaping("dims: [ -1, 6 ] reshape { shape: [ -1, 2, 3 ] }", "dims: [ -1, 2, 3 ]", 4, """
            model_warmup { name: "w" batch_size: 2 inputs { key: "INPUT0"
              value { data_type: TYPE_INT32 dims: [ 4, 6 ] zero_data: true } } }"""),
        "scalars": reshaping("dims: [ 1 ] reshape { shape: [ ] }",
                             "dims: [ 1 ] reshape { shape: [ ] }", 4),
        "steps": """
            platform: "ensemble"
            input { name: "IN" data_type: TYPE_INT32 dims: [ 6 ] }
            output { name: "OUT" data_type: TYPE_INT32 dims: [ 3, 2 ] }
            ensemble_scheduling { step { model_name: "fixed" model_version: -1
              input_map { key: "INPUT0" value: "IN" } output_map { key: "OUTPUT0" value: "OUT" } } }
            """}

    def test_clients_see_the_dims(self):
        for model, sent, answered in (("fixed", (6,), (3, 2)), ("rows", (2, 5, 6), (2, 5, 2, 3)),
                                      ("rows", (1, 0, 6), (1, 0, 2, 3)), ("scalars", (3, 1), (3, 1))):
            with self.subTest(model, sent=sent):
                array = np.arange(np.prod(sent), dtype=np.int32).reshape(sent)
                answer = self.client.infer(model, {"INPUT0": array})["OUTPUT0"]
                self.assertEqual(array.reshape(answered).tolist(), answer.tolist())
        array = np.arange(6, dtype=np.int32)
        self.assertEqual([[0, 1], [2, 3], [4, 5]],
                         self.client.infer("steps", {"IN": array})["OUT"].tolist())

    def test_the_engines_shape_is_not_the_clients(self):
        request = infer_request("fixed", {"INPUT0": np.zeros((2, 3), np.int32)})
        self.assert_error(grpc.StatusCode.INVALID_ARGUMENT, r"shape \[2,3\], expected \[6\]",
                          self.client.ModelInfer, request)

    def test_metadata_and_configuration_have_the_dims(self):
        metadata = self.client.ModelMetadata(pb.ModelMetadataRequest(name="rows"))
        self.assertEqual([-1, -1, 6], list(metadata.inputs[0].shape))
        config = self.client.ModelConfig(pb.ModelConfigRequest(name="rows")).config
        self.assertEqual([-1, 6], list(config.input[0].dims))
        self.assertEqual([-1, 2, 3], list(config.input[0].reshape.shape))


class OptionalInputTests(ServerTest):
    """It is taken for one like the others."""

    MODELS = {"simple": add_sub(dims=(2,)).replace('"INPUT1"', '"INPUT1" optional: true'),
              "ragged": identity("INT32", (-1,), 4, more="dynamic_batching {}").replace(
                  '"INPUT0"', '"INPUT0" allow_ragged_batch: true')}

    def test_a_request_without_it_is_refused_by_name(self):
        two = np.array([[1, 2]], np.int32)
        self.assertEqual([[2, 4]], self.client.infer(
            "simple", {"INPUT0": two, "INPUT1": two})["OUTPUT0"].tolist())
        self.assert_error(grpc.StatusCode.INVALID_ARGUMENT, "lacks input 'INPUT1'.*optional inputs",
                          self.client.ModelInfer, infer_request("simple", {"INPUT0": two}))

    def test_ragged_requests_are_answered(self):
        with threads(8) as pool:
            arrays = [np.full((1, 1 + i % 3), i, np.int32) for i in range(24)]
            answers = pool.map(lambda array: self.client.infer("ragged", {"INPUT0": array}), arrays)
            for array, answer in zip(arrays, answers):
                self.assertEqual(array.tolist(), answer["OUTPUT0"].tolist())

    def test_the_log_says_what_is_not_used(self):
        unused = " ".join(line["setting"] for line in self.server.log() if "setting" in line)
        self.assertIn("input.optional", unused)
        self.assertIn("input.allow_ragged_batch", unused)


# OUTPUT1 has labels, OUTPUT0 none.
LABELLED = (add_sub(dims=(3,)).replace('"OUTPUT1"', '"OUTPUT1" label_filename: "animals.txt"'), (1,),
            {"animals.txt": "cat\n\ndog\n", "labels.txt": "nobody\nasked\nfor these\n"})
# As the above, but the other way round.
LABELLED_ENSEMBLE = ("""
    platform: "ensemble"
    max_batch_size: 8
    input [ { name: "INPUT0" data_type: TYPE_INT32 dims: [ 3 ] },
            { name: "INPUT1" data_type: TYPE_INT32 dims: [ 3 ] } ]
    output [ { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 3 ] label_filename: "own.txt" },
             { name: "OUTPUT1" data_type: TYPE_INT32 dims: [ 3 ] } ]
    ensemble_scheduling { step [ { model_name: "labelled" model_version: -1
      input_map [ { key: "INPUT0" value: "INPUT0" }, { key: "INPUT1" value: "INPUT1" } ]
      output_map [ { key: "OUTPUT0" value: "OUTPUT0" }, { key: "OUTPUT1" value: "OUTPUT1" } ] } ] }
    """, (1,), {"own.txt": "one\ntwo\nthree\n"})


class ClassificationTests(ServerTest):
    """Triton's classification extension: an output as its highest values."""

    MODELS = {"labelled": LABELLED, "ensemble": LABELLED_ENSEMBLE}

    def top(self, model, output):
        arrays = {"INPUT0": np.array([[1, 2, 3]], np.int32), "INPUT1": np.array([[0, 0, 1]], np.int32)}
        request = infer_request(model, arrays)
        add_output(request, output, {"classification": 3})
        return output_arrays(self.client.ModelInfer(request))[output].tolist()

    def test_an_outputs_labels_are_its_own(self):
        self.assertEqual([[b"4:2", b"2:1", b"1:0"]], self.top("labelled", "OUTPUT0"))
        self.assertEqual([[b"2:1", b"2:2:dog", b"1:0:cat"]], self.top("labelled", "OUTPUT1"))

    def test_an_ensembles_labels_are_its_own(self):
        self.assertEqual([[b"4:2:three", b"2:1:two", b"1:0:one"]], self.top("ensemble", "OUTPUT0"))
        self.assertEqual([[b"2:1", b"2:2", b"1:0"]], self.top("ensemble", "OUTPUT1"))


if __name__ == "__main__":
    unittest.main()

"""What becomes of a GraphModel's weights, of graphs that are not as they should be, and of the models' folders."""

import contextlib
import io
import json
import shutil
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1] / "ops/model_packages"))

import make_models  # noqa: E402, of the folder above
from onnx_graph import Graph, Tensor  # noqa: E402
from tf_operators import ConversionError  # noqa: E402
from tfjs_to_onnx import convert, read_weights  # noqa: E402

from graphs import GraphModel, numbers  # noqa: E402


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)


class WeightsTest(Folder):
    def read(self, model, shards=2):
        path = model.write(self.folder, shards)
        return read_weights(self.folder, json.loads(path.read_text())["weightsManifest"])

    def test_each_type_and_each_quantization(self):
        exact = numbers(3, 4)
        model = GraphModel()
        model.const("floats", exact)
        model.const("integers", np.array([-1, 2 ** 31 - 1], np.int32))
        model.const("bools", np.array([True, False, True]))
        model.const("scalar", np.array(7, np.int32))
        model.const("nothing", np.zeros((0, 3), np.float32))
        model.const("halves", exact, exact.astype(np.float16))
        for bits, dtype in ((8, np.uint8), (16, np.uint16)):
            scale = 4 / (2 ** bits - 1)
            stored = np.rint((exact + 2) / scale).astype(dtype)
            model.const(f"quantized{bits}", exact, stored, scale=scale, min=-2.0, original_dtype="float32")
        model.const("quantized_integers", np.array([5, -3], np.int32), np.array([8, 0], np.uint8), scale=1.0, min=-3.0,
                    original_dtype="int32")
        for shards in (1, 2, 7):
            with self.subTest(shards=shards):
                weights = self.read(model, shards)
                np.testing.assert_array_equal(weights["floats"], exact)
                np.testing.assert_array_equal(weights["integers"], np.array([-1, 2 ** 31 - 1], np.int32))
                np.testing.assert_array_equal(weights["bools"], [True, False, True])
                self.assertEqual((7, ()), (weights["scalar"], weights["scalar"].shape))
                self.assertEqual((0, 3), weights["nothing"].shape)
                np.testing.assert_array_equal(weights["halves"], exact.astype(np.float16).astype(np.float32))
                np.testing.assert_allclose(weights["quantized8"], exact, atol=2.001 / 255)
                np.testing.assert_allclose(weights["quantized16"], exact, atol=2.001 / 65535)
                np.testing.assert_array_equal(weights["quantized_integers"], np.array([5, -3], np.int32))
                self.assertEqual({"floats": np.float32, "bools": np.bool_, "quantized_integers": np.int32},
                                 {name: weights[name].dtype for name in ("floats", "bools", "quantized_integers")})

    def test_files_that_end_too_early(self):
        model = GraphModel()
        model.const("first", numbers(3))
        model.const("second", numbers(3))
        model.data = model.data[:-1]
        with self.assertRaisesRegex(ConversionError, "end before second"):
            self.read(model)

    def test_an_unknown_type(self):
        model = GraphModel()
        model.const("words", numbers(3))
        model.entries[0]["dtype"] = "string"
        with self.assertRaisesRegex(ConversionError, "words.*string"):
            self.read(model)


class GraphsTest(Folder):
    def setUp(self):
        super().setUp()
        self.model = GraphModel()
        self.model.placeholder("x", numbers(1, 4, 4, 3))

    def convert(self, output="node", **inputs):
        graph = Graph()
        x = graph.input("x", np.float32, (1, 4, 4, 3))
        return convert(self.model.write(self.folder), graph, inputs or {"x": x}, [output])

    def assert_refused(self, pattern, output="node", **inputs):
        with self.assertRaisesRegex(ConversionError, pattern):
            self.convert(output, **inputs)

    def test_an_operator_that_is_not_known(self):
        self.model.add("some/node", "NonMaxSuppressionV5", ["x"])
        self.assert_refused(r"some/node \(NonMaxSuppressionV5\)", "some/node")

    def test_what_nobody_needs_may_be_anything(self):
        self.model.add("beside", "NonMaxSuppressionV5", ["x"])
        self.model.add("node", "Relu", ["x", "^beside"])
        self.convert()

    def test_uses_of_an_operator_that_are_not_known(self):
        self.model.const("filters", numbers(3, 3, 3, 2))
        self.model.const("few", numbers(3, 3, 2, 2))
        self.model.const("shape", np.array([7, -1], np.int32))
        plain = {"strides": [1, 1, 1, 1], "padding": "SAME"}
        for name, op, inputs, attributes, pattern in (
                ("padding", "Conv2D", ["x", "filters"], {**plain, "padding": "EXPLICIT"}, "EXPLICIT"),
                ("strides", "Conv2D", ["x", "filters"], {**plain, "strides": [2, 1, 1, 1]}, r"\[2, 1, 1, 1\]"),
                ("layout", "MaxPool", ["x"], {**plain, "ksize": [1, 2, 2, 1], "data_format": "NCHW"}, "NCHW"),
                ("channels", "Conv2D", ["x", "few"], plain, "weights for 2 channels, and 3 come"),
                ("fused", "_FusedConv2D", ["x", "filters"], {**plain, "fused_ops": ["Mish"]}, "Mish"),
                ("computed", "Conv2D", ["x", "x"], plain, "must be a constant"),
                ("shapes", "Reshape", ["x", "shape"], {}, r"\[1, 4, 4, 3\] into \[7, -1\]"),
                ("type", "Cast", ["x"], {"DstT": "DT_STRING"}, "DT_STRING"),
                ("axis", "Pack", ["x", "x"], {"axis": 9}, "no axis 9")):
            with self.subTest(name):
                self.model.add(name, op, inputs, **attributes)
                self.assert_refused(f"node {name} .*{pattern}", name)

    def test_inputs_that_are_not_there(self):
        self.model.add("node", "Relu", ["x"])
        self.assert_refused("node x .*not given", y=Tensor((1,), np.float32))
        self.assert_refused("no node nowhere", "nowhere")
        self.model.add("lost", "Relu", ["gone:1"])
        self.assert_refused("no node gone", "lost")

    def test_a_loop(self):
        self.model.add("a", "Add", ["x", "b"])
        self.model.add("b", "Relu", ["a"])
        self.assert_refused("part of a loop", "b")

    def test_a_deep_graph(self):
        name = "x"
        for depth in range(3000):
            self.model.add(f"r{depth}", "Relu", [name])
            name = f"r{depth}"
        self.convert(name)

    def test_a_file_that_is_no_graph(self):
        path = self.folder / "model.json"
        path.write_text(json.dumps({"modelTopology": {"model_config": {}}, "weightsManifest": []}))
        with self.assertRaisesRegex(ConversionError, "model.json is no TensorFlow.js GraphModel"):
            convert(path, Graph(), {}, ["node"])


class FoldersTest(Folder):
    """Models whose nets are made here, in the place of those of the packages."""

    def setUp(self):
        super().setUp()
        for name in ("output", "packages"):
            (self.folder / name).mkdir()
        self.good = True
        (self.folder / "packages/net.onnx").write_text("a net")
        for change in (mock.patch.dict(make_models.MODELS, {name: self.net for name in make_models.MODELS}),
                       mock.patch.dict(make_models.COPIES, {name: {"1/model.onnx": "net.onnx"}
                                                            for name in make_models.COPIES})):
            change.start()
            self.addCleanup(change.stop)

    def net(self, packages):
        if not self.good:
            raise ConversionError("the package is not as it was")
        graph = Graph()
        graph.output("y", graph.input("x", np.float32, (1,)))
        return graph

    def make(self, *names):
        arguments = ["make_models.py", *(str(self.folder / name) for name in ("packages", "output", "scratch")), *names]
        words = io.StringIO()
        with mock.patch.object(sys, "argv", arguments), contextlib.redirect_stderr(words):
            return make_models.main(), words.getvalue()

    def files(self, name):
        folder = self.folder / "output" / name
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    def test_a_model_is_a_folder_that_git_ignores(self):
        converted = ("objects", "faces", "poses")
        self.assertEqual((0, ""), self.make(*converted))
        self.assertEqual(set(converted), {path.name for path in (self.folder / "output").iterdir()})
        self.assertEqual({".gitignore", "config.pbtxt", "labels.txt", "1/model.onnx"}, self.files("objects"))
        self.assertEqual("*\n", (self.folder / "output/objects/.gitignore").read_text())

    def test_every_folder_of_templates_becomes_a_model(self):
        self.make()
        self.assertEqual({path.name for path in (make_models.HERE / "models").iterdir()},
                         {path.name for path in (self.folder / "output").iterdir()})

    def test_a_net_that_is_onnx_is_copied(self):
        self.make("text_line")
        self.assertEqual("a net", (self.folder / "output/text_line/1/model.onnx").read_text())

    def test_one_is_replaced_as_a_whole(self):
        self.make("faces")
        (self.folder / "output/faces/2").mkdir()
        self.make("faces")
        self.assertEqual({".gitignore", "config.pbtxt", "labels.txt", "1/model.onnx"}, self.files("faces"))
        self.assertEqual([], [path for path in (self.folder / "scratch").iterdir()])

    def test_one_that_was_not_made_here_is_left(self):
        for ignored in (None, "2\n"):
            with self.subTest(ignored=ignored):
                folder = self.folder / "output/faces"
                shutil.rmtree(folder, ignore_errors=True)
                (folder / "1").mkdir(parents=True)
                (folder / "1/model.onnx").write_text("mine")
                if ignored:
                    (folder / ".gitignore").write_text(ignored)
                status, words = self.make("faces", "poses")
                self.assertEqual(0, status)
                self.assertRegex(words, "^the model faces .*rename it.*\n$")
                self.assertEqual("mine", (folder / "1/model.onnx").read_text())
                self.assertIn("1/model.onnx", self.files("poses"))

    def test_one_that_cannot_be_made_leaves_what_is_there(self):
        self.make("faces")
        self.good = False
        status, words = self.make("faces")
        self.assertEqual((1, "the model faces cannot be made: the package is not as it was\n"), (status, words))
        self.assertIn("1/model.onnx", self.files("faces"))

    def test_the_others_are_made_all_the_same(self):
        with mock.patch.dict(make_models.MODELS, {"objects": mock.Mock(side_effect=KeyError("node"))}):
            status, words = self.make("objects", "faces")
        self.assertEqual(1, status)
        self.assertRegex(words, "^the model objects cannot be made: ")
        self.assertEqual((set(), True), (self.files("objects"), "1/model.onnx" in self.files("faces")))


if __name__ == "__main__":
    unittest.main()

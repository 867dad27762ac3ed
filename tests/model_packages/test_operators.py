"""Each of TensorFlow's operators, converted, run by the model server, and compared with numpy."""

import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parents[1] / "ops/model_packages"), str(HERE.parent / "system/conformance")]

import tf_operators  # noqa: E402, of the folders above
from onnx_graph import Graph  # noqa: E402
from tfjs_to_onnx import convert  # noqa: E402

from cases import CASES, Const  # noqa: E402
from graphs import GraphModel  # noqa: E402


def convert_case(case):
    """The ONNX model of it, with the inputs x0, x1, ... and the outputs y0, y1, ..., and the tensors of these."""
    _, op, attributes, inputs, results = case
    model, graph, given, names = GraphModel(), Graph(), {}, []
    for place, one in enumerate(inputs):
        names.append(f"x{place}")
        if isinstance(one, Const):
            model.const(names[-1], one.array)
        else:
            model.placeholder(names[-1], one)
            given[names[-1]] = graph.input(names[-1], one.dtype, one.shape)
    model.add("node", op, names, **attributes)
    with tempfile.TemporaryDirectory() as folder:
        path = model.write(Path(folder))
        found = convert(path, graph, given, [f"node:{place}" for place in range(len(results))])
    for place, tensor in enumerate(found):
        graph.output(f"y{place}", tensor)
    return graph.model(op), found


class OperatorsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        from serving import Server  # when it is needed: it compiles the protocol
        cls.server = Server({}, "--model-control-mode", "explicit", wait_ready=False)
        cls.addClassCleanup(cls.server.stop)
        for number, case in enumerate(CASES):
            model, _ = convert_case(case)
            folder = cls.server.repository / f"case{number}/1"
            folder.mkdir(parents=True)
            onnx.save(model, folder / "model.onnx")

    def answer(self, number, arrays):
        import kserve
        client, name = self.server.client, f"case{number}"
        client.RepositoryModelLoad(kserve.pb.RepositoryModelLoadRequest(model_name=name))
        return kserve.output_arrays(client.ModelInfer(kserve.infer_request(name, arrays)))

    def test_each_does_what_numpy_does(self):
        for number, case in enumerate(CASES):
            with self.subTest(case[0]):
                arrays = {f"x{place}": one for place, one in enumerate(case[3]) if not isinstance(one, Const)}
                answer = self.answer(number, arrays)
                for place, expected in enumerate(case[4]):
                    found = answer[f"y{place}"]
                    self.assertEqual(expected.shape, found.shape)
                    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    def test_none_is_left_out(self):
        self.assertEqual(set(tf_operators.OPERATORS), {case[1] for case in CASES})

    def test_the_shapes_are_told_before_anything_runs(self):
        for case in CASES:
            with self.subTest(case[0]):
                _, found = convert_case(case)
                self.assertEqual([one.shape for one in case[4]], [one.shape for one in found])
                self.assertEqual([one.dtype for one in case[4]], [one.dtype for one in found])


if __name__ == "__main__":
    unittest.main()

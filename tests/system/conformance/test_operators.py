"""ONNX nets of one operator each, served over gRPC, against numpy.

The server's memory is poisoned (MALLOC_PERTURB_, and shared/base/perturb.h for what malloc does not
give out), so that an output which no kernel writes would be seen, and not be zeros by chance.
"""

import os
import unittest

import grpc
import numpy as np

from kserve import pb
from operator_nets import nets
from serving import ServerTest, add_sub, threads

POISON = 0xA5


class OperatorTests(ServerTest):
    @classmethod
    def setUpClass(cls):
        cls.nets = list(nets())
        os.environ["MALLOC_PERTURB_"] = str(POISON)
        cls.addClassCleanup(os.environ.pop, "MALLOC_PERTURB_")
        cls.MODELS = {"empty": 'backend: "identity" max_batch_size: 0\n'
                               'input { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] }\n'
                               'output { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] }'}
        cls.OPTIONS = ("--model-control-mode", "explicit")
        super().setUpClass()
        for each in cls.nets:
            folder = cls.server.repository / each.name / "1"
            folder.mkdir(parents=True)
            (folder / "model.onnx").write_bytes(each.model)

    maxDiff = None

    def test_there_are_enough(self):
        names = [each.name for each in self.nets]
        self.assertGreaterEqual(len(names), 200)
        self.assertEqual(len(names), len(set(names)))

    def test_each_answers_as_numpy_does(self):
        with threads(4) as pool:
            failures = list(filter(None, pool.map(self.failure_of, self.nets)))
        self.assertEqual([], failures)

    def failure_of(self, each):
        """What is wrong with the net's answer; None: nothing."""
        try:
            self.client.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=each.name),
                                            timeout=60)
            answers = self.client.infer(each.name, {name: array for name, array in each.inputs.items()
                                                    if array is not None})
        except Exception as error:  # whatever it is: the others are to be tried as well
            return f"{each.name}: {getattr(error, 'details', lambda: error)()}"
        for name, expected in each.expected.items():
            answer = answers[name]
            if answer.shape != expected.shape or answer.dtype != expected.dtype:
                return (f"{each.name}: {name} is {answer.dtype}{answer.shape}, "
                        f"expected {expected.dtype}{expected.shape}")
            tolerance = 1e-2 if expected.dtype == np.float16 else 1e-4
            if not np.allclose(answer.astype(np.float64), expected.astype(np.float64), tolerance,
                               tolerance):
                return f"{each.name}: {name} is {answer.ravel()[:8]}, expected {expected.ravel()[:8]}"
        return None


class MissingLibraryTests(ServerTest):
    """Where ONNX Runtime cannot be had, ONNX models say so, and the others work."""

    MODELS = {"simple": add_sub(dims=(2,)), "net": ("", (1,), {"1/model.onnx": "any"})}
    OPTIONS = ("--onnxruntime", "/nowhere/libonnxruntime.so.1", "--model-control-mode", "explicit",
               "--load-model", "simple")

    def test_the_reason_says_what_to_do(self):
        self.assert_error(grpc.StatusCode.INVALID_ARGUMENT,
                          "/nowhere/libonnxruntime.so.1.*ops/run.*modelserver.onnxruntime",
                          self.client.RepositoryModelLoad,
                          pb.RepositoryModelLoadRequest(model_name="net"))
        two = np.array([[1, 2]], np.int32)
        self.assertEqual([[2, 4]], self.client.infer(
            "simple", {"INPUT0": two, "INPUT1": two})["OUTPUT0"].tolist())


if __name__ == "__main__":
    unittest.main()

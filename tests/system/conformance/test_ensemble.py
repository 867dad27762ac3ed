"""Models of models."""

import unittest

import grpc
import numpy as np

from kserve import add_output, infer_request, output_arrays, pb
from serving import ServerTest, add_sub, eventually, identity


def ensemble(inputs, outputs, *steps, batch=8):
    """Tensors are {name: dims} of INT32; a step is (model, {its input: tensor}, {its output: tensor})."""
    tensors = "".join(
        f'{kind} {{ name: "{name}" data_type: TYPE_INT32 dims: [ {", ".join(map(str, dims))} ] }}\n'
        for kind, group in (("input", inputs), ("output", outputs)) for name, dims in group.items())

    def mapped(kind, names):
        return "".join(f'{kind} {{ key: "{own}" value: "{tensor}" }} '
                       for own, tensor in names.items())
    text = ", ".join(f'{{ model_name: "{model}" model_version: -1 {mapped("input_map", ins)}'
                     f'{mapped("output_map", outs)} }}' for model, ins, outs in steps)
    return (f'platform: "ensemble"\nmax_batch_size: {batch}\n{tensors}'
            f"ensemble_scheduling {{ step [ {text} ] }}")


# (A + B, A - B), then the sum and the difference of those: 2 A and 2 B.
TWICE = ensemble({"A": (16,), "B": (16,)}, {"TWICE_A": (16,), "TWICE_B": (16,)},
                 ("simple", {"INPUT0": "A", "INPUT1": "B"}, {"OUTPUT0": "SUM", "OUTPUT1": "DIFF"}),
                 ("simple", {"INPUT0": "SUM", "INPUT1": "DIFF"},
                  {"OUTPUT0": "TWICE_A", "OUTPUT1": "TWICE_B"}))
SLOWLY = ensemble({"A": (1,)}, {"B": (1,)}, ("echo", {"INPUT0": "A"}, {"OUTPUT0": "M"}),
                  ("echo", {"INPUT0": "M"}, {"OUTPUT0": "B"}))


class EnsembleTests(ServerTest):
    MODELS = {
        "simple": add_sub(),
        "echo": identity("INT32", (1,), 8, 20, "dynamic_batching {}"),
        "bad": "backend: 7",
        "twice": TWICE,
        "slowly": SLOWLY,
        "nested": ensemble({"X": (16,), "Y": (16,)}, {"Z": (16,)},
                           ("twice", {"A": "X", "B": "Y"}, {"TWICE_A": "P", "TWICE_B": "Q"}),
                           ("simple", {"INPUT0": "P", "INPUT1": "Q"}, {"OUTPUT0": "Z"})),
        "without": ensemble({"A": (1,)}, {"B": (1,)}, ("bad", {"INPUT0": "A"}, {"OUTPUT0": "B"})),
        "circle": ensemble({"A": (1,)}, {"B": (1,)},
                           ("circle", {"A": "A"}, {"B": "B"})),
        "there": ensemble({"A": (1,)}, {"B": (1,)}, ("back", {"A": "A"}, {"B": "B"})),
        "back": ensemble({"A": (1,)}, {"B": (1,)}, ("there", {"A": "A"}, {"B": "B"})),
        "unfit": ensemble({"A": (3,)}, {"B": (3,)}, ("echo", {"INPUT0": "A"}, {"OUTPUT0": "B"})),
        "unfed": ensemble({"A": (1,)}, {"B": (1,)},
                          ("echo", {"INPUT0": "NOBODY"}, {"OUTPUT0": "B"})),
    }

    A = np.arange(32, dtype=np.int32).reshape(2, 16)
    B = np.full((2, 16), 5, np.int32)

    def test_steps_feed_each_other(self):
        answer = self.client.infer("twice", {"A": self.A, "B": self.B})
        np.testing.assert_array_equal(2 * self.A, answer["TWICE_A"])
        np.testing.assert_array_equal(2 * self.B, answer["TWICE_B"])

    def test_ensembles_of_ensembles(self):
        answer = self.client.infer("nested", {"X": self.A, "Y": self.B})
        np.testing.assert_array_equal(2 * self.A + 2 * self.B, answer["Z"])

    def test_only_the_outputs_asked_for(self):
        request = infer_request("twice", {"A": self.A, "B": self.B}, id="e")
        add_output(request, "TWICE_B")
        response = self.client.ModelInfer(request)
        self.assertEqual(["TWICE_B"], list(output_arrays(response)))
        self.assertEqual(("twice", "1", "e"),
                         (response.model_name, response.model_version, response.id))

    def test_it_looks_like_any_model(self):
        metadata = self.client.ModelMetadata(pb.ModelMetadataRequest(name="twice"))
        self.assertEqual("ensemble", metadata.platform)
        self.assertEqual(["A", "B"], [tensor.name for tensor in metadata.inputs])
        self.assertEqual([-1, 16], list(metadata.outputs[0].shape))
        steps = self.client.config("twice").ensemble_scheduling.step
        self.assertEqual(["simple", "simple"], [step.model_name for step in steps])

    def test_wrong_requests_are_its_own_fault(self):
        for arrays in ({"A": self.A}, {"A": self.A, "B": np.zeros((2, 15), np.int32)},
                       {"A": self.A, "B": self.B.astype(np.float32)},
                       {"A": self.A, "B": np.zeros((9, 16), np.int32)}):
            self.assert_error(grpc.StatusCode.INVALID_ARGUMENT, "", self.client.infer, "twice", arrays)

    def test_ensembles_that_cannot_work_say_why(self):
        index = self.client.index()
        for name in ("without", "circle", "there", "back", "unfit", "unfed"):
            with self.subTest(name):
                self.assertFalse(self.client.is_ready(name))
                reasons = [entry.reason for (model, _), entry in index.items() if model == name]
                self.assertTrue(all(reasons), reasons)

    def test_the_log_has_each_ensembles_fate_once(self):
        # Models load in the order of their names, so that some ensembles come before their steps.
        fates = {}
        for line in self.server.log():
            if line["event"] in ("model ready", "model failed to load",
                                 "ensemble is without its models"):
                fates.setdefault(line["model"], []).append(line["event"])
        for name in ("twice", "slowly", "nested"):
            self.assertEqual(["model ready"], fates[name], name)
        for name in ("without", "circle", "there", "back", "unfit", "unfed"):
            self.assertEqual(1, len(fates[name]), fates[name])
            self.assertNotEqual("model ready", fates[name][0])

    def test_its_and_its_steps_statistics(self):
        def counts():
            return [self.client.statistics(name).inference_count for name in ("twice", "simple")]
        before = counts()
        self.client.infer("twice", {"A": self.A, "B": self.B})
        self.assertEqual([2, 4], [now - then for now, then in zip(counts(), before)])

    def test_requests_of_an_ensemble_share_its_steps_batches(self):
        calls = [self.client.ModelInfer.future(
            infer_request("slowly", {"A": np.full((1, 1), i, np.int32)}), timeout=60)
            for i in range(24)]
        for i, call in enumerate(calls):
            self.assertEqual(i, output_arrays(call.result(60))["B"][0, 0])
        statistics = self.client.statistics("echo")
        self.assertLess(statistics.execution_count, statistics.inference_count)


class DependentsTests(ServerTest):
    MODELS = {"simple": add_sub(), "twice": TWICE}
    OPTIONS = ("--model-control-mode", "explicit")

    def load(self, model):
        self.client.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=model), timeout=60)

    def unload(self, model, dependents=False):
        request = pb.RepositoryModelUnloadRequest(model_name=model)
        request.parameters["unload_dependents"].bool_param = dependents
        self.client.RepositoryModelUnload(request, timeout=60)

    def ready(self):
        return [self.client.is_ready(name) for name in ("twice", "simple")]

    def test_an_ensemble_brings_its_models_and_takes_them_along_when_asked(self):
        self.load("twice")
        self.assertEqual([True, True], self.ready())
        self.unload("twice")
        eventually(lambda: self.ready() == [False, True], "the ensemble alone goes")
        self.load("twice")
        self.unload("twice", dependents=True)
        eventually(lambda: self.ready() == [False, False], "its models go too")

    def test_without_a_model_the_ensemble_is_away(self):
        self.load("twice")
        self.unload("simple")
        eventually(lambda: self.ready() == [False, False], "both are away")
        self.load("simple")
        eventually(lambda: self.ready() == [True, True], "both are back")


if __name__ == "__main__":
    unittest.main()

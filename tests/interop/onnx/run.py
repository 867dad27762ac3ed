"""The node tests of the onnx package: one operator each, with the inputs and outputs that are right.

A case counts against us when ONNX Runtime's own Python package, of the version that we serve with,
answers it right and our model server does not. Cases with tensors that KServe has no datatype for, or
with sequences and optionals, cannot be asked, nor the two of ON_PURPOSE.
"""

import argparse
import collections
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

sys.path.append(str(Path(__file__).resolve().parents[1]))
from model_server import DATATYPES, ModelServer  # noqa: E402, of the folder above

# What KServe's protocol, or this server on purpose, does not have.
ON_PURPOSE = {
    "test_constant": "a model without inputs",
    "test_string_split_empty_tensor": "a batch without rows",
}
CI_STEP = 5  # of --ci: each so manieth case


class CannotBeAsked(Exception):
    pass


def tensors(infos, values):
    """{name: array} of a case's inputs or outputs."""
    arrays = {}
    for info, value in zip(infos, values, strict=True):
        if info.type.WhichOneof("value") != "tensor_type" or value is None:
            raise CannotBeAsked("no tensor")
        if isinstance(value, onnx.TensorProto):
            value = numpy_helper.to_array(value)
        array = np.asarray(value)
        if array.dtype.kind in "US":
            array = array.astype(object)
        if array.dtype.name not in DATATYPES:
            raise CannotBeAsked(array.dtype.name)
        arrays[info.name] = array
    return arrays


def wrong(case, wanted, got):
    """Why `got` is not what the case wants; "" when it is."""
    for name, right in wanted.items():
        ours = got.get(name)
        if ours is None:
            return f"{name} is missing"
        if tuple(ours.shape) != right.shape:
            return f"{name} has the shape {tuple(ours.shape)}, not {right.shape}"
        if right.dtype == object:
            if not all(str(a) == (b.decode() if isinstance(b, bytes) else str(b))
                       for a, b in zip(ours.flat, right.flat)):
                return f"{name} has other texts"
            continue
        if ours.dtype != right.dtype:
            return f"{name} is {ours.dtype}, not {right.dtype}"
        wide = np.float64 if right.dtype.kind in "fV" else right.dtype
        if not np.allclose(ours.astype(wide), right.astype(wide), case.rtol, case.atol,
                           equal_nan=True):
            return f"{name} has other numbers"
    return ""


def by_runtime(path, inputs, outputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = {}
    for name, array in inputs.items():
        if array.dtype.name == "bfloat16":
            raise CannotBeAsked("bfloat16, which the runtime's Python does not take")
        feeds[name] = array
    got = session.run(list(outputs), feeds)
    return dict(zip(outputs, map(np.asarray, got), strict=True))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ci", action="store_true")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    cases = sorted(load_model_tests(kind="node"), key=lambda case: case.name)
    if arguments.names:
        cases = [case for case in cases if case.name in arguments.names]
    elif arguments.ci:
        cases = cases[::CI_STEP]
    sums, fallen = collections.Counter(), []
    with tempfile.TemporaryDirectory(prefix="ipint", dir="/tmp") as folder:
        repository = Path(folder)
        with ModelServer(repository) as server:
            for case in cases:
                verdict, why = judge(case, repository, server)
                sums[verdict] += 1
                if verdict == "falls short":
                    fallen.append(case.name)
                    print(f"    {case.name}: {why}", flush=True)
                elif verdict.startswith("not right, and"):
                    print(f"    ({case.name}: {why})", flush=True)
                if not server.alive():
                    sys.exit(f"the model server ended at {case.name}:\n{server.log.read_text()[-2000:]}")
    print("    " + ", ".join(f"{count} {verdict}" for verdict, count in sorted(sums.items())))
    if not sums["right"]:
        sys.exit("no case was answered")
    return 1 if fallen else 0


def judge(case, repository, server):
    if case.name in ON_PURPOSE:
        return "cannot be asked", ""
    graph = case.model.graph
    try:
        sets = [(tensors(graph.input, inputs), tensors(graph.output, outputs))
                for inputs, outputs in case.data_sets]
    except CannotBeAsked:
        return "cannot be asked", ""
    version = repository / case.name / "1"
    version.mkdir(parents=True)
    path = version / "model.onnx"
    onnx.save(case.model, path)
    try:
        known = True
        try:
            runtime = [wrong(case, wanted, by_runtime(path, inputs, wanted)) for inputs, wanted in sets]
        except CannotBeAsked:
            known, runtime = False, []
        except Exception as error:  # of the runtime, which has many kinds
            runtime = [str(error)]
        if any(runtime):
            return "not right in the runtime itself", ""
        why = by_server(case, sets, server)
    finally:
        shutil.rmtree(repository / case.name)
    if not why:
        return "right", ""
    return ("falls short" if known else "not right, and the runtime cannot be asked"), why


def by_server(case, sets, server):
    """Why our answers are not right; "" when they are."""
    try:
        server.client.load_model(case.name)
        found = [wrong(case, wanted, server.infer(case.name, inputs)) for inputs, wanted in sets]
        server.client.unload_model(case.name)
    except Exception as error:  # of gRPC and of its client
        return str(error)
    return next(filter(None, found), "")


if __name__ == "__main__":
    sys.exit(main())

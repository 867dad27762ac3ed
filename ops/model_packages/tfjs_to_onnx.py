"""Turns a TensorFlow.js GraphModel (a JSON file and its shards of weights) into nodes of an ONNX graph.

    graph = Graph()
    picture = graph.input("image", np.float32, (1, 224, 224, 3))
    outputs = convert("model.json", graph, {"input": picture}, ["Identity"])
    graph.output("scores", outputs[0])
    onnx.save(graph.model("name"), "model.onnx")

Shapes are known throughout: the inputs' are given, and everything that decides on a shape must be a constant.
An operator that is not in the table, or is used in a way that is not known here, is a ConversionError that
names the node.
"""

import base64
import json
import math
from pathlib import Path

import numpy as np

from onnx_graph import constant
from tf_operators import DTYPES, OPERATORS, ConversionError

def convert(path, graph, inputs, outputs):
    """Adds the GraphModel in the file `path` to `graph`. `inputs` has a Tensor for each placeholder's name;
    `outputs` names the nodes to compute. Returns their Tensors, in this order."""
    model = json.loads(Path(path).read_text())
    if not isinstance(model.get("modelTopology"), dict) or "node" not in model["modelTopology"]:
        raise ConversionError(f"{path} is no TensorFlow.js GraphModel")
    weights = read_weights(Path(path).parent, model["weightsManifest"])
    nodes = {node["name"]: Node(node) for node in model["modelTopology"]["node"]}
    values = {}  # the outputs of the nodes that are done
    for name in _in_order(nodes, [output.split(":")[0] for output in outputs]):
        node = nodes[name]
        if node.op == "Const":
            if name not in weights:
                raise node.error("has no weights")
            values[name] = [constant(weights[name])]
        elif node.op == "Placeholder":
            if name not in inputs:
                raise node.error("is an input that was not given")
            values[name] = [inputs[name]]
        elif node.op not in OPERATORS:
            raise node.error("is of a kind that is not known here")
        else:
            arguments = [values[source][index] for source, index in node.inputs]
            result = OPERATORS[node.op](graph, node, *arguments)
            values[name] = result if isinstance(result, list) else [result]
    return [values[name][int(index or 0)] for name, _, index in (output.partition(":") for output in outputs)]


def read_weights(folder, manifest):
    """Returns the arrays by name. Quantized ones come back as what they stand for."""
    weights = {}
    for group in manifest:
        data = b"".join((folder / name).read_bytes() for name in group["paths"])
        offset = 0
        for entry in group["weights"]:
            quantization = entry.get("quantization", {})
            stored = quantization.get("dtype", entry["dtype"])
            if stored not in DTYPES:
                raise ConversionError(f"the weights {entry['name']} are of the unknown type {stored}")
            dtype = np.dtype(DTYPES[stored]).newbyteorder("<")
            count = math.prod(entry["shape"])
            if offset + count * dtype.itemsize > len(data):
                raise ConversionError(f"the files of weights end before {entry['name']}")
            array = np.frombuffer(data, dtype, count, offset)
            offset += array.nbytes
            weights[entry["name"]] = _dequantize(array, entry, quantization).reshape(entry["shape"])
    return weights


def _dequantize(array, entry, quantization):
    dtype = DTYPES[entry["dtype"]]
    if "scale" not in quantization:
        return array.astype(dtype)
    array = array.astype(np.float32) * np.float32(quantization["scale"]) + np.float32(quantization["min"])
    return (np.rint(array) if np.issubdtype(dtype, np.integer) else array).astype(dtype)


def _in_order(nodes, wanted):
    """Yields the names of the nodes that the wanted ones need, each after its inputs."""
    done, entered, stack = set(), set(), list(reversed(wanted))
    while stack:
        name = stack[-1]
        if name not in nodes:
            raise ConversionError(f"there is no node {name}")
        missing = [source for source, _ in nodes[name].inputs if source not in done]
        if missing and name not in entered:
            entered.add(name)
            stack.extend(reversed(missing))
        elif missing:
            raise nodes[name].error("is part of a loop")
        else:
            stack.pop()
            if name not in done:
                done.add(name)
                yield name


class Node:
    """A node of the GraphModel, with its attributes in Python's types."""

    def __init__(self, node):
        self.name = node["name"]
        self.op = node["op"]
        self._attributes = node.get("attr", {})
        self.inputs = []  # (node, index of its output)
        for source in node.get("input", []):
            if not source.startswith("^"):  # which only says what runs first
                name, _, index = source.partition(":")
                self.inputs.append((name, int(index or 0)))

    def error(self, text):
        return ConversionError(f"node {self.name} ({self.op}) {text}")

    def attribute(self, name, default=None):
        if name not in self._attributes:
            return default
        return _attribute_value(self._attributes[name], default)

    def dtype(self, name):
        kind = self.attribute(name)
        if kind not in DTYPES:
            raise self.error(f"has the unknown type {kind}")
        return np.dtype(DTYPES[kind])

    def constant(self, tensor):
        """The value of an input that must be known now."""
        if tensor.value is None:
            raise self.error("has an input that must be a constant, and is not")
        return tensor.value

    def axis(self, number, rank):
        number = int(number)
        if not -rank <= number < rank:
            raise self.error(f"has no axis {number}")
        return number % rank


def _attribute_value(value, default):
    (kind, content), *_ = value.items() or [("none", None)]
    if kind == "list":
        return [_attribute_value({key: one}, None) for key, many in content.items() for one in many]
    if kind == "i":
        return int(content)
    if kind == "f":
        return float(content)
    if kind == "s":
        return base64.b64decode(content).decode()
    return default if content is None else content

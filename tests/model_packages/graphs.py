"""TensorFlow.js GraphModels, written as its converter writes them."""

import base64
import json
import math

import numpy as np

_TYPES = {"float32": "DT_FLOAT", "int32": "DT_INT32", "bool": "DT_BOOL"}


def attribute(value):
    """As TensorFlow's AttrValue in JSON. A text is a string, or a type when it begins with DT_."""
    if isinstance(value, bool):
        return {"b": value}
    if isinstance(value, int):
        return {"i": str(value)}
    if isinstance(value, float):
        return {"f": value}
    if isinstance(value, str):
        return {"type": value} if value.startswith("DT_") else {"s": base64.b64encode(value.encode()).decode()}
    ((kind, _),) = attribute(value[0]).items()
    return {"list": {kind: [attribute(one)[kind] for one in value]}}


def node(name, op, inputs=(), **attributes):
    return {"name": name, "op": op, "input": list(inputs),
            "attr": {key: attribute(value) for key, value in attributes.items()}}


class GraphModel:
    def __init__(self):
        self.nodes = []
        self.entries = []  # of the manifest of weights
        self.data = b""

    def placeholder(self, name, array):
        dims = [{"size": str(size)} for size in array.shape]
        self.nodes.append({"name": name, "op": "Placeholder",
                           "attr": {"dtype": {"type": _TYPES[array.dtype.name]}, "shape": {"shape": {"dim": dims}}}})

    def const(self, name, array, stored=None, **quantization):
        """`stored`: the numbers that are written in the place of the array's, with how they are quantized."""
        self.nodes.append(node(name, "Const", dtype=_TYPES[array.dtype.name]))
        entry = {"name": name, "shape": list(array.shape), "dtype": array.dtype.name}
        if stored is not None:
            entry["quantization"] = {"dtype": stored.dtype.name, **quantization}
        self.entries.append(entry)
        self.data += (array if stored is None else stored).tobytes()

    def add(self, name, op, inputs, **attributes):
        self.nodes.append(node(name, op, inputs, **attributes))

    def write(self, folder, shards=2):
        """Returns the path of the JSON file."""
        size = max(1, math.ceil(len(self.data) / shards))
        names = []
        for start in range(0, max(len(self.data), 1), size):
            names.append(f"group1-shard{len(names) + 1}of{shards}.bin")
            (folder / names[-1]).write_bytes(self.data[start:start + size])
        path = folder / "model.json"
        path.write_text(json.dumps({
            "format": "graph-model", "modelTopology": {"node": self.nodes, "library": {}, "versions": {}},
            "weightsManifest": [{"paths": names, "weights": self.entries}]}))
        return path


def numbers(*shape, seed=0, low=-2.0, high=2.0):
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)

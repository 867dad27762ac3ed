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

from onnx_graph import PLANAR_AXIS, TO_PLANAR, Graph, Tensor, constant, onnx_type

_DTYPES = {"DT_FLOAT": np.float32, "DT_INT32": np.int32, "DT_BOOL": np.bool_, "DT_UINT8": np.uint8,
           "DT_HALF": np.float16, "DT_INT64": np.int64, "float32": np.float32, "int32": np.int32, "bool": np.bool_,
           "uint8": np.uint8, "uint16": np.uint16, "float16": np.float16}


class ConversionError(Exception):
    pass


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
        elif node.op not in _OPERATORS:
            raise node.error("is of a kind that is not known here")
        else:
            arguments = [values[source][index] for source, index in node.inputs]
            result = _OPERATORS[node.op](graph, node, *arguments)
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
            if stored not in _DTYPES:
                raise ConversionError(f"the weights {entry['name']} are of the unknown type {stored}")
            dtype = np.dtype(_DTYPES[stored]).newbyteorder("<")
            count = math.prod(entry["shape"])
            if offset + count * dtype.itemsize > len(data):
                raise ConversionError(f"the files of weights end before {entry['name']}")
            array = np.frombuffer(data, dtype, count, offset)
            offset += array.nbytes
            weights[entry["name"]] = _dequantize(array, entry, quantization).reshape(entry["shape"])
    return weights


def _dequantize(array, entry, quantization):
    dtype = _DTYPES[entry["dtype"]]
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
        if kind not in _DTYPES:
            raise self.error(f"has the unknown type {kind}")
        return np.dtype(_DTYPES[kind])

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


# A function for each kind of operator: (graph, node, *input tensors) -> a tensor, or a list of them.
_OPERATORS = {}


def operator(*names):
    def register(function):
        for name in names:
            _OPERATORS[name] = function
        return function
    return register


# --- element by element --------------------------------------------------------------------------------------

_ELEMENTWISE = {"Abs": "Abs", "Ceil": "Ceil", "Elu": "Elu", "Exp": "Exp", "Floor": "Floor", "Log": "Log",
                "LogicalNot": "Not", "Neg": "Neg", "Reciprocal": "Reciprocal", "Relu": "Relu", "Sigmoid": "Sigmoid",
                "Softplus": "Softplus", "Sqrt": "Sqrt", "Tanh": "Tanh",
                "Add": "Add", "AddN": "Sum", "AddV2": "Add", "BiasAdd": "Add", "LogicalAnd": "And",
                "LogicalOr": "Or", "Maximum": "Max", "Minimum": "Min", "Mul": "Mul", "Pow": "Pow", "Prelu": "PRelu",
                "RealDiv": "Div", "Sub": "Sub"}
_COMPARISONS = {"Equal": "Equal", "Greater": "Greater", "GreaterEqual": "GreaterOrEqual", "Less": "Less",
                "LessEqual": "LessOrEqual"}


def _elementwise(kind, dtype=None):
    """The function of an operator for which ONNX has one just like it."""
    return lambda graph, node, *tensors: graph.elementwise(
        lambda *names: graph.node(kind, *names), *tensors, dtype=dtype)


_OPERATORS.update({name: _elementwise(kind) for name, kind in _ELEMENTWISE.items()})
_OPERATORS.update({name: _elementwise(kind, np.bool_) for name, kind in _COMPARISONS.items()})


@operator("Identity", "StopGradient")
def _identity(graph, node, x):
    return x


@operator("Relu6")
def _relu6(graph, node, x):
    return graph.elementwise(lambda a: graph.node("Clip", a, np.float32(0), np.float32(6)), x)


@operator("LeakyRelu")
def _leaky_relu(graph, node, x):
    return graph.elementwise(lambda a: graph.node("LeakyRelu", a, alpha=node.attribute("alpha", 0.2)), x)


@operator("Square")
def _square(graph, node, x):
    return graph.elementwise(lambda a: graph.node("Mul", a, a), x)


@operator("Rsqrt")
def _rsqrt(graph, node, x):
    return graph.elementwise(lambda a: graph.node("Reciprocal", graph.node("Sqrt", a)), x)


@operator("SquaredDifference")
def _squared_difference(graph, node, x, y):
    def emit(a, b):
        difference = graph.node("Sub", a, b)
        return graph.node("Mul", difference, difference)
    return graph.elementwise(emit, x, y)


@operator("FloorDiv")
def _floor_div(graph, node, x, y):
    if np.issubdtype(x.dtype, np.floating):
        return graph.elementwise(lambda a, b: graph.node("Floor", graph.node("Div", a, b)), x, y)
    # ONNX divides integers towards zero. Without the remainder, which has the divisor's sign, nothing is left over.
    return graph.elementwise(
        lambda a, b: graph.node("Div", graph.node("Sub", a, graph.node("Mod", a, b)), b), x, y)


@operator("FloorMod")
def _floor_mod(graph, node, x, y):
    if np.issubdtype(x.dtype, np.integer):
        return graph.elementwise(lambda a, b: graph.node("Mod", a, b), x, y)
    return graph.elementwise(
        lambda a, b: graph.node("Sub", a, graph.node("Mul", graph.node("Floor", graph.node("Div", a, b)), b)), x, y)


@operator("Cast")
def _cast(graph, node, x):
    dtype = node.dtype("DstT")
    return graph.elementwise(lambda a: graph.node("Cast", a, to=onnx_type(dtype)), x, dtype=dtype)


@operator("Select", "SelectV2")
def _select(graph, node, condition, x, y):
    if node.op == "Select" and condition.shape != x.shape and condition.rank != 0:
        raise node.error("chooses whole rows, which is not known here")
    return graph.elementwise(lambda c, a, b: graph.node("Where", c, a, b), condition, x, y, dtype=x.dtype)


# --- convolutions and pools -----------------------------------------------------------------------------------

def _window(node, name):
    """The numbers for height and width in a list of four."""
    numbers = node.attribute(name) or [1, 1, 1, 1]
    if node.attribute("data_format", "NHWC") != "NHWC" or len(numbers) != 4 or numbers[0] != 1 or numbers[3] != 1:
        raise node.error(f"has the {name} {numbers} in the layout {node.attribute('data_format', 'NHWC')}")
    return numbers[1:3]


def _pads(node, shape, kernel, strides, dilations):
    """Returns ONNX's `pads`, and the height and width of the result."""
    padding = node.attribute("padding")
    begins, ends, sizes = [], [], []
    for axis in range(2):
        size, reach = shape[1 + axis], (kernel[axis] - 1) * dilations[axis] + 1
        if padding == "SAME":
            missing = max((math.ceil(size / strides[axis]) - 1) * strides[axis] + reach - size, 0)
            begin, end = missing // 2, missing - missing // 2
        elif padding == "VALID":
            begin = end = 0
        elif padding == "EXPLICIT":
            begin, end = node.attribute("explicit_paddings")[2 + 2 * axis:4 + 2 * axis]
        else:
            raise node.error(f"has the unknown padding {padding}")
        begins.append(begin)
        ends.append(end)
        sizes.append((size + begin + end - reach) // strides[axis] + 1)
    return begins + ends, sizes


def _convolution(graph, node, x, weights, bias, groups):
    """`weights` are ONNX's: [filters, channels of a group, height, width]."""
    strides, dilations = _window(node, "strides"), _window(node, "dilations")
    kernel = weights.shape[2:]
    pads, sizes = _pads(node, x.shape, kernel, strides, dilations)
    if x.shape[3] != weights.shape[1] * groups:
        raise node.error(f"has weights for {weights.shape[1] * groups} channels, and {x.shape[3]} channels come")
    arguments = [graph.planar(x), weights]
    if bias is not None:
        arguments.append(node.constant(bias))
    name = graph.node("Conv", *arguments, kernel_shape=kernel, strides=strides, dilations=dilations, pads=pads,
                      group=groups)
    return Tensor((x.shape[0], *sizes, weights.shape[0]), x.dtype, planar=name)


def _with_fused(graph, node, arguments, compute):
    """Splits what follows the first two inputs of a fused operator into bias and activation; `compute(bias)` makes
    the result without the activation."""
    fused = node.attribute("fused_ops") or []
    bias = None
    if fused and fused[0] == "BiasAdd":
        bias, arguments, fused = arguments[0], arguments[1:], fused[1:]
    result = compute(bias)
    for activation in fused:
        if activation == "Prelu":
            result = _OPERATORS["Prelu"](graph, node, result, arguments[0])
        elif activation == "LeakyRelu":
            alpha = node.attribute("leakyrelu_alpha", 0.2)
            result = graph.elementwise(lambda a: graph.node("LeakyRelu", a, alpha=alpha), result)
        elif activation in ("Relu", "Relu6", "Elu", "Sigmoid"):
            result = _OPERATORS[activation](graph, node, result)
        else:
            raise node.error(f"is fused with {activation}, which is not known here")
    return result


@operator("Conv2D", "_FusedConv2D")
def _conv2d(graph, node, x, filters, *others):
    weights = np.ascontiguousarray(node.constant(filters).transpose(3, 2, 0, 1))
    groups = x.shape[3] // weights.shape[1]
    return _with_fused(graph, node, others, lambda bias: _convolution(graph, node, x, weights, bias, groups))


@operator("DepthwiseConv2dNative", "FusedDepthwiseConv2dNative")
def _depthwise(graph, node, x, filters, *others):
    value = node.constant(filters)  # [height, width, channels, filters of each channel]
    height, width, channels, multiplier = value.shape
    weights = np.ascontiguousarray(value.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width))
    return _with_fused(graph, node, others, lambda bias: _convolution(graph, node, x, weights, bias, channels))


@operator("MaxPool", "AvgPool")
def _pool(graph, node, x):
    kernel, strides = _window(node, "ksize"), _window(node, "strides")
    pads, sizes = _pads(node, x.shape, kernel, strides, (1, 1))
    kind = "MaxPool" if node.op == "MaxPool" else "AveragePool"
    name = graph.node(kind, graph.planar(x), kernel_shape=kernel, strides=strides, pads=pads)
    return Tensor((x.shape[0], *sizes, x.shape[3]), x.dtype, planar=name)


@operator("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
def _batch_norm(graph, node, x, scale, offset, mean, variance):
    if node.attribute("is_training", False):
        raise node.error("is one for training")
    scale, offset, mean, variance = (node.constant(one) for one in (scale, offset, mean, variance))
    factor = scale / np.sqrt(variance + np.float32(node.attribute("epsilon", 1e-3)))
    scaled = graph.elementwise(lambda a, b: graph.node("Mul", a, b), x, constant(factor))
    return graph.elementwise(lambda a, b: graph.node("Add", a, b), scaled, constant(offset - mean * factor))


@operator("ResizeBilinear", "ResizeNearestNeighbor")
def _resize(graph, node, x, size):
    sizes = [int(one) for one in node.constant(size)]
    align, half = node.attribute("align_corners", False), node.attribute("half_pixel_centers", False)
    mode = "align_corners" if align else "half_pixel" if half else "asymmetric"
    shape = (x.shape[0], *sizes, x.shape[3])
    if shape == x.shape:
        return x
    attributes = dict(mode="linear", coordinate_transformation_mode=mode)
    if node.op == "ResizeNearestNeighbor":
        nearest = "round_prefer_ceil" if align else "floor"
        attributes = dict(mode="nearest", coordinate_transformation_mode="align_corners" if align else
                          "half_pixel" if half else "asymmetric", nearest_mode=nearest)
    target = np.array([x.shape[0], x.shape[3], *sizes], np.int64)
    if all(after % before == 0 for after, before in zip(sizes, x.shape[1:3])) and not align:
        scales = np.array([1, 1, sizes[0] / x.shape[1], sizes[1] / x.shape[2]], np.float32)
        name = graph.node("Resize", graph.planar(x), "", scales, **attributes)
    else:
        name = graph.node("Resize", graph.planar(x), "", "", target, **attributes)
    return Tensor(shape, x.dtype, planar=name)


@operator("DepthToSpace")
def _depth_to_space(graph, node, x):
    block = node.attribute("block_size")
    name = graph.node("DepthToSpace", graph.planar(x), blocksize=block, mode="DCR")
    number, height, width, channels = x.shape
    return Tensor((number, height * block, width * block, channels // block ** 2), x.dtype, planar=name)


# --- sums and the like ----------------------------------------------------------------------------------------

_GLOBAL = {"Mean": "GlobalAveragePool", "Max": "GlobalMaxPool"}
_REDUCTIONS = {"Mean": "ReduceMean", "Max": "ReduceMax", "Min": "ReduceMin", "Prod": "ReduceProd"}


@operator("Sum", *_REDUCTIONS)
def _reduce(graph, node, x, axes):
    axes = sorted({node.axis(axis, x.rank) for axis in np.atleast_1d(node.constant(axes))})
    keep = node.attribute("keep_dims", False)
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    shape = kept if keep else tuple(size for axis, size in enumerate(x.shape) if axis not in axes)
    if x.is_planar and axes == [1, 2] and node.op in _GLOBAL:
        result = Tensor(kept, x.dtype, planar=graph.node(_GLOBAL[node.op], x.planar))
        return result if keep else _reshaped(graph, Tensor(kept, x.dtype, plain=result.planar), shape)
    if node.op == "Sum":
        name = graph.node("ReduceSum", graph.plain(x), np.array(axes, np.int64), keepdims=int(keep))
    else:
        name = graph.node(_REDUCTIONS[node.op], graph.plain(x), axes=axes, keepdims=int(keep))
    return Tensor(shape, x.dtype, plain=name)


@operator("ArgMax")
def _arg_max(graph, node, x, dimension):
    axis = node.axis(node.constant(dimension), x.rank)
    name = graph.node("ArgMax", graph.plain(x), axis=axis, keepdims=0)
    dtype = np.dtype(_DTYPES[node.attribute("output_type", "DT_INT64")])
    return Tensor(x.shape[:axis] + x.shape[axis + 1:], dtype, plain=graph.node("Cast", name, to=onnx_type(dtype)))


@operator("TopKV2")
def _top_k(graph, node, x, k):
    k = int(node.constant(k))
    values, indices = graph.node("TopK", graph.plain(x), np.array([k], np.int64), outputs=2, axis=-1,
                                 sorted=int(node.attribute("sorted", True)))
    shape = (*x.shape[:-1], k)
    return [Tensor(shape, x.dtype, plain=values),
            Tensor(shape, np.int32, plain=graph.node("Cast", indices, to=onnx_type(np.int32)))]


@operator("Softmax")
def _softmax(graph, node, x):
    return Tensor(x.shape, x.dtype, plain=graph.node("Softmax", graph.plain(x), axis=-1))


@operator("MatMul", "_FusedMatMul")
def _mat_mul(graph, node, x, y, *others):
    first, second = bool(node.attribute("transpose_a", False)), bool(node.attribute("transpose_b", False))

    def compute(bias):
        arguments = [graph.plain(x), graph.plain(y)] + ([graph.plain(bias)] if bias is not None else [])
        name = graph.node("Gemm", *arguments, transA=int(first), transB=int(second))
        return Tensor((x.shape[int(first)], y.shape[1 - int(second)]), x.dtype, plain=name)
    return _with_fused(graph, node, others, compute)


# --- shapes ---------------------------------------------------------------------------------------------------

def _reshaped(graph, x, shape):
    if x.value is not None:
        return constant(x.value.reshape(shape))
    return Tensor(shape, x.dtype, plain=graph.node("Reshape", graph.plain(x), np.array(shape, np.int64)))


@operator("Reshape")
def _reshape(graph, node, x, shape):
    sizes = [int(size) for size in node.constant(shape)]
    count = math.prod(x.shape)
    if -1 in sizes:
        sizes[sizes.index(-1)] = count // max(1, -math.prod(sizes))
    if math.prod(sizes) != count or min(sizes, default=0) < 0:
        raise node.error(f"makes {x.shape} into {node.constant(shape).tolist()}")
    return _reshaped(graph, x, sizes)


@operator("Squeeze")
def _squeeze(graph, node, x):
    axes = node.attribute("squeeze_dims") or [axis for axis, size in enumerate(x.shape) if size == 1]
    axes = {node.axis(axis, x.rank) for axis in axes}
    return _reshaped(graph, x, [size for axis, size in enumerate(x.shape) if axis not in axes])


@operator("ExpandDims")
def _expand_dims(graph, node, x, dimension):
    axis = node.axis(node.constant(dimension), x.rank + 1)
    return _reshaped(graph, x, x.shape[:axis] + (1,) + x.shape[axis:])


@operator("Shape")
def _shape(graph, node, x):
    return constant(np.array(x.shape, np.int32))


@operator("Transpose")
def _transpose(graph, node, x, permutation):
    order = [node.axis(axis, x.rank) for axis in node.constant(permutation)]
    return Tensor([x.shape[axis] for axis in order], x.dtype,
                  plain=graph.node("Transpose", graph.plain(x), perm=order))


@operator("ConcatV2")
def _concat(graph, node, *arguments):
    *parts, axis = arguments
    axis = node.axis(node.constant(axis), parts[0].rank)
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    if any(part.is_planar for part in parts):
        names = [graph.planar(part) if part.rank == 4 and part.value is None else
                 graph.initializer(part.value.transpose(TO_PLANAR)) for part in parts]
        return Tensor(shape, parts[0].dtype, planar=graph.node("Concat", *names, axis=PLANAR_AXIS[axis]))
    if all(part.value is not None for part in parts):
        return constant(np.concatenate([part.value for part in parts], axis))
    return Tensor(shape, parts[0].dtype, plain=graph.node("Concat", *(graph.plain(part) for part in parts), axis=axis))


@operator("Pack")
def _pack(graph, node, *parts):
    axis = node.axis(node.attribute("axis", 0), parts[0].rank + 1)
    shape = parts[0].shape[:axis] + (len(parts),) + parts[0].shape[axis:]
    if all(part.value is not None for part in parts):
        return constant(np.stack([part.value for part in parts], axis))
    names = [graph.node("Unsqueeze", graph.plain(part), np.array([axis], np.int64)) for part in parts]
    return Tensor(shape, parts[0].dtype, plain=graph.node("Concat", *names, axis=axis))


@operator("Unpack")
def _unpack(graph, node, x):
    axis = node.axis(node.attribute("axis", 0), x.rank)
    shape = x.shape[:axis] + x.shape[axis + 1:]
    return [_reshaped(graph, part, shape) for part in _split_at(graph, x, axis, [1] * x.shape[axis])]


def _split_at(graph, x, axis, sizes):
    if len(sizes) == 1:
        return [x]
    names = graph.node("Split", graph.plain(x), np.array(sizes, np.int64), outputs=len(sizes), axis=axis)
    return [Tensor(x.shape[:axis] + (size,) + x.shape[axis + 1:], x.dtype, plain=name)
            for name, size in zip(names, sizes)]


@operator("Split")
def _split(graph, node, dimension, x):
    axis, count = node.axis(node.constant(dimension), x.rank), node.attribute("num_split")
    return _split_at(graph, x, axis, [x.shape[axis] // count] * count)


@operator("SplitV")
def _split_v(graph, node, x, sizes, dimension):
    axis = node.axis(node.constant(dimension), x.rank)
    return _split_at(graph, x, axis, [int(size) for size in node.constant(sizes)])


@operator("Pad", "PadV2")
def _pad(graph, node, x, paddings, *value):
    pads = node.constant(paddings).astype(np.int64)
    shape = tuple(size + before + after for size, (before, after) in zip(x.shape, pads))
    fill = np.asarray(node.constant(value[0]) if value else 0, x.dtype)
    if x.rank == 4:
        name = graph.node("Pad", graph.planar(x), pads[list(TO_PLANAR)].T.reshape(-1), fill)
        return Tensor(shape, x.dtype, planar=name)
    return Tensor(shape, x.dtype, plain=graph.node("Pad", graph.plain(x), pads.T.reshape(-1), fill))


@operator("Slice")
def _slice(graph, node, x, begin, size):
    begins, sizes = node.constant(begin), node.constant(size)
    ends = [x.shape[axis] if size < 0 else begins[axis] + size for axis, size in enumerate(sizes)]
    return _sliced(graph, x, [slice(int(one), int(end), 1) for one, end in zip(begins, ends)])


def _sliced(graph, x, slices):
    """`slices` has one of Python's for each axis."""
    parts = [(axis, *part.indices(x.shape[axis])) for axis, part in enumerate(slices)]
    shape = [len(range(start, stop, step)) for _, start, stop, step in parts]
    parts = [part for part in parts if part[1:] != (0, x.shape[part[0]], 1)]
    if x.value is not None:
        return constant(x.value[tuple(slices)])
    if not parts:
        return x
    axes, starts, stops, steps = (np.array(column, np.int64) for column in zip(*parts))
    stops[stops < 0] = np.iinfo(np.int64).min  # to the front's end, which a negative step leaves
    return Tensor(shape, x.dtype, plain=graph.node("Slice", graph.plain(x), starts, stops, axes, steps))


@operator("StridedSlice")
def _strided_slice(graph, node, x, begin, end, strides):
    begin, end, strides = (node.constant(one).tolist() for one in (begin, end, strides))
    masks = {name: node.attribute(f"{name}_mask", 0) for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    slices, shape = [], []  # shape: 1 for a new axis, None for one that goes, else the axis that it comes from
    for place, (first, last, step) in enumerate(zip(begin, end, strides)):
        given = {name: bool(mask >> place & 1) for name, mask in masks.items()}
        if given["ellipsis"]:
            after = sum(not masks["new_axis"] >> later & 1 for later in range(place + 1, len(begin)))
            while len(slices) < x.rank - after:
                shape.append(len(slices))
                slices.append(slice(None))
        elif given["new_axis"]:
            shape.append(None)
        elif given["shrink_axis"]:
            start = node.axis(first, x.shape[len(slices)])
            slices.append(slice(start, start + 1))
        else:
            shape.append(len(slices))
            slices.append(slice(None if given["begin"] else first, None if given["end"] else last, step))
    while len(slices) < x.rank:
        shape.append(len(slices))
        slices.append(slice(None))
    result = _sliced(graph, x, slices)
    sizes = [1 if axis is None else result.shape[axis] for axis in shape]
    return result if tuple(sizes) == result.shape else _reshaped(graph, result, sizes)


@operator("Tile")
def _tile(graph, node, x, multiples):
    multiples = node.constant(multiples).astype(np.int64)
    return Tensor([size * times for size, times in zip(x.shape, multiples)], x.dtype,
                  plain=graph.node("Tile", graph.plain(x), multiples))


@operator("GatherV2")
def _gather(graph, node, x, indices, axis):
    if node.attribute("batch_dims", 0) != 0:
        raise node.error("gathers from batches, which is not known here")
    axis = node.axis(node.constant(axis), x.rank)
    return Tensor(x.shape[:axis] + indices.shape + x.shape[axis + 1:], x.dtype,
                  plain=graph.node("Gather", graph.plain(x), graph.plain(indices), axis=axis))


@operator("GatherNd")
def _gather_nd(graph, node, x, indices):
    places = graph.node("Cast", graph.plain(indices), to=onnx_type(np.int64))
    return Tensor(indices.shape[:-1] + x.shape[indices.shape[-1]:], x.dtype,
                  plain=graph.node("GatherND", graph.plain(x), places))

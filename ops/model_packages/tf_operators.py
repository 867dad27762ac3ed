"""What TensorFlow's operators are in ONNX: OPERATORS has a function for each kind, which takes the graph, the node
and the tensors that come in, and returns the tensor that comes out, or a list of them.

TensorFlow lays pictures out as [number, height, width, channels], ONNX as [number, channels, height, width]: each
convolution, pool and resize stands between two transpositions. ONNX Runtime removes nearly all of them when it
loads the model: nets that were written without took the same time.
"""

import math

import numpy as np

from onnx_graph import Tensor, constant, onnx_type

DTYPES = {"DT_FLOAT": np.float32, "DT_INT32": np.int32, "DT_BOOL": np.bool_, "float32": np.float32,
          "int32": np.int32, "bool": np.bool_, "uint8": np.uint8, "uint16": np.uint16, "float16": np.float16}

OPERATORS = {}


class ConversionError(Exception):
    pass


def operator(*names):
    def register(function):
        for name in names:
            OPERATORS[name] = function
        return function
    return register


# --- element by element --------------------------------------------------------------------------------------

# Those that ONNX has just so.
_ALIKE = {"Abs": "Abs", "Add": "Add", "AddV2": "Add", "Elu": "Elu", "Exp": "Exp", "Maximum": "Max", "Minimum": "Min",
          "Mul": "Mul", "Neg": "Neg", "Prelu": "PRelu", "RealDiv": "Div", "Relu": "Relu", "Sigmoid": "Sigmoid",
          "Sqrt": "Sqrt", "Sub": "Sub", "Tanh": "Tanh"}


def _broadcast(name, *tensors, dtype=None):
    """The tensor `name`, made of tensors that are broadcast as numpy does it."""
    shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
    return Tensor(shape, tensors[0].dtype if dtype is None else dtype, name)


@operator(*_ALIKE)
def _alike(graph, node, *tensors):
    return _broadcast(graph.node(_ALIKE[node.op], *tensors), *tensors)


@operator("Identity")
def _identity(graph, node, x):
    return x


@operator("Equal")
def _equal(graph, node, x, y):
    return _broadcast(graph.node("Equal", x, y), x, y, dtype=np.bool_)


@operator("Relu6")
def _relu6(graph, node, x):
    return _broadcast(graph.node("Clip", x, np.float32(0), np.float32(6)), x)


@operator("LeakyRelu")
def _leaky_relu(graph, node, x):
    return _broadcast(graph.node("LeakyRelu", x, alpha=node.attribute("alpha", 0.2)), x)


@operator("Square")
def _square(graph, node, x):
    return _broadcast(graph.node("Mul", x, x), x)


@operator("Rsqrt")
def _rsqrt(graph, node, x):
    return _broadcast(graph.node("Reciprocal", graph.node("Sqrt", x)), x)


@operator("SquaredDifference")
def _squared_difference(graph, node, x, y):
    difference = graph.node("Sub", x, y)
    return _broadcast(graph.node("Mul", difference, difference), x, y)


@operator("FloorDiv")
def _floor_div(graph, node, x, y):
    if np.issubdtype(x.dtype, np.floating):
        return _broadcast(graph.node("Floor", graph.node("Div", x, y)), x, y)
    # ONNX divides integers towards zero; without the remainder, which has the divisor's sign, nothing is cut off.
    return _broadcast(graph.node("Div", graph.node("Sub", x, graph.node("Mod", x, y)), y), x, y)


@operator("FloorMod")
def _floor_mod(graph, node, x, y):
    if np.issubdtype(x.dtype, np.integer):
        return _broadcast(graph.node("Mod", x, y), x, y)
    whole = graph.node("Floor", graph.node("Div", x, y))
    return _broadcast(graph.node("Sub", x, graph.node("Mul", whole, y)), x, y)


@operator("Cast")
def _cast(graph, node, x):
    dtype = node.dtype("DstT")
    return _broadcast(graph.node("Cast", x, to=onnx_type(dtype)), x, dtype=dtype)


# --- pictures ------------------------------------------------------------------------------------------------

def _channels_first(graph, kind, x, *inputs, **attributes):
    """The name of what the ONNX node makes of the pictures `x` and its other inputs."""
    name = graph.node(kind, graph.node("Transpose", x, perm=(0, 3, 1, 2)), *inputs, **attributes)
    return graph.node("Transpose", name, perm=(0, 2, 3, 1))


def _window(node, name):
    """The numbers for height and width in the list `name`, which has one for each axis."""
    numbers, layout = node.attribute(name) or [1, 1, 1, 1], node.attribute("data_format", "NHWC")
    if layout != "NHWC" or len(numbers) != 4 or numbers[0] != 1 or numbers[3] != 1:
        raise node.error(f"has the {name} {numbers} in the layout {layout}")
    return numbers[1:3]


def _pads(node, sizes, kernel, strides, dilations):
    """ONNX's `pads`, and the height and width that come out when `sizes` go in."""
    padding = node.attribute("padding")
    if padding not in ("SAME", "VALID"):
        raise node.error(f"has the padding {padding}, which is not known here")
    begins, ends, results = [], [], []
    for size, length, stride, dilation in zip(sizes, kernel, strides, dilations):
        reach, missing = (length - 1) * dilation + 1, 0
        if padding == "SAME":
            missing = max((math.ceil(size / stride) - 1) * stride + reach - size, 0)
        begins.append(missing // 2)
        ends.append(missing - missing // 2)
        results.append((size + missing - reach) // stride + 1)
    return begins + ends, results


def _convolution(graph, node, x, weights, groups, *others):
    """`weights` are ONNX's: [filters, channels of a group, height, width]; `others` are what is fused with it."""
    strides, dilations, kernel = _window(node, "strides"), _window(node, "dilations"), weights.shape[2:]
    if x.shape[3] != weights.shape[1] * groups:
        raise node.error(f"has weights for {weights.shape[1] * groups} channels, and {x.shape[3]} come")
    pads, sizes = _pads(node, x.shape[1:3], kernel, strides, dilations)

    def convolve(*bias):
        name = _channels_first(graph, "Conv", x, weights, *bias, kernel_shape=kernel, strides=strides,
                               dilations=dilations, pads=pads, group=groups)
        return Tensor((x.shape[0], *sizes, weights.shape[0]), x.dtype, name)
    return _fused(graph, node, others, convolve)


def _fused(graph, node, others, compute):
    """The result of `compute(bias)`, or without a bias `compute()`, after the activation that the node has."""
    kinds, others = list(node.attribute("fused_ops") or []), list(others)
    if kinds and kinds[0] == "BiasAdd":
        kinds.pop(0)
        result = compute(others.pop(0))
    else:
        result = compute()
    for kind in kinds:
        if kind in ("Relu", "Relu6", "Elu", "Sigmoid"):
            result = _activation(graph, kind, result)
        elif kind == "Prelu":
            result = _broadcast(graph.node("PRelu", result, others.pop(0)), result)
        elif kind == "LeakyRelu":
            alpha = node.attribute("leakyrelu_alpha", 0.2)
            result = _broadcast(graph.node("LeakyRelu", result, alpha=alpha), result)
        else:
            raise node.error(f"is fused with {kind}, which is not known here")
    return result


def _activation(graph, kind, x):
    return _relu6(graph, None, x) if kind == "Relu6" else _broadcast(graph.node(kind, x), x)


@operator("Conv2D", "_FusedConv2D")
def _conv2d(graph, node, x, filters, *others):
    weights = node.constant(filters).transpose(3, 2, 0, 1)
    return _convolution(graph, node, x, weights, x.shape[3] // weights.shape[1], *others)


@operator("DepthwiseConv2dNative", "FusedDepthwiseConv2dNative")
def _depthwise(graph, node, x, filters, *others):
    value = node.constant(filters)  # [height, width, channels, filters of each channel]
    height, width, channels, multiplier = value.shape
    weights = value.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    return _convolution(graph, node, x, weights, channels, *others)


@operator("MaxPool", "AvgPool")
def _pool(graph, node, x):
    kernel, strides = _window(node, "ksize"), _window(node, "strides")
    pads, sizes = _pads(node, x.shape[1:3], kernel, strides, (1, 1))
    kind = "MaxPool" if node.op == "MaxPool" else "AveragePool"
    name = _channels_first(graph, kind, x, kernel_shape=kernel, strides=strides, pads=pads)
    return Tensor((x.shape[0], *sizes, x.shape[3]), x.dtype, name)


@operator("ResizeBilinear")
def _resize(graph, node, x, size):
    height, width = (int(one) for one in node.constant(size))
    mode = ("align_corners" if node.attribute("align_corners", False) else
            "half_pixel" if node.attribute("half_pixel_centers", False) else "asymmetric")
    name = _channels_first(graph, "Resize", x, "", "", np.array([x.shape[0], x.shape[3], height, width]),
                           mode="linear", coordinate_transformation_mode=mode)
    return Tensor((x.shape[0], height, width, x.shape[3]), x.dtype, name)


# --- sums and the like ---------------------------------------------------------------------------------------

@operator("Sum", "Mean", "Max")
def _reduce(graph, node, x, axes):
    axes = sorted({node.axis(axis, x.rank) for axis in np.atleast_1d(node.constant(axes))})
    keep = bool(node.attribute("keep_dims", False))
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape) if keep or axis not in axes]
    if node.op == "Sum":  # the only one whose axes were an input by then
        return Tensor(shape, x.dtype, graph.node("ReduceSum", x, np.array(axes), keepdims=int(keep)))
    return Tensor(shape, x.dtype, graph.node(f"Reduce{node.op}", x, axes=axes, keepdims=int(keep)))


@operator("ArgMax")
def _arg_max(graph, node, x, dimension):
    axis, dtype = node.axis(node.constant(dimension), x.rank), node.dtype("output_type")
    name = graph.node("Cast", graph.node("ArgMax", x, axis=axis, keepdims=0), to=onnx_type(dtype))
    return Tensor(x.shape[:axis] + x.shape[axis + 1:], dtype, name)


@operator("TopKV2")
def _top_k(graph, node, x, k):
    shape = (*x.shape[:-1], int(node.constant(k)))
    values, indices = graph.node("TopK", x, np.array(shape[-1:]), outputs=2)
    return [Tensor(shape, x.dtype, values),
            Tensor(shape, np.int32, graph.node("Cast", indices, to=onnx_type(np.int32)))]


@operator("Softmax")
def _softmax(graph, node, x):
    return Tensor(x.shape, x.dtype, graph.node("Softmax", x, axis=-1))


@operator("MatMul", "_FusedMatMul")
def _mat_mul(graph, node, x, y, *others):
    first, second = int(node.attribute("transpose_a", False)), int(node.attribute("transpose_b", False))

    def multiply(*bias):
        name = graph.node("Gemm", x, y, *bias, transA=first, transB=second)
        return Tensor((x.shape[first], y.shape[1 - second]), x.dtype, name)
    return _fused(graph, node, others, multiply)


# --- shapes --------------------------------------------------------------------------------------------------

def _reshaped(graph, x, shape):
    return Tensor(shape, x.dtype, graph.node("Reshape", x, np.array(shape, np.int64)))


@operator("Reshape")
def _reshape(graph, node, x, shape):
    sizes, count = [int(size) for size in node.constant(shape)], math.prod(x.shape)
    if -1 in sizes:
        sizes[sizes.index(-1)] = count // max(1, -math.prod(sizes))
    if math.prod(sizes) != count:
        raise node.error(f"makes {list(x.shape)} into {node.constant(shape).tolist()}")
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


@operator("Transpose")
def _transpose(graph, node, x, permutation):
    order = [node.axis(axis, x.rank) for axis in node.constant(permutation)]
    return Tensor([x.shape[axis] for axis in order], x.dtype, graph.node("Transpose", x, perm=order))


@operator("ConcatV2")
def _concat(graph, node, *arguments):
    *parts, axis = arguments
    axis, shape = node.axis(node.constant(axis), parts[0].rank), list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    return Tensor(shape, parts[0].dtype, graph.node("Concat", *parts, axis=axis))


@operator("Pack")
def _pack(graph, node, *parts):
    axis = node.axis(node.attribute("axis", 0), parts[0].rank + 1)
    shape = parts[0].shape[:axis] + (len(parts),) + parts[0].shape[axis:]
    names = [graph.node("Unsqueeze", part, np.array([axis])) for part in parts]
    return Tensor(shape, parts[0].dtype, graph.node("Concat", *names, axis=axis))


@operator("Unpack")
def _unpack(graph, node, x):
    axis = node.axis(node.attribute("axis", 0), x.rank)
    shape = x.shape[:axis] + x.shape[axis + 1:]
    return [Tensor(shape, x.dtype, graph.node("Gather", x, np.array(place), axis=axis))
            for place in range(x.shape[axis])]


@operator("Pad")
def _pad(graph, node, x, paddings):
    pads = node.constant(paddings).astype(np.int64)
    shape = [size + before + after for size, (before, after) in zip(x.shape, pads)]
    return Tensor(shape, x.dtype, graph.node("Pad", x, pads.T.reshape(-1)))


@operator("StridedSlice")
def _strided_slice(graph, node, x, begin, end, strides):
    if node.attribute("ellipsis_mask", 0) or node.attribute("new_axis_mask", 0):
        raise node.error("has an ellipsis or a new axis, which are not known here")
    masks = [node.attribute(f"{name}_mask", 0) for name in ("begin", "end", "shrink_axis")]
    parts, shape = [], list(x.shape)
    for axis, (first, last, step) in enumerate(zip(*(node.constant(one).tolist() for one in (begin, end, strides)))):
        from_begin, to_end, one = (bool(mask >> axis & 1) for mask in masks)
        if one:
            place = node.axis(first, x.shape[axis])
            parts.append((place, place + 1, 1))
        else:
            parts.append(slice(None if from_begin else first, None if to_end else last, step).indices(x.shape[axis]))
        shape[axis] = None if one else len(range(*parts[-1]))
    starts, stops, steps = (np.array(column) for column in zip(*parts))
    stops[stops < 0] = np.iinfo(np.int64).min  # before the first: a backward step goes that far
    name = graph.node("Slice", x, starts, stops, np.arange(len(parts)), steps)
    return _reshaped(graph, Tensor(shape=(), dtype=x.dtype, name=name), [size for size in shape if size is not None])


@operator("GatherV2")
def _gather(graph, node, x, indices, axis):
    if node.attribute("batch_dims", 0):
        raise node.error("gathers from batches, which is not known here")
    axis = node.axis(node.constant(axis), x.rank)
    return Tensor(x.shape[:axis] + indices.shape + x.shape[axis + 1:], x.dtype,
                  graph.node("Gather", x, indices, axis=axis))


@operator("GatherNd")
def _gather_nd(graph, node, x, indices):
    places = graph.node("Cast", indices, to=onnx_type(np.int64))
    return Tensor(indices.shape[:-1] + x.shape[indices.shape[-1]:], x.dtype, graph.node("GatherND", x, places))

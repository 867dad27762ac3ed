"""Nets of one operator, and what numpy says that they answer.

`nets()` yields Net(name, model, inputs, expected): an onnx.ModelProto, and arrays by name. The
expected answers are worked out here from ONNX's definitions of the operators, in float64.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ONNX_TYPES = {np.dtype(kind): number for kind, number in (
    (np.float32, TensorProto.FLOAT), (np.float64, TensorProto.DOUBLE),
    (np.float16, TensorProto.FLOAT16), (np.int32, TensorProto.INT32), (np.int64, TensorProto.INT64),
    (np.uint8, TensorProto.UINT8), (np.int8, TensorProto.INT8), (np.bool_, TensorProto.BOOL))}


class Net(NamedTuple):
    name: str
    model: bytes
    inputs: dict
    expected: dict


def net(name, operator, inputs, expected, constants=None, opset=13, open_output=False,
        **attributes):
    """Inputs and constants are arrays by name, in the operator's order; None: left out.
    `open_output`: the sizes of the output depend on the numbers, so the file does not say them."""
    constants = constants or {}
    both = {**inputs, **constants}
    outputs = expected if isinstance(expected, dict) else {"y": expected}
    node = helper.make_node(operator, ["" if array is None else key for key, array in both.items()],
                            list(outputs), **attributes)

    def value(key, array):
        return helper.make_tensor_value_info(key, ONNX_TYPES[array.dtype], array.shape)

    def open_value(key, array):
        return helper.make_tensor_value_info(key, ONNX_TYPES[array.dtype],
                                             [f"{key}{axis}" for axis in range(array.ndim)])

    graph = helper.make_graph(
        [node], name, [value(key, array) for key, array in inputs.items() if array is not None],
        [(open_value if open_output else value)(key, array) for key, array in outputs.items()],
        [numpy_helper.from_array(array, key) for key, array in constants.items()
         if array is not None])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 7
    return Net(name, model.SerializeToString(), inputs, outputs)


def numbers(*shape, seed=1, low=-2.0, high=2.0, dtype=np.float32):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(dtype)


def floats(array):
    return np.asarray(array, np.float32)


def whole(values):
    return np.asarray(values, np.int64)


def elementwise():
    x = numbers(2, 3, 4)
    positive = numbers(2, 3, 4, low=0.1)
    unit = numbers(2, 3, 4, low=-0.9, high=0.9)
    erf = np.vectorize(math.erf)
    wide = x.astype(np.float64)
    unary = {
        "Abs": (x, np.abs), "Neg": (x, np.negative), "Exp": (x, np.exp), "Log": (positive, np.log),
        "Sqrt": (positive, np.sqrt), "Reciprocal": (positive, np.reciprocal),
        "Floor": (x, np.floor), "Ceil": (x, np.ceil), "Round": (x, np.round), "Sign": (x, np.sign),
        "Sin": (x, np.sin), "Cos": (x, np.cos), "Tan": (unit, np.tan), "Asin": (unit, np.arcsin),
        "Acos": (unit, np.arccos), "Atan": (x, np.arctan), "Sinh": (x, np.sinh),
        "Cosh": (x, np.cosh), "Tanh": (x, np.tanh), "Asinh": (x, np.arcsinh),
        "Acosh": (positive + 1, np.arccosh), "Atanh": (unit, np.arctanh), "Erf": (x, erf),
        "Sigmoid": (x, lambda v: 1 / (1 + np.exp(-v))), "Relu": (x, lambda v: np.maximum(v, 0)),
        "Softplus": (x, lambda v: np.log1p(np.exp(v))),
        "Softsign": (x, lambda v: v / (1 + np.abs(v))), "Identity": (x, lambda v: v),
    }
    for operator, (array, function) in unary.items():
        yield net(operator, operator, {"x": array}, floats(function(array.astype(np.float64))))
    yield net("HardSwish", "HardSwish", {"x": x},
              floats(wide * np.clip(wide / 6 + 0.5, 0, 1)), opset=14)
    yield net("HardSigmoid", "HardSigmoid", {"x": x}, floats(np.clip(0.3 * wide + 0.4, 0, 1)),
              alpha=0.3, beta=0.4)
    yield net("LeakyRelu", "LeakyRelu", {"x": x}, floats(np.where(wide < 0, 0.2 * wide, wide)),
              alpha=0.2)
    yield net("Elu", "Elu", {"x": x}, floats(np.where(wide < 0, 1.5 * np.expm1(wide), wide)),
              alpha=1.5)
    yield net("Selu", "Selu", {"x": x},
              floats(1.2 * np.where(wide < 0, 1.1 * np.expm1(wide), wide)), alpha=1.1, gamma=1.2)
    yield net("ThresholdedRelu", "ThresholdedRelu", {"x": x}, floats(np.where(wide > 0.7, wide, 0)),
              alpha=0.7)
    slope = numbers(3, 1, seed=3)
    yield net("PRelu", "PRelu", {"x": x}, floats(np.where(wide < 0, slope * wide, wide)),
              {"slope": slope})
    for opset in (6, 11, 13):
        if opset < 11:
            yield net("Clip_6", "Clip", {"x": x}, np.clip(x, -0.5, 1), opset=6, min=-0.5, max=1.0)
        else:
            yield net(f"Clip_{opset}", "Clip", {"x": x}, np.clip(x, -0.5, 1),
                      {"low": np.float32(-0.5), "high": np.float32(1)}, opset=opset)
    yield net("Clip_without_low", "Clip", {"x": x}, np.minimum(x, 1),
              {"low": None, "high": np.float32(1)})


def binary():
    shapes = [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (4,)), ((2, 3, 4), (3, 1)), ((2, 1, 4), (3, 1)),
              ((2, 3, 4), ()), ((1, 3, 1), (2, 1, 4))]
    functions = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}
    for (operator, function), (number, (left, right)) in itertools.product(
            functions.items(), enumerate(shapes)):
        a, b = numbers(*left), numbers(*right, seed=2, low=0.5)
        expected = floats(function(a.astype(np.float64), b))
        yield net(f"{operator}_{number}", operator, {"a": a, "b": b}, expected)
        yield net(f"{operator}_{number}_constant", operator, {"a": a}, expected, {"b": b})
    a, b = numbers(2, 3, low=0.5), numbers(3, seed=2)
    yield net("Pow", "Pow", {"a": a, "b": b}, floats(np.power(a.astype(np.float64), b)))
    for operator, function in (("Greater", np.greater), ("Less", np.less),
                               ("GreaterOrEqual", np.greater_equal),
                               ("LessOrEqual", np.less_equal), ("Equal", np.equal)):
        yield net(operator, operator, {"a": np.round(a), "b": np.round(b)},
                  function(np.round(a), np.round(b)))
    p, q = a > 1, b > 0
    for operator, function in (("And", np.logical_and), ("Or", np.logical_or),
                               ("Xor", np.logical_xor)):
        yield net(operator, operator, {"a": p, "b": q}, function(p, q))
    yield net("Not", "Not", {"a": p}, ~p)
    yield net("Where", "Where", {"c": p, "a": a, "b": b}, np.where(p, a, b))
    x = np.array([-7, -3, 5, 9], np.int32)
    yield net("Mod", "Mod", {"a": x}, np.mod(x, 4), {"b": np.int32(4)})
    yield net("Mod_f", "Mod", {"a": a}, np.fmod(a, np.float32(0.3)), {"b": np.float32(0.3)}, fmod=1)
    for operator, function in (("Max", np.maximum), ("Min", np.minimum)):
        yield net(operator, operator, {"a": a, "b": b}, function(a, b))
    yield net("Mean", "Mean", {"a": a, "b": a * 3}, a * 2)
    yield net("Sum", "Sum", {"a": a, "b": b, "c": a}, a + b + a)


def gemms():
    for trans_a, trans_b, scaled, bias in itertools.product((0, 1), (0, 1), (False, True),
                                                            (None, (5,), (3, 1), (3, 5), ())):
        a = numbers(*((4, 3) if trans_a else (3, 4)))
        b = numbers(*((5, 4) if trans_b else (4, 5)), seed=2)
        alpha, beta = (0.5, 2.0) if scaled else (1.0, 1.0)
        c = None if bias is None else numbers(*bias, seed=3)
        expected = alpha * (a.T if trans_a else a).astype(np.float64) @ (b.T if trans_b else b)
        if c is not None:
            expected = expected + beta * c
        constants = {"b": b} if c is None else {"b": b, "c": c}
        shape = "none" if bias is None else "x".join(map(str, bias)) or "scalar"
        yield net(f"Gemm_{trans_a}{trans_b}_{'scaled' if scaled else 'plain'}_{shape}", "Gemm",
                  {"a": a}, floats(expected), constants, transA=trans_a, transB=trans_b,
                  alpha=alpha, beta=beta)
    for number, (left, right) in enumerate([((3, 4), (4, 5)), ((2, 3, 4), (4, 5)),
                                            ((2, 1, 3, 4), (5, 4, 2)), ((4,), (4, 5)),
                                            ((3, 4), (4,))]):
        a, b = numbers(*left), numbers(*right, seed=2)
        yield net(f"MatMul_{number}", "MatMul", {"a": a, "b": b},
                  floats(np.matmul(a.astype(np.float64), b)))


def softmax(x, axis, old):
    """Until opset 12 the axes from `axis` on are taken as one."""
    x = x.astype(np.float64)
    if old:
        axis = axis % x.ndim
        flat = x.reshape(int(np.prod(x.shape[:axis], dtype=int)), -1)
        e = np.exp(flat - flat.max(1, keepdims=True))
        return (e / e.sum(1, keepdims=True)).reshape(x.shape)
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def softmaxes():
    x = numbers(2, 3, 4, 2)
    for opset in (1, 11, 12, 13, 15, 17):
        for axis in (0, 1, 2, 3) if opset < 11 else (-1, 0, 1, 2):
            expected = softmax(x, axis, opset < 13)
            yield net(f"Softmax_{opset}_{axis}", "Softmax", {"x": x}, floats(expected), opset=opset,
                      axis=axis)
            if opset in (11, 13):
                yield net(f"LogSoftmax_{opset}_{axis}", "LogSoftmax", {"x": x},
                          floats(np.log(expected)), opset=opset, axis=axis)
        yield net(f"Softmax_{opset}_default", "Softmax", {"x": x},
                  floats(softmax(x, 1 if opset < 13 else -1, opset < 13)), opset=opset)
    hard = np.zeros_like(x)
    np.put_along_axis(hard, np.argmax(x, 1)[:, None], 1, 1)
    yield net("Hardmax", "Hardmax", {"x": x}, hard, axis=1)


def windows(x, kernel, stride, begin, end, dilation, fill, ceil=False):
    """[N, C, outputs..., kernel...] of the last two axes of x, and which of it is padding."""
    padded = np.pad(x, [(0, 0), (0, 0), *zip(begin, end)], constant_values=fill)
    real = np.pad(np.ones_like(x, bool), [(0, 0), (0, 0), *zip(begin, end)])
    sizes = []
    for axis in (0, 1):
        span = (kernel[axis] - 1) * dilation[axis] + 1
        room = padded.shape[2 + axis] - span
        size = (math.ceil(room / stride[axis]) if ceil else room // stride[axis]) + 1
        if ceil and (size - 1) * stride[axis] >= x.shape[2 + axis] + begin[axis]:
            size -= 1  # a window must not begin behind the input
        sizes.append(size)
    needed = [(sizes[a] - 1) * stride[a] + (kernel[a] - 1) * dilation[a] + 1 for a in (0, 1)]
    more = [(0, 0), (0, 0), *((0, max(needed[a] - padded.shape[2 + a], 0)) for a in (0, 1))]
    outside = ~np.pad(np.ones_like(padded, bool), more)
    padded, real = np.pad(padded, more, constant_values=fill), np.pad(real, more)
    result = np.empty((*x.shape[:2], *sizes, *kernel))
    inside, beyond = np.empty_like(result, bool), np.empty_like(result, bool)
    for i, j in itertools.product(*map(range, sizes)):
        at = tuple(slice(p * s, p * s + (k - 1) * d + 1, d)
                   for p, s, k, d in zip((i, j), stride, kernel, dilation))
        result[:, :, i, j] = padded[(..., *at)]
        inside[:, :, i, j] = real[(..., *at)]
        beyond[:, :, i, j] = outside[(..., *at)]
    return result, inside, beyond


def same_pads(size, kernel, stride, lower):
    pads = []
    for axis in (0, 1):
        total = max((math.ceil(size[axis] / stride[axis]) - 1) * stride[axis] + kernel[axis]
                    - size[axis], 0)
        small, large = total // 2, total - total // 2
        pads.append((large, small) if lower else (small, large))
    return [pad[0] for pad in pads], [pad[1] for pad in pads]


def pools():
    x = numbers(1, 2, 7, 8)
    cases = {"plain": {}, "stride": {"strides": [2, 3]}, "pads": {"pads": [1, 0, 1, 1]},
             "ceil": {"strides": [2, 2], "ceil_mode": 1},
             "ceil_pads": {"strides": [3, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
             "upper": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
             "lower": {"auto_pad": "SAME_LOWER", "strides": [2, 2]}}
    for name, case in cases.items():
        kernel, stride = (3, 2), case.get("strides", [1, 1])
        pads = case.get("pads", [0, 0, 0, 0])
        begin, end = pads[:2], pads[2:]
        if "auto_pad" in case:
            begin, end = same_pads(x.shape[2:], kernel, stride, "LOWER" in case["auto_pad"])
        arguments = (x, kernel, stride, begin, end, (1, 1))
        view, _, _ = windows(*arguments, -np.inf, "ceil_mode" in case)
        yield net(f"MaxPool_{name}", "MaxPool", {"x": x}, floats(view.max((4, 5))),
                  kernel_shape=kernel, **case)
        view, inside, beyond = windows(*arguments, 0, "ceil_mode" in case)
        yield net(f"AveragePool_{name}", "AveragePool", {"x": x},
                  floats(view.sum((4, 5)) / inside.sum((4, 5))), kernel_shape=kernel, **case)
        if "ceil" not in name:
            yield net(f"AveragePool_{name}_with_pads", "AveragePool", {"x": x},
                      floats(view.sum((4, 5)) / (~beyond).sum((4, 5))), kernel_shape=kernel,
                      count_include_pad=1, **case)
    view, _, _ = windows(x, (2, 2), (1, 1), (0, 0), (0, 0), (2, 3), -np.inf)
    yield net("MaxPool_dilated", "MaxPool", {"x": x}, floats(view.max((4, 5))), opset=12,
              kernel_shape=[2, 2], dilations=[2, 3])
    yield net("GlobalAveragePool", "GlobalAveragePool", {"x": x},
              floats(x.astype(np.float64).mean((2, 3), keepdims=True)))
    yield net("GlobalMaxPool", "GlobalMaxPool", {"x": x}, x.max((2, 3), keepdims=True))


def convolutions():
    x = numbers(2, 4, 7, 8)
    cases = {"plain": {}, "stride": {"strides": [2, 1]}, "pads": {"pads": [1, 0, 2, 1]},
             "dilated": {"dilations": [2, 2]}, "groups": {"group": 2}, "depthwise": {"group": 4},
             "upper": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
             "lower": {"auto_pad": "SAME_LOWER", "strides": [2, 2]}}
    for name, case in cases.items():
        group = case.get("group", 1)
        w, b = numbers(8, 4 // group, 3, 2, seed=2), numbers(8, seed=3)
        stride, pads = case.get("strides", [1, 1]), case.get("pads", [0, 0, 0, 0])
        begin, end = pads[:2], pads[2:]
        if "auto_pad" in case:
            begin, end = same_pads(x.shape[2:], (3, 2), stride, "LOWER" in case["auto_pad"])
        view, _, _ = windows(x, (3, 2), stride, begin, end, case.get("dilations", [1, 1]), 0)
        parts = [np.einsum("nchwij,ocij->nohw", view[:, g * 4 // group:(g + 1) * 4 // group],
                           w[g * 8 // group:(g + 1) * 8 // group].astype(np.float64))
                 for g in range(group)]
        expected = np.concatenate(parts, 1)
        yield net(f"Conv_{name}", "Conv", {"x": x}, floats(expected), {"w": w}, **case)
        yield net(f"Conv_{name}_bias", "Conv", {"x": x}, floats(expected + b[:, None, None]),
                  {"w": w, "b": b}, **case)
    w = numbers(4, 3, 2, 3, seed=2)
    y = np.zeros((2, 3, 14, 17))
    for i, j in itertools.product(range(7), range(8)):
        y[:, :, 2 * i:2 * i + 2, 2 * j:2 * j + 3] += np.einsum("nc,cohw->nohw", x[:, :, i, j], w)
    yield net("ConvTranspose", "ConvTranspose", {"x": x}, floats(y), {"w": w}, strides=[2, 2])


def pads_and_movements():
    x = numbers(2, 3, 4, 5)
    amounts = [0, 1, 2, 1, 1, 0, 0, 2]
    numpy_pads = list(zip(amounts[:4], amounts[4:]))
    for opset in (2, 11, 13):
        for mode in ("constant", "reflect", "edge"):
            more = {"constant_values": 1.5} if mode == "constant" else {}
            expected = np.pad(x, numpy_pads, mode=mode, **more)
            if opset == 2:
                yield net(f"Pad_2_{mode}", "Pad", {"x": x}, expected, opset=2, pads=amounts,
                          mode=mode, **({"value": 1.5} if more else {}))
            else:
                yield net(f"Pad_{opset}_{mode}", "Pad", {"x": x}, expected,
                          {"pads": whole(amounts), "value": np.float32(1.5)}, opset=opset, mode=mode)
    yield net("Pad_negative", "Pad", {"x": x}, x[:, :, 1:, :-1],
              {"pads": whole([0, 0, -1, 0, 0, 0, 0, -1])})
    for order in ((3, 2, 1, 0), (0, 2, 3, 1), (1, 0, 2, 3), (0, 3, 1, 2)):
        yield net(f"Transpose_{''.join(map(str, order))}", "Transpose", {"x": x},
                  x.transpose(order), perm=order)
    yield net("Transpose", "Transpose", {"x": x}, x.T)
    for axis in (0, 1, 3, -1):
        y = numbers(*(2 if a == axis % 4 else n for a, n in enumerate(x.shape)), seed=2)
        yield net(f"Concat_{axis}", "Concat", {"x": x, "y": y}, {"z": np.concatenate([x, y], axis)},
                  axis=axis)
        yield net(f"Concat_{axis}_constant", "Concat", {"x": x},
                  {"z": np.concatenate([x, y], axis)}, {"y": y}, axis=axis)
    for name, shape in (("flat", [-1]), ("zero", [0, -1, 5]), ("whole", [6, 20])):
        expected = x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(shape)])
        yield net(f"Reshape_{name}", "Reshape", {"x": x}, expected, {"shape": whole(shape)})
    for axis in (0, 1, 2, 4):
        expected = x.reshape(int(np.prod(x.shape[:axis], dtype=int)), -1)
        yield net(f"Flatten_{axis}", "Flatten", {"x": x}, expected, axis=axis)
    z = x[:, :1]
    yield net("Squeeze_11", "Squeeze", {"x": z}, z[:, 0], opset=11, axes=[1])
    yield net("Squeeze_13", "Squeeze", {"x": z}, z[:, 0], {"axes": whole([1])})
    yield net("Unsqueeze_11", "Unsqueeze", {"x": x}, x[:, None, :, :, :, None], opset=11,
              axes=[1, 5])
    yield net("Unsqueeze_13", "Unsqueeze", {"x": x}, x[:, None, :, :, :, None],
              {"axes": whole([1, -1])})
    yield net("Expand", "Expand", {"x": z}, np.broadcast_to(z, (2, 3, 4, 5)).copy(),
              {"shape": whole([2, 3, 1, 5])})
    yield net("Tile", "Tile", {"x": x}, np.tile(x, (1, 2, 1, 3)), {"repeats": whole([1, 2, 1, 3])})
    yield net("Split_11", "Split", {"x": x}, {"a": x[..., :2], "b": x[..., 2:]}, opset=11, axis=3,
              split=[2, 3])
    yield net("Split_13", "Split", {"x": x}, {"a": x[:, :, :1], "b": x[:, :, 1:]},
              {"split": whole([1, 3])}, axis=2)
    yield net("Split_equal", "Split", {"x": x}, {"a": x[:1], "b": x[1:]}, axis=0)
    y = numbers(1, 8, 2, 3)
    d = y.reshape(1, 2, 2, 2, 2, 3)
    yield net("DepthToSpace_DCR", "DepthToSpace", {"x": y},
              d.transpose(0, 3, 4, 1, 5, 2).reshape(1, 2, 4, 6), blocksize=2)
    d = y.reshape(1, 2, 2, 2, 2, 3)
    yield net("DepthToSpace_CRD", "DepthToSpace", {"x": y},
              d.transpose(0, 1, 4, 2, 5, 3).reshape(1, 2, 4, 6), blocksize=2, mode="CRD")
    y = numbers(1, 2, 4, 6)
    yield net("SpaceToDepth", "SpaceToDepth", {"x": y},
              y.reshape(1, 2, 2, 2, 3, 2).transpose(0, 3, 5, 1, 2, 4).reshape(1, 8, 2, 3),
              blocksize=2)


def slices_and_gathers():
    x = numbers(4, 6, 5)
    yield net("Slice_9", "Slice", {"x": x}, x[1:3, :, 2:-1], opset=9, starts=[1, 2], ends=[3, -1],
              axes=[0, 2])
    cases = {"plain": ([1], [5], [1], [1], x[:, 1:5]), "step": ([0], [6], [1], [2], x[:, 0:6:2]),
             "back": ([-1], [-7], [1], [-2], x[:, ::-2]),
             "far": ([-100], [2 ** 60], [2], [1], x),
             "two": ([1, 4], [100, 0], [0, 1], [1, -1], x[1:, 4:0:-1])}
    for (name, (starts, ends, axes, steps, expected)), opset in itertools.product(
            cases.items(), (10, 11, 13)):
        yield net(f"Slice_{opset}_{name}", "Slice", {"x": x}, np.ascontiguousarray(expected),
                  {"starts": whole(starts), "ends": whole(ends), "axes": whole(axes),
                   "steps": whole(steps)}, opset=opset)
    index = np.array([[2, 0], [-1, 1]], np.int64)
    for axis in (0, 1, 2):
        yield net(f"Gather_{axis}", "Gather", {"x": x, "i": index}, np.take(x, index, axis),
                  axis=axis)
    along = np.random.default_rng(5).integers(-6, 6, (4, 3, 5))
    yield net("GatherElements", "GatherElements", {"x": x, "i": along},
              np.take_along_axis(x, along, 1), axis=1)
    pairs = np.array([[0, 1], [3, 5]], np.int64)
    yield net("GatherND", "GatherND", {"x": x, "i": pairs}, x[pairs[:, 0], pairs[:, 1]])
    scattered = x.copy()
    update = numbers(2, 5, seed=2)
    scattered[pairs[:, 0], pairs[:, 1]] = update
    yield net("ScatterND", "ScatterND", {"x": x, "i": pairs, "u": update}, scattered)
    scattered = x.copy()
    update = numbers(4, 1, 5, seed=2)
    np.put_along_axis(scattered, along[:, :1], update, 1)
    yield net("ScatterElements", "ScatterElements", {"x": x, "i": along[:, :1], "u": update},
              scattered, axis=1)
    yield net("OneHot", "OneHot", {"i": whole([2, 0, 3])},
              floats(np.where(np.eye(4)[[2, 0, 3]] > 0, 5, -1)),
              {"depth": whole(4), "values": floats([-1, 5])})
    yield net("NonZero", "NonZero", {"x": np.round(x)}, whole(np.nonzero(np.round(x))),
              open_output=True)
    yield net("Shape", "Shape", {"x": x}, whole(x.shape))
    yield net("Range", "Range", {"a": np.float32(1), "b": np.float32(7), "c": np.float32(1.5)},
              floats([1, 2.5, 4, 5.5]), open_output=True)


def reductions():
    x = numbers(2, 3, 4, low=0.2)
    wide = x.astype(np.float64)
    functions = {
        "ReduceSum": np.sum, "ReduceMean": np.mean, "ReduceMax": np.max, "ReduceMin": np.min,
        "ReduceProd": np.prod,
        "ReduceL1": lambda v, axis, keepdims: np.abs(v).sum(axis, keepdims=keepdims),
        "ReduceL2": lambda v, axis, keepdims: np.sqrt((v * v).sum(axis, keepdims=keepdims)),
        "ReduceSumSquare": lambda v, axis, keepdims: (v * v).sum(axis, keepdims=keepdims),
        "ReduceLogSum": lambda v, axis, keepdims: np.log(v.sum(axis, keepdims=keepdims)),
        "ReduceLogSumExp": lambda v, axis, keepdims: np.log(np.exp(v).sum(axis, keepdims=keepdims)),
    }
    for (operator, function), (name, axes), keep in itertools.product(
            functions.items(), (("one", [1]), ("two", [0, 2]), ("last", [-1]), ("all", None)),
            (0, 1)):
        expected = floats(function(wide, axis=None if axes is None else tuple(axes),
                                   keepdims=bool(keep)))
        attributes = {"keepdims": keep}
        constants = None
        if axes is not None and operator == "ReduceSum":
            constants = {"axes": whole(axes)}
        elif axes is not None:
            attributes["axes"] = axes
        yield net(f"{operator}_{name}_{keep}", operator, {"x": x}, expected, constants, **attributes)
    yield net("ReduceSum_11", "ReduceSum", {"x": x}, floats(wide.sum(1)), opset=11, axes=[1],
              keepdims=0)
    for operator, function in (("ArgMax", np.argmax), ("ArgMin", np.argmin)):
        yield net(operator, operator, {"x": x}, whole(function(x, 1)), axis=1, keepdims=0)
    order = np.argsort(-x, 2)[:, :, :2]
    yield net("TopK", "TopK", {"x": x},
              {"values": np.take_along_axis(x, order, 2), "indices": order}, {"k": whole([2])})
    yield net("CumSum", "CumSum", {"x": x}, floats(wide.cumsum(2)), {"axis": whole(2)})
    yield net("CumSum_reverse", "CumSum", {"x": x},
              floats(wide[:, ::-1].cumsum(1)[:, ::-1] - wide), {"axis": whole(1)}, reverse=1,
              exclusive=1)


def linear_weights(size, target, scale, way):
    """[target, size]: how much each input counts in each output."""
    weights = np.zeros((target, size))
    for i in range(target):
        if way == "half_pixel":
            at = (i + 0.5) / scale - 0.5
        elif way == "asymmetric":
            at = i / scale
        else:  # align_corners
            at = i * (size - 1) / (target - 1)
        at = min(max(at, 0), size - 1)
        low = min(int(at), size - 1)
        weights[i, low] += 1 - (at - low)
        weights[i, min(low + 1, size - 1)] += at - low
    return weights


def resizes():
    x = numbers(1, 2, 4, 6)
    for (height, width), way, opset in itertools.product(
            ((8, 12), (6, 9), (2, 3)), ("half_pixel", "asymmetric", "align_corners"), (11, 13)):
        scales = floats([1, 1, height / 4, width / 6])
        rows = linear_weights(4, height, height / 4, way)
        columns = linear_weights(6, width, width / 6, way)
        yield net(f"Resize_{opset}_linear_{way}_{height}", "Resize", {"x": x},
                  floats(np.einsum("ih,jw,nchw->ncij", rows, columns, x)),
                  {"roi": floats([]), "scales": scales}, opset=opset, mode="linear",
                  coordinate_transformation_mode=way)
    for scale, opset in itertools.product((2, 3), (11, 13)):
        scales = floats([1, 1, scale, scale])
        expected = x.repeat(scale, 2).repeat(scale, 3)
        yield net(f"Resize_{opset}_nearest_{scale}", "Resize", {"x": x}, expected,
                  {"roi": floats([]), "scales": scales}, opset=opset, mode="nearest",
                  coordinate_transformation_mode="asymmetric", nearest_mode="floor")
        yield net(f"Resize_{opset}_nearest_{scale}_half_pixel", "Resize", {"x": x}, expected,
                  {"roi": floats([]), "scales": scales}, opset=opset, mode="nearest")
    yield net("Resize_sizes", "Resize", {"x": x}, x.repeat(2, 2).repeat(2, 3),
              {"roi": None, "scales": None, "sizes": whole([1, 2, 8, 12])}, mode="nearest")
    yield net("Upsample_9", "Upsample", {"x": x}, x.repeat(2, 2).repeat(3, 3),
              {"scales": floats([1, 1, 2, 3])}, opset=9, mode="nearest")
    yield net("Upsample_7", "Upsample", {"x": x}, x.repeat(2, 2).repeat(2, 3), opset=7,
              mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])


def normalisations():
    x = numbers(2, 3, 4, 5)
    wide = x.astype(np.float64)
    scale, bias, mean = (numbers(3, seed=seed) for seed in (2, 3, 4))
    variance = numbers(3, seed=5, low=0.5)

    def by_channel(values):
        return values[:, None, None].astype(np.float64)

    for opset in (9, 14, 15):
        yield net(f"BatchNormalization_{opset}", "BatchNormalization", {"x": x},
                  floats((wide - by_channel(mean)) / np.sqrt(by_channel(variance) + 1e-3)
                         * by_channel(scale) + by_channel(bias)),
                  {"s": scale, "b": bias, "m": mean, "v": variance}, opset=opset, epsilon=1e-3)
    center = wide - wide.mean((2, 3), keepdims=True)
    yield net("InstanceNormalization", "InstanceNormalization", {"x": x},
              floats(center / np.sqrt((center ** 2).mean((2, 3), keepdims=True) + 1e-5)
                     * by_channel(scale) + by_channel(bias)), {"s": scale, "b": bias}, epsilon=1e-5)
    gain = numbers(5, seed=6)
    center = wide - wide.mean(-1, keepdims=True)
    yield net("LayerNormalization", "LayerNormalization", {"x": x},
              floats(center / np.sqrt((center ** 2).mean(-1, keepdims=True) + 1e-5) * gain),
              {"s": gain}, opset=17, epsilon=1e-5)
    yield net("LpNormalization", "LpNormalization", {"x": x},
              floats(wide / np.sqrt((wide ** 2).sum(1, keepdims=True))), axis=1, p=2)
    sums = np.zeros_like(wide)
    for channel in range(3):
        sums[:, channel] = (wide[:, max(channel - 1, 0):channel + 2] ** 2).sum(1)
    yield net("LRN", "LRN", {"x": x}, floats(wide / (1 + 0.1 / 3 * sums) ** 0.75), size=3, alpha=0.1)


def datatypes():
    x = np.round(numbers(2, 3, low=0, high=9))
    kinds = (np.float32, np.float64, np.float16, np.int32, np.int64, np.uint8, np.int8, np.bool_)
    for source, target in itertools.product(kinds, kinds):
        if source != target:
            array = x.astype(source)
            yield net(f"Cast_{np.dtype(source).name}_{np.dtype(target).name}", "Cast", {"x": array},
                      array.astype(target), to=ONNX_TYPES[np.dtype(target)])
    for kind in (np.float64, np.float16, np.int32, np.int64):
        a, b = x.astype(kind), (x + 1).astype(kind)
        yield net(f"Add_{np.dtype(kind).name}", "Add", {"a": a, "b": b}, a + b, opset=14)
    real = numbers(2, 6)
    quantized = np.clip(np.round(real / np.float32(0.05)) + 128, 0, 255).astype(np.uint8)
    scale, zero = np.float32(0.05), np.uint8(128)
    yield net("QuantizeLinear", "QuantizeLinear", {"x": real}, quantized,
              {"s": scale, "z": zero})
    yield net("DequantizeLinear", "DequantizeLinear", {"x": quantized},
              floats((quantized.astype(np.float64) - 128) * scale), {"s": scale, "z": zero})
    yield net("ConstantOfShape", "ConstantOfShape", {"s": whole([2, 3])}, np.full((2, 3), 7, np.float32),
              value=numpy_helper.from_array(np.array([7], np.float32)))


def nets():
    for kind in (elementwise, binary, gemms, softmaxes, pools, convolutions, pads_and_movements,
                 slices_and_gathers, reductions, resizes, normalisations, datatypes):
        yield from kind()

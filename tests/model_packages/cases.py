"""A small use of each of TensorFlow's operators, with what numpy makes of it.

A case is (name, operator, attributes, inputs, results). An input is an array that comes in at run time, or a
Const.
"""

import dataclasses
import math

import numpy as np

from graphs import numbers


@dataclasses.dataclass
class Const:
    array: np.ndarray


def ints(*values):
    return Const(np.array(values, np.int32))


def scalar(value):
    return Const(np.array(value, np.int32))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# --- pictures, [number, height, width, channels], as TensorFlow's documentation says ---------------------------

def same(size, kernel, stride, dilation=1):
    """What is added before and after."""
    missing = max((math.ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return missing // 2, missing - missing // 2


def windows(x, height, width, strides, padding, dilations=(1, 1), fill=0.0):
    """[number, rows, columns, height, width, channels]: what each place of the result sees."""
    if padding == "SAME":
        x = np.pad(x, ((0, 0), same(x.shape[1], height, strides[0], dilations[0]),
                       same(x.shape[2], width, strides[1], dilations[1]), (0, 0)), constant_values=fill)
    rows = range(0, x.shape[1] - (height - 1) * dilations[0], strides[0])
    columns = range(0, x.shape[2] - (width - 1) * dilations[1], strides[1])
    return np.stack([np.stack([
        x[:, row:row + (height - 1) * dilations[0] + 1:dilations[0],
          column:column + (width - 1) * dilations[1] + 1:dilations[1]]
        for column in columns], 1) for row in rows], 1)


def conv2d(x, filters, strides=(1, 1), padding="SAME", dilations=(1, 1)):
    seen = windows(x, *filters.shape[:2], strides, padding, dilations)
    groups = x.shape[3] // filters.shape[2]
    parts = [np.einsum("nrchwi,hwio->nrco", one, kernel) for one, kernel in
             zip(np.split(seen, groups, 5), np.split(filters, groups, 3))]
    return np.concatenate(parts, 3)


def depthwise(x, filters, strides=(1, 1), padding="SAME", dilations=(1, 1)):
    result = np.einsum("nrchwi,hwim->nrcim", windows(x, *filters.shape[:2], strides, padding, dilations), filters)
    return result.reshape(*result.shape[:3], -1)


def resize(x, height, width, align_corners=False, half_pixel_centers=False):
    def places(before, after):
        at = np.arange(after, dtype=np.float64)
        if align_corners:
            at = at * (before - 1) / max(after - 1, 1)
        elif half_pixel_centers:
            at = (at + 0.5) * before / after - 0.5
        else:
            at = at * before / after
        at = np.clip(at, 0, before - 1)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, before - 1), at - low
    top, bottom, y = places(x.shape[1], height)
    left, right, share = places(x.shape[2], width)
    y, share = y[:, None, None], share[None, :, None]
    row = lambda one: x[:, one][:, :, left] * (1 - share) + x[:, one][:, :, right] * share
    return row(top) * (1 - y) + row(bottom) * y


def _convolutions():
    x, filters, bias = numbers(1, 7, 6, 4), numbers(3, 3, 4, 5, seed=1), numbers(5, seed=2)
    each = numbers(3, 2, 4, 2, seed=3)
    for padding in ("SAME", "VALID"):
        for strides in ((1, 1), (2, 2), (2, 1)):
            attributes = dict(strides=[1, *strides, 1], padding=padding, data_format="NHWC", dilations=[1, 1, 1, 1])
            how = f"{padding.lower()}_{strides[0]}{strides[1]}"
            yield (f"conv2d_{how}", "Conv2D", attributes, [x, Const(filters)],
                   conv2d(x, filters, strides, padding))
            yield (f"depthwise_{how}", "DepthwiseConv2dNative", attributes, [x, Const(each)],
                   depthwise(x, each, strides, padding))
    dilated = dict(strides=[1, 1, 1, 1], padding="SAME", dilations=[1, 2, 2, 1])
    yield "conv2d_dilated", "Conv2D", dilated, [x, Const(filters)], conv2d(x, filters, dilations=(2, 2))
    yield ("depthwise_dilated", "DepthwiseConv2dNative", dilated, [x, Const(each)],
           depthwise(x, each, dilations=(2, 2)))
    plain = dict(strides=[1, 1, 1, 1], padding="SAME")
    groups = numbers(3, 3, 2, 6, seed=4)
    yield "conv2d_groups", "Conv2D", plain, [x, Const(groups)], conv2d(x, groups)
    slopes = numbers(5, seed=5)
    fused = conv2d(x, filters) + bias
    for activation, result in (("", fused), ("Relu", np.maximum(fused, 0)), ("Relu6", np.clip(fused, 0, 6)),
                               ("Elu", np.where(fused > 0, fused, np.expm1(fused))), ("Sigmoid", sigmoid(fused)),
                               ("LeakyRelu", np.where(fused > 0, fused, fused * 0.3)),
                               ("Prelu", np.where(fused > 0, fused, fused * slopes))):
        more = dict(leakyrelu_alpha=0.3) if activation == "LeakyRelu" else {}
        others = [Const(bias)] + ([Const(slopes)] if activation == "Prelu" else [])
        yield (f"fused_{activation or 'bias'}", "_FusedConv2D",
               dict(fused_ops=["BiasAdd"] + ([activation] if activation else []), **plain, **more),
               [x, Const(filters), *others], result)
    biases = numbers(8, seed=6)
    yield ("fused_depthwise", "FusedDepthwiseConv2dNative", dict(fused_ops=["BiasAdd", "Relu6"], **plain),
           [x, Const(each), Const(biases)], np.clip(depthwise(x, each) + biases, 0, 6))
    for padding in ("SAME", "VALID"):
        for strides, size in (((1, 1), 3), ((2, 2), 2), ((2, 2), 3)):
            attributes = dict(ksize=[1, size, size, 1], strides=[1, *strides, 1], padding=padding)
            how = f"{padding.lower()}_{size}_{strides[0]}"
            yield (f"max_pool_{how}", "MaxPool", attributes, [x],
                   windows(x, size, size, strides, padding, fill=-np.inf).max((3, 4)))
            yield (f"avg_pool_{how}", "AvgPool", attributes, [x],
                   np.nanmean(windows(x, size, size, strides, padding, fill=np.nan), (3, 4)))
    for size in ((14, 12), (5, 9), (7, 6), (3, 2)):
        for corners, half in ((False, False), (True, False), (False, True)):
            attributes = dict(align_corners=corners, half_pixel_centers=half)
            yield (f"resize_{size[0]}_{size[1]}_{corners}_{half}", "ResizeBilinear", attributes, [x, ints(*size)],
                   resize(x, *size, **attributes))


def _elementwise():
    x, y, positive = numbers(2, 3, 4), numbers(2, 3, 4, seed=1), numbers(2, 3, 4, low=0.1)
    row = numbers(4, seed=2)
    whole, divisors = np.array([-7, -6, -1, 0, 5, 7], np.int32), np.array([2, -3, 4, 5, -2, 3], np.int32)
    for op, result in (("Abs", np.abs(x)), ("Neg", -x), ("Exp", np.exp(x)), ("Relu", np.maximum(x, 0)),
                       ("Relu6", np.clip(4 * x, 0, 6)), ("Sigmoid", sigmoid(x)), ("Tanh", np.tanh(x)),
                       ("Elu", np.where(x > 0, x, np.expm1(x))), ("Square", x * x), ("Identity", x)):
        yield op.lower(), op, {}, [4 * x if op == "Relu6" else x], result
    yield "sqrt", "Sqrt", {}, [positive], np.sqrt(positive)
    yield "rsqrt", "Rsqrt", {}, [positive], 1 / np.sqrt(positive)
    yield "leaky_relu", "LeakyRelu", dict(alpha=0.1), [x], np.where(x > 0, x, x * 0.1)
    yield "leaky_relu_without_alpha", "LeakyRelu", {}, [x], np.where(x > 0, x, x * 0.2)
    yield "prelu", "Prelu", {}, [x, Const(row)], np.where(x > 0, x, x * row)
    for op, function in (("Add", np.add), ("AddV2", np.add), ("Sub", np.subtract), ("Mul", np.multiply),
                         ("RealDiv", np.divide), ("Maximum", np.maximum), ("Minimum", np.minimum),
                         ("SquaredDifference", lambda a, b: (a - b) ** 2), ("FloorDiv", np.floor_divide),
                         ("FloorMod", np.mod)):
        yield op.lower(), op, {}, [x, y], function(x, y)
        yield f"{op.lower()}_row", op, {}, [x, Const(row)], function(x, row)
        yield f"{op.lower()}_first_is_constant", op, {}, [Const(row), x], function(row, x)
    yield "floordiv_of_integers", "FloorDiv", {}, [whole, Const(divisors)], whole // divisors
    yield "floormod_of_integers", "FloorMod", {}, [whole, Const(divisors)], whole % divisors
    same_or_not = np.where(x > 0, x, y)
    yield "equal", "Equal", {}, [x, same_or_not], x == same_or_not
    yield "cast_to_integers", "Cast", dict(SrcT="DT_FLOAT", DstT="DT_INT32"), [4 * x], np.trunc(4 * x).astype(np.int32)
    yield "cast_to_floats", "Cast", dict(SrcT="DT_INT32", DstT="DT_FLOAT"), [whole], whole.astype(np.float32)


def _sums():
    x = numbers(2, 3, 4, 5)
    for op, function in (("Sum", np.sum), ("Mean", np.mean), ("Max", np.max)):
        for axes, keep in (((1, 2), True), ((1, 2), False), ((-1,), False), ((0, 3), True)):
            yield (f"{op.lower()}_{axes}_{keep}", op, dict(keep_dims=keep), [x, ints(*axes)],
                   function(x, axis=axes, keepdims=keep))
    yield "mean_of_one_axis", "Mean", {}, [x, scalar(1)], x.mean(1)
    yield "arg_max", "ArgMax", dict(output_type="DT_INT32"), [x, scalar(1)], x.argmax(1).astype(np.int32)
    yield "arg_max_of_the_last", "ArgMax", dict(output_type="DT_INT32"), [x, scalar(-1)], x.argmax(-1).astype(np.int32)
    order = np.argsort(-x, -1)[..., :3]
    yield ("top_k", "TopKV2", dict(sorted=True), [x, scalar(3)],
           (np.take_along_axis(x, order, -1), order.astype(np.int32)))
    powers = np.exp(x - x.max(-1, keepdims=True))
    yield "softmax", "Softmax", {}, [x], powers / powers.sum(-1, keepdims=True)
    a, b, bias = numbers(3, 4), numbers(4, 5, seed=1), numbers(5, seed=2)
    yield "mat_mul", "MatMul", {}, [a, Const(b)], a @ b
    yield ("mat_mul_transposed", "MatMul", dict(transpose_a=True, transpose_b=True), [np.ascontiguousarray(a.T),
           Const(np.ascontiguousarray(b.T))], a @ b)
    yield ("fused_mat_mul", "_FusedMatMul", dict(fused_ops=["BiasAdd", "Relu"]), [a, Const(b), Const(bias)],
           np.maximum(a @ b + bias, 0))
    yield "fused_mat_mul_without_bias", "_FusedMatMul", {}, [a, Const(b)], a @ b


def _shapes():
    x = numbers(2, 3, 4)
    picture = numbers(1, 4, 5, 3)
    yield "reshape", "Reshape", {}, [x, ints(6, 4)], x.reshape(6, 4)
    yield "reshape_open", "Reshape", {}, [x, ints(2, -1)], x.reshape(2, -1)
    yield "squeeze", "Squeeze", dict(squeeze_dims=[0]), [picture], picture[0]
    yield "squeeze_all", "Squeeze", {}, [picture], picture[0]
    yield "expand_dims", "ExpandDims", {}, [x, scalar(1)], x[:, None]
    yield "expand_dims_last", "ExpandDims", {}, [x, scalar(-1)], x[..., None]
    yield "transpose", "Transpose", {}, [x, ints(2, 0, 1)], x.transpose(2, 0, 1)
    yield "concat", "ConcatV2", {}, [x, Const(numbers(2, 1, 4, seed=1)), scalar(1)], np.concatenate(
        [x, numbers(2, 1, 4, seed=1)], 1)
    yield "concat_last", "ConcatV2", {}, [x, x, scalar(-1)], np.concatenate([x, x], -1)
    yield "pack", "Pack", dict(axis=1), [x, Const(numbers(2, 3, 4, seed=1))], np.stack([x, numbers(2, 3, 4, seed=1)], 1)
    yield "unpack", "Unpack", dict(axis=1, num=3), [x], tuple(x[:, place] for place in range(3))
    yield "pad", "Pad", {}, [picture, Const(np.array([[0, 0], [1, 2], [0, 1], [3, 0]], np.int32))], np.pad(
        picture, ((0, 0), (1, 2), (0, 1), (3, 0)))
    yield ("strided_slice", "StridedSlice", {}, [x, ints(0, 1, -3), ints(2, 3, -1), ints(1, 1, 1)], x[0:2, 1:3, -3:-1])
    yield ("strided_slice_steps", "StridedSlice", dict(begin_mask=4, end_mask=5),
           [x, ints(1, 2, 0), ints(0, 0, 0), ints(1, -1, 3)], x[1:, 2:0:-1, ::3])
    yield ("strided_slice_backwards", "StridedSlice", dict(begin_mask=1, end_mask=1),
           [x, ints(0), ints(0), ints(-1)], x[::-1])
    yield ("strided_slice_shrinks", "StridedSlice", dict(shrink_axis_mask=2),
           [x, ints(0, -1), ints(1, 0), ints(1, 1)], x[0:1, -1])
    places = np.array([[1, 0], [2, 2]], np.int32)
    yield "gather", "GatherV2", {}, [x, Const(places), scalar(1)], x[:, places]
    yield "gather_last", "GatherV2", dict(batch_dims=0), [x, Const(places), scalar(-1)], x[..., places]
    corners = np.array([[1, 0], [0, 2]], np.int32)
    yield "gather_nd", "GatherNd", {}, [x, Const(corners)], x[corners[:, 0], corners[:, 1]]


def _results(case):
    """The case with its results as a tuple, in the precision of the inputs."""
    results = case[4] if isinstance(case[4], tuple) else (case[4],)
    return *case[:4], tuple(one.astype(np.float32) if one.dtype == np.float64 else one for one in results)


CASES = [_results(case) for cases in (_convolutions, _elementwise, _sums, _shapes) for case in cases()]

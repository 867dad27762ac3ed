"""dlib's net that describes a face: a residual net of 29 convolutions, whose weights @vladmandic/face-api has
without a graph. Each convolution is followed by a factor and an addend per channel, which are folded into it."""

import json
from pathlib import Path

import numpy as np

from onnx_graph import Tensor
from tfjs_to_onnx import read_weights

SIDE = 150
_BLOCKS = ["conv32_1", "conv32_2", "conv32_3", "conv64_down", "conv64_1", "conv64_2", "conv64_3", "conv128_down",
           "conv128_1", "conv128_2", "conv256_down", "conv256_1", "conv256_2", "conv256_down_out"]


def describe(manifest, graph, pixels):
    """Adds the net with the weights of this manifest. `pixels`: the name of [1, 3, SIDE, SIDE], RGB in 0..255.
    Returns the Tensor [1, 128] of the face's description."""
    weights = read_weights(Path(manifest).parent, json.loads(Path(manifest).read_text()))
    # The means of the channels in the pictures that it was trained on.
    means = np.float32([122.782, 117.001, 104.298]).reshape(1, 3, 1, 1)
    x = graph.node("Div", graph.node("Sub", pixels, means), np.float32(256))
    x = graph.node("Relu", _convolution(graph, x, weights, "conv32_down", stride=2, padding=0))
    x = graph.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    side = _halved(_halved(SIDE, 7), 3)
    for block in _BLOCKS:
        x, side = _block(graph, x, side, weights, block)
    mean = graph.node("Flatten", graph.node("GlobalAveragePool", x), axis=1)
    return Tensor((1, 128), np.float32, graph.node("MatMul", mean, weights["fc"]))


def _halved(side, kernel):
    """What a window of this size leaves that moves by two and does not reach beyond the border."""
    return (side - kernel) // 2 + 1


def _convolution(graph, x, weights, name, stride, padding):
    kernel = weights[f"{name}/conv/filters"] * weights[f"{name}/scale/weights"]
    bias = weights[f"{name}/conv/bias"] * weights[f"{name}/scale/weights"] + weights[f"{name}/scale/biases"]
    return graph.node("Conv", x, kernel.transpose(3, 2, 0, 1), bias, strides=[stride, stride], pads=[padding] * 4)


def _block(graph, x, side, weights, name):
    """Two convolutions and the sum with what went in. `down` halves the side. The sum has as many rows and channels
    as the larger of the two; zeros follow where the other has fewer."""
    down = name.endswith(("_down", "_down_out"))
    y = _convolution(graph, x, weights, f"{name}/conv1", stride=2 if down else 1, padding=0 if down else 1)
    y = _convolution(graph, graph.node("Relu", y), weights, f"{name}/conv2", stride=1, padding=1)
    if down:
        x = graph.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
        rows = _halved(side, 2) - _halved(side, 3)
        before, after = weights[f"{name}/conv1/conv/filters"].shape[2:]
        y = graph.node("Pad", y, np.array([0, 0, 0, 0, 0, 0, rows, rows]))
        x = graph.node("Pad", x, np.array([0, 0, 0, 0, 0, after - before, 0, 0]))
        side = _halved(side, 2)
    return graph.node("Relu", graph.node("Add", x, y)), side

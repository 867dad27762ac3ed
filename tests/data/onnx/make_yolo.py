#!/usr/bin/python3
"""Makes ONNX files as torch.onnx.export makes them of YOLOv8 and YOLO11, and what PyTorch answers.

The networks are built here from the published architectures, of the same operations in the same places, so their
graphs have the constructs of a real export: `chunk` and `split`, the SPPF's poolings, upsampling, the attention
block of YOLO11 with its depthwise convolutions, the distribution of box sides (softmax and a convolution over 16
bins), anchors and strides, as constants or computed in the graph. The weights are random; batch normalisation is
measured on noise, so that signals neither die nor grow, and the last convolutions are scaled so that answers differ.

    make_yolo.py                 writes the test's files beside this script (some seconds)
    make_yolo.py bench FOLDER    writes a `yolov8n` and a `yolo11n` of their real sizes, for bench/onnx_bench.cc
    make_yolo.py time FOLDER     PyTorch's time for those, with one thread and with two

Why files and not a script that the test runs: PyTorch and what it needs are 300 MiB to install, for the same bytes.

A file is named FAMILY_OPEN_OPSET.onnx: `fixed` has no open dimension, `batch` the first one, `all` also height and
width. All files of a family have the same weights, so FAMILY.bin, FP32 [4, 7, 84], is the answer of each to four rows
of 3 x 64 x 64. The rows are not stored: element i of the batch is ((i * 2654435761) mod 2^32 >> 8) / 2^24.

It needs Debian 12's python3-torch (1.13), python3-onnx and python3-numpy.
"""

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

BINS = 16
STRIDES = (8, 16, 32)
FOLDER = Path(__file__).resolve().parent
FILES = {
    "yolov8": ["fixed_11", "batch_12", "batch_17", "all_12", "all_17"],
    "yolo11": ["fixed_17", "batch_11", "batch_17", "all_17"],
}


class Conv(nn.Sequential):
    """Convolution, batch normalisation and SiLU."""

    def __init__(self, inputs, outputs, kernel=1, stride=1, groups=1, activate=True):
        super().__init__(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
                         nn.BatchNorm2d(outputs, momentum=None), nn.SiLU() if activate else nn.Identity())


class Bottleneck(nn.Module):
    def __init__(self, inputs, outputs, shortcut, hidden):
        super().__init__()
        self.first = Conv(inputs, hidden, 3)
        self.second = Conv(hidden, outputs, 3)
        self.shortcut = shortcut

    def forward(self, x):
        y = self.second(self.first(x))
        return x + y if self.shortcut else y


class C3k(nn.Module):
    def __init__(self, channels):
        super().__init__()
        hidden = channels // 2
        self.a, self.b = Conv(channels, hidden), Conv(channels, hidden)
        self.inner = nn.Sequential(*(Bottleneck(hidden, hidden, True, hidden) for _ in range(2)))
        self.out = Conv(2 * hidden, channels)

    def forward(self, x):
        return self.out(torch.cat((self.inner(self.a(x)), self.b(x)), 1))


class C2f(nn.Module):
    """YOLOv8's block; YOLO11's C3k2 is the same with other insides. `halves` is how it is cut: chunk or split."""

    def __init__(self, inputs, outputs, inner, hidden, halves="chunk"):
        super().__init__()
        self.hidden, self.halves = hidden, halves
        self.enter = Conv(inputs, 2 * hidden)
        self.inner = nn.ModuleList(inner)
        self.leave = Conv((2 + len(inner)) * hidden, outputs)

    def forward(self, x):
        x = self.enter(x)
        parts = list(x.chunk(2, 1) if self.halves == "chunk" else x.split((self.hidden, self.hidden), 1))
        for block in self.inner:
            parts.append(block(parts[-1]))
        return self.leave(torch.cat(parts, 1))


def c2f(inputs, outputs, count, shortcut):
    hidden = outputs // 2
    return C2f(inputs, outputs, [Bottleneck(hidden, hidden, shortcut, hidden) for _ in range(count)], hidden)


def c3k2(inputs, outputs, deep, expand=0.5):
    hidden = int(outputs * expand)
    inner = C3k(hidden) if deep else Bottleneck(hidden, hidden, True, hidden // 2)
    return C2f(inputs, outputs, [inner], hidden, "split")


class Sppf(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.enter = Conv(channels, channels // 2)
        self.leave = Conv(channels * 2, channels)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x):
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class Attention(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.heads, self.each = heads, channels // heads
        self.keys = self.each // 2
        self.scale = self.keys**-0.5
        self.qkv = Conv(channels, channels + 2 * self.keys * heads, activate=False)
        self.out = Conv(channels, channels, activate=False)
        self.place = Conv(channels, channels, 3, groups=channels, activate=False)

    def forward(self, x):
        batch, channels, height, width = x.shape
        count = height * width
        q, k, v = self.qkv(x).view(batch, self.heads, self.keys * 2 + self.each, count).split(
            [self.keys, self.keys, self.each], dim=2)
        weights = ((q.transpose(-2, -1) @ k) * self.scale).softmax(dim=-1)
        y = (v @ weights.transpose(-2, -1)).view(batch, channels, height, width)
        return self.out(y + self.place(v.reshape(batch, channels, height, width)))


class C2psa(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.hidden = channels // 2
        self.enter, self.leave = Conv(channels, channels), Conv(channels, channels)
        self.attention = Attention(self.hidden, heads)
        self.forth = nn.Sequential(Conv(self.hidden, 2 * self.hidden),
                                   Conv(2 * self.hidden, self.hidden, activate=False))

    def forward(self, x):
        a, b = self.enter(x).split((self.hidden, self.hidden), dim=1)
        b = b + self.attention(b)
        b = b + self.forth(b)
        return self.leave(torch.cat((a, b), 1))


class Detect(nn.Module):
    """Decodes three maps to [batch, 4 + classes, anchors]: cx, cy, w, h in pixels and the classes' scores."""

    def __init__(self, channels, classes, boxes, scores, depthwise):
        super().__init__()
        self.classes, self.dynamic, self.made_for = classes, False, None

        def pair(inputs, outputs):
            if not depthwise:
                return Conv(inputs, outputs, 3)
            return nn.Sequential(Conv(inputs, inputs, 3, groups=inputs), Conv(inputs, outputs))

        self.boxes = nn.ModuleList(nn.Sequential(Conv(c, boxes, 3), Conv(boxes, boxes, 3),
                                                 nn.Conv2d(boxes, 4 * BINS, 1)) for c in channels)
        self.scores = nn.ModuleList(nn.Sequential(pair(c, scores), pair(scores, scores),
                                                  nn.Conv2d(scores, classes, 1)) for c in channels)
        self.bins = nn.Conv2d(BINS, 1, 1, bias=False).requires_grad_(False)
        self.bins.weight.data[:] = torch.arange(BINS, dtype=torch.float).view(1, BINS, 1, 1)
        for branch in self.boxes:
            branch[-1].bias.data[:] = 1  # three equal tensors: the exporter keeps one and two Identity

    @staticmethod
    def grid(maps):
        points, strides = [], []
        for one, stride in zip(maps, STRIDES):
            height, width = one.shape[2:]
            x = torch.arange(end=width, device=one.device, dtype=one.dtype) + 0.5
            y = torch.arange(end=height, device=one.device, dtype=one.dtype) + 0.5
            y, x = torch.meshgrid(y, x, indexing="ij")
            points.append(torch.stack((x, y), -1).view(-1, 2))
            strides.append(torch.full((height * width, 1), stride, dtype=one.dtype, device=one.device))
        return torch.cat(points).transpose(0, 1), torch.cat(strides).transpose(0, 1)

    def forward(self, maps):
        shape = maps[0].shape
        maps = [torch.cat((box(x), score(x)), 1) for box, score, x in zip(self.boxes, self.scores, maps)]
        if self.dynamic or self.made_for != shape:
            self.anchors, self.strides = self.grid(maps)
            self.made_for = shape
        flat = torch.cat([x.view(shape[0], 4 * BINS + self.classes, -1) for x in maps], 2)
        box, scores = flat.split((4 * BINS, self.classes), 1)
        batch, _, count = box.shape
        sides = self.bins(box.view(batch, 4, BINS, count).transpose(2, 1).softmax(1)).view(batch, 4, count)
        near, far = sides.chunk(2, 1)
        anchors = self.anchors.unsqueeze(0)
        corner, opposite = anchors - near, anchors + far
        box = torch.cat(((corner + opposite) / 2, opposite - corner), 1) * self.strides
        return torch.cat((box, scores.sigmoid()), 1)


class Yolo(nn.Module):
    def __init__(self, family, channels, classes, boxes, scores, heads=2):
        super().__init__()
        a, b, c, d, e = channels
        new = family == "yolo11"
        self.up = nn.Upsample(None, 2, "nearest")
        if new:
            self.early = nn.Sequential(Conv(3, a, 3, 2), Conv(a, b, 3, 2), c3k2(b, c, False, 0.25),
                                       Conv(c, c, 3, 2), c3k2(c, d, False, 0.25))
            self.middle = nn.Sequential(Conv(d, d, 3, 2), c3k2(d, d, True))
            self.late = nn.Sequential(Conv(d, e, 3, 2), c3k2(e, e, True), Sppf(e), C2psa(e, heads))
            early = d
            blocks = (c3k2(e + d, d, False), c3k2(d + d, c, False), c3k2(c + d, d, False), c3k2(d + e, e, True))
        else:
            self.early = nn.Sequential(Conv(3, a, 3, 2), Conv(a, b, 3, 2), c2f(b, b, 1, True),
                                       Conv(b, c, 3, 2), c2f(c, c, 2, True))
            self.middle = nn.Sequential(Conv(c, d, 3, 2), c2f(d, d, 2, True))
            self.late = nn.Sequential(Conv(d, e, 3, 2), c2f(e, e, 1, True), Sppf(e))
            early = c
            blocks = (c2f(e + d, d, 1, False), c2f(d + early, c, 1, False), c2f(c + d, d, 1, False),
                      c2f(d + e, e, 1, False))
        self.blocks = nn.ModuleList(blocks)
        self.down = nn.ModuleList((Conv(c, c, 3, 2), Conv(d, d, 3, 2)))
        self.detect = Detect((c, d, e), classes, boxes, scores, new)

    def forward(self, x):
        early = self.early(x)
        middle = self.middle(early)
        late = self.late(middle)
        p4 = self.blocks[0](torch.cat((self.up(late), middle), 1))
        p3 = self.blocks[1](torch.cat((self.up(p4), early), 1))
        p4 = self.blocks[2](torch.cat((self.down[0](p3), p4), 1))
        p5 = self.blocks[3](torch.cat((self.down[1](p4), late), 1))
        return self.detect([p3, p4, p5])


def rows(count, size):
    i = np.arange(count * 3 * size * size, dtype=np.uint64)
    noise = ((i * 2654435761) % 2**32 >> np.uint64(8)).astype(np.float32) * np.float32(2**-24)
    return torch.from_numpy(noise.reshape(count, 3, size, size))


def build(family, tiny):
    torch.manual_seed(1)
    if tiny:
        net = Yolo(family, (4, 4, 8, 8, 8), 3, 4, 4)
    else:
        net = Yolo(family, (16, 32, 64, 128, 256), 80, 64, 80)
    net.train()
    with torch.no_grad():
        for branch in (*net.detect.boxes, *net.detect.scores):
            branch[-1].weight *= 4
        net(torch.rand(8, 3, 64, 64) if tiny else torch.rand(4, 3, 128, 128))
    return net.eval()


def export(net, file, opened, opset, size):
    net = copy.deepcopy(net)
    example = rows(1, size)
    net.detect.dynamic = opened == "all"
    with torch.no_grad():
        net(example)  # the anchors, unless they are dynamic
    axes = {"fixed": None,
            "batch": {"images": {0: "batch"}, "output0": {0: "batch"}},
            "all": {"images": {0: "batch", 2: "height", 3: "width"}, "output0": {0: "batch", 2: "anchors"}}}[opened]
    torch.onnx.export(net, example, file, opset_version=opset, input_names=["images"], output_names=["output0"],
                      dynamic_axes=axes, do_constant_folding=True)


def make_tests():
    for family, kinds in FILES.items():
        net = build(family, tiny=True)
        with torch.no_grad():
            answer = net(rows(4, 64)).numpy()
        print(family, answer.shape, "deviation of a number over the batch", answer.std(axis=(0, 2)))
        answer.astype("<f4").tofile(FOLDER / f"{family}.bin")
        for kind in kinds:
            opened, opset = kind.split("_")
            file = FOLDER / f"{family}_{kind}.onnx"
            export(net, str(file), opened, int(opset), 64)
            print(file.name, file.stat().st_size)


def make_bench(folder):
    for family in FILES:
        file = folder / f"{family}n/model.onnx"
        file.parent.mkdir(parents=True, exist_ok=True)
        export(build(family, tiny=False), str(file), "batch", 12, 640)


def measure():
    x = rows(1, 640)
    for family in FILES:
        net = build(family, tiny=False)
        with torch.no_grad():
            net(x)
            traced = torch.jit.trace(net, x, check_trace=False)
            forms = {"as it is": net, "frozen": torch.jit.freeze(traced),
                     "all in oneDNN": torch.jit.optimize_for_inference(traced)}
            for threads in (1, 2):
                torch.set_num_threads(threads)
                for name, run in forms.items():
                    wall, cpu = [], []
                    for _ in range(8):
                        start, start_cpu = time.perf_counter(), time.process_time()
                        run(x)
                        wall.append(time.perf_counter() - start)
                        cpu.append(time.process_time() - start_cpu)
                    print(f"{family}n, {name}, {threads} threads: {np.median(wall) * 1e3:.0f} ms, "
                          f"CPU {np.median(cpu) * 1e3:.0f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("task", nargs="?", choices=("tests", "bench", "time"), default="tests")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("."))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.task == "tests":
        make_tests()
    elif given.task == "bench":
        make_bench(given.folder)
    else:
        measure()

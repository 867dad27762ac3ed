"""The network of `shapes` (shapes.py says what it takes and gives), and its way into ONNX and back."""

import numpy as np
import onnx
import torch
from onnx import checker, numpy_helper
from torch import nn
from torch.nn import functional

import shapes_data as data

STRIDES = (8, 16, 32)


class Conv(nn.Module):
    """Convolution, batch normalisation (unless folded into the convolution) and ReLU."""

    def __init__(self, inputs, outputs, kernel=3, stride=1, folded=False):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=folded)
        self.norm = nn.Identity() if folded else nn.BatchNorm2d(outputs, momentum=0.03)

    def forward(self, x):
        return functional.relu(self.norm(self.conv(x)))

    def folded_state(self):
        factor = self.norm.weight / torch.sqrt(self.norm.running_var + self.norm.eps)
        return {"conv.weight": self.conv.weight * factor[:, None, None, None],
                "conv.bias": self.norm.bias - self.norm.running_mean * factor}


class Block(nn.Module):
    """A residual through a narrow middle."""

    def __init__(self, channels, middle, folded):
        super().__init__()
        self.body = nn.Sequential(Conv(channels, middle, 1, folded=folded), Conv(middle, middle, folded=folded),
                                  Conv(middle, channels, folded=folded))

    def forward(self, x):
        return x + self.body(x)


class Shapes(nn.Module):
    """An anchor-free detector: a backbone to strides 8, 16 and 32, a top-down neck and a shared head.

    While training it takes squares of any multiple of 32 pixels and gives boxes (cx, cy, w, h in pixels)
    and class logits. `folded` is the shape in which it is served: batch normalisation and strides are part
    of the convolutions, the input is data.SIZE pixels, and boxes and class scores are one [N, 8, 2100].
    """

    def __init__(self, folded=False):
        super().__init__()
        self.folded = folded
        neck = 40

        def down(inputs, outputs, middle):
            return nn.Sequential(Conv(inputs, outputs, stride=2, folded=folded), Block(outputs, middle, folded))

        self.stem = nn.Sequential(Conv(3, 12, stride=2, folded=folded), down(12, 24, 12))
        self.down8, self.down16, self.down32 = down(24, 48, 24), down(48, 80, 32), down(80, 96, 32)
        self.lateral = nn.ModuleList(Conv(c, neck, 1, folded=folded) for c in (48, 80, 96))
        self.smooth = nn.ModuleList(Conv(neck, neck, folded=folded) for _ in range(2))
        self.box_tower, self.class_tower = (Conv(neck, neck, folded=folded) for _ in range(2))
        self.centre, self.extent = (nn.ModuleList(nn.Conv2d(neck, 2, 1) for _ in STRIDES) for _ in range(2))
        self.score = nn.ModuleList(nn.Conv2d(neck, len(data.LABELS), 1) for _ in STRIDES)
        for centre, extent, score in zip(self.centre, self.extent, self.score):
            for layer, bias in ((centre, 0.0), (extent, np.log(4.0)), (score, -4.6)):
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.constant_(layer.bias, bias)
        if folded:
            self.register_buffer("cells", cell_centres(data.SIZE)[0])

    def forward(self, images):
        p8 = self.down8(self.stem(images))
        p16 = self.down16(p8)
        p32 = self.lateral[2](self.down32(p16))
        p16 = self.smooth[1](self.lateral[1](p16) + functional.interpolate(p32, scale_factor=2.0))
        p8 = self.smooth[0](self.lateral[0](p8) + functional.interpolate(p16, scale_factor=2.0))
        centres, extents, scores = [], [], []
        for level, features in enumerate((p8, p16, p32)):
            stride = 1.0 if self.folded else float(STRIDES[level])
            boxes = self.box_tower(features)
            centre, extent = self.centre[level](boxes), self.extent[level](boxes)
            if not self.folded:
                centre, extent = centre * stride, extent + np.log(stride)
            centres.append(centre.reshape(images.shape[0], 2, -1))
            extents.append(extent.reshape(images.shape[0], 2, -1))
            score = self.score[level](self.class_tower(features))
            scores.append(score.reshape(images.shape[0], len(data.LABELS), -1))
        cells = self.cells if self.folded else cell_centres(images.shape[-1])[0]
        boxes = torch.cat([torch.cat(centres, 2) + cells, torch.exp(torch.cat(extents, 2))], 1)
        scores = torch.cat(scores, 2)
        return torch.cat([boxes, torch.sigmoid(scores)], 1) if self.folded else (boxes, scores)


def cell_centres(size):
    """Centres of all cells in pixels as [2, cells], and each cell's stride."""
    centres, strides = [], []
    for stride in STRIDES:
        along = (torch.arange(size // stride) + 0.5) * stride
        y, x = torch.meshgrid(along, along, indexing="ij")
        centres.append(torch.stack([x.flatten(), y.flatten()]))
        strides.append(torch.full((x.numel(),), float(stride)))
    return torch.cat(centres, 1), torch.cat(strides)


def fold(network):
    """The same detector with batch normalisation and strides folded into the convolutions."""
    state = {}
    for name, module in network.named_modules():
        if isinstance(module, Conv):
            state.update({f"{name}.{key}": value for key, value in module.folded_state().items()})
    for level, stride in enumerate(STRIDES):
        centre, extent, score = network.centre[level], network.extent[level], network.score[level]
        state.update({f"centre.{level}.weight": centre.weight * stride, f"centre.{level}.bias": centre.bias * stride,
                      f"extent.{level}.weight": extent.weight, f"extent.{level}.bias": extent.bias + np.log(stride),
                      f"score.{level}.weight": score.weight, f"score.{level}.bias": score.bias})
    folded = Shapes(folded=True)
    state["cells"] = folded.cells
    folded.load_state_dict({key: value.detach() for key, value in state.items()})
    return folded.eval()


def export(folded, path):
    """Writes the folded network as ONNX; its weights keep the names they have in PyTorch.

    It is traced with one picture, then the batch dimension is made symbolic and two things are changed that
    OpenCV 4.6 would trip over: Reshapes get 0 ("as it was") for the batch, where a traced 1 would pin it and
    a computed shape would not be read; and equal weights, which PyTorch shares by Identity, are written twice.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(folded, torch.zeros(1, 3, data.SIZE, data.SIZE), str(path), opset_version=12,
                      input_names=["images"], output_names=["output0"])
    model = onnx.load(str(path))
    graph = model.graph
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Identity"]:
        tensor = graph.initializer.add()
        tensor.CopyFrom(weights[node.input[0]])
        tensor.name = node.output[0]
        graph.node.remove(node)
    constants = {node.output[0]: node for node in graph.node if node.op_type == "Constant"}
    for node in graph.node:
        if node.op_type == "Reshape":
            attribute = constants[node.input[1]].attribute[0]
            shape = numpy_helper.to_array(attribute.t).copy()
            shape[0] = 0
            attribute.t.CopyFrom(numpy_helper.from_array(shape))
    checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def load_onnx(path):
    """The folded PyTorch network with the weights of an exported model."""
    weights = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy())
               for t in onnx.load(str(path)).graph.initializer}
    folded = Shapes(folded=True)
    folded.load_state_dict(weights)
    return folded.eval()

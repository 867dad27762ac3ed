#!/usr/bin/python3
"""Makes families.json: outputs of nets of the families with masks, keypoints and turned boxes, of
RT-DETR, YOLOX and SSDs, and what is to be read from them.

Independent of inferpool: numpy does all of it by the textbook, pixel by pixel where it can. Run it in
this folder; its output is committed. Made with Debian 12's python3-numpy 1.24.
"""

import json
from pathlib import Path

import numpy as np

rng = np.random.default_rng(23)
PICTURE, INPUT = (100, 60), (64, 64)
CONFIDENCE, IOU, MOST = 0.25, 0.45, 12
# The letterbox: 100 x 60 becomes 64 x 38, in the middle of 64 x 64.
LEFT, TOP, WIDTH, HEIGHT = 0, 13, 64, 38


def to_picture(x, y):
    return (x - LEFT) * PICTURE[0] / WIDTH, (y - TOP) * PICTURE[1] / HEIGHT


def clipped(x, y):
    x, y = to_picture(x, y)
    return [float(np.clip(x, 0, PICTURE[0])), float(np.clip(y, 0, PICTURE[1]))]


def corners(cxcywh):
    cx, cy, w, h = np.asarray(cxcywh, np.float64).T
    return np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], -1)


def iou(a, b):
    w = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    h = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    area = [(r[2] - r[0]) * (r[3] - r[1]) for r in (a, b)]
    return w * h / (sum(area) - w * h)


def kept(scores, classes, overlap=None):
    """Indices above the threshold, the best first; without those that overlap a better one."""
    order = [i for i in np.argsort(-scores, kind="stable") if scores[i] > CONFIDENCE]
    found = []
    for i in order:
        if overlap is None or all(classes[i] != classes[k] or overlap(i, k) <= IOU for k in found):
            found.append(int(i))
    return found[:MOST]


def rows(boxes, scores, classes, order):
    return [clipped(*boxes[i][:2]) + clipped(*boxes[i][2:]) + [float(scores[i]), int(classes[i])]
            for i in order]


def tensor(name, array, datatype="FP32"):
    return {"name": name, "datatype": datatype, "shape": list(array.shape),
            "values": [float(v) for v in np.float32(array).ravel()]}


def some_boxes(count, clusters=6):
    centres = rng.uniform([14, 20], [50, 44], (clusters, 2))
    picked = centres[rng.integers(0, clusters, count)] + rng.normal(0, 1.5, (count, 2))
    return np.concatenate([picked, rng.uniform(8, 18, (count, 2))], 1).astype(np.float32)


def head_of(boxes, scores, behind):
    return np.float32(np.concatenate([boxes, scores, behind], 1))


def keypoints_of(values):
    return [clipped(x, y) + [float(c)] for x, y, c in np.asarray(values, np.float64).reshape(-1, 3)]


answers = {}
COUNT = 60
scores = np.float32(rng.uniform(0, 1, (COUNT, 2)) ** 2)
best, classes = scores.max(1), scores.argmax(1)
boxes = some_boxes(COUNT)
straight = corners(boxes)
pairs = lambda i, k: iou(straight[i], straight[k])
order = kept(best, classes, pairs)
final = np.float32(np.concatenate([straight, best[:, None], classes[:, None]], 1))

# --- keypoints
points = np.stack([boxes[:, :1] + rng.uniform(-9, 9, (COUNT, 5)),
                   boxes[:, 1:2] + rng.uniform(-9, 9, (COUNT, 5)), rng.uniform(0, 1, (COUNT, 5))], -1)
points = np.float32(points).reshape(COUNT, 15)
answers["yolov8_pose"] = {
    "outputs": [tensor("output0", head_of(boxes, scores, points).T[None])],
    "expected": rows(straight, best, classes, order),
    "keypoints": [keypoints_of(points[i]) for i in order]}
order_kept = kept(best, classes)
answers["pose_nms_free"] = {
    "outputs": [tensor("output0", np.concatenate([final, points], 1)[None])],
    "expected": rows(straight, best, classes, order_kept),
    "keypoints": [keypoints_of(points[i]) for i in order_kept]}

# --- masks: planes of 16 x 16 for 64 x 64 pixels
PLANES = 4
planes = np.float32(rng.normal(0, 1, (PLANES, 16, 16)))
planes = np.float32(sum(np.roll(planes, shift, (1, 2)) for shift in
                        ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (2, 1), (1, 2), (2, 2))))
coefficients = np.float32(rng.normal(0, 1, (COUNT, PLANES)))


def enlarged(cells):
    """torch's bilinear interpolation without aligned corners, a pixel at a time."""
    pixels = np.empty(INPUT[::-1])
    for y in range(INPUT[1]):
        for x in range(INPUT[0]):
            at_x = min(max((x + 0.5) / 4 - 0.5, 0), 15)
            at_y = min(max((y + 0.5) / 4 - 0.5, 0), 15)
            x0, y0 = int(at_x), int(at_y)
            x1, y1 = min(x0 + 1, 15), min(y0 + 1, 15)
            fx, fy = at_x - x0, at_y - y0
            pixels[y, x] = ((cells[y0, x0] * (1 - fx) + cells[y0, x1] * fx) * (1 - fy)
                            + (cells[y1, x0] * (1 - fx) + cells[y1, x1] * fx) * fy)
    return pixels


def mask(i):
    """The mask in the input's pixels, a text a row."""
    sums = np.tensordot(coefficients[i].astype(np.float64), planes.astype(np.float64), 1)
    inside = enlarged(sums) > 0
    y, x = np.mgrid[0:INPUT[1], 0:INPUT[0]]
    x1, y1, x2, y2 = straight[i].round()
    inside &= (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
    return ["".join("#" if pixel else "." for pixel in row) for row in inside]


answers["yolov8_segment"] = {
    "outputs": [tensor("output0", head_of(boxes, scores, coefficients).T[None]),
                tensor("output1", planes[None])],
    "expected": rows(straight, best, classes, order), "masks": [mask(i) for i in order[:5]],
    "boxes": [list(map(float, np.float32(straight[i]))) for i in order[:5]],
    "coefficients": [list(map(float, coefficients[i])) for i in order[:5]]}
answers["segment_nms_free"] = {
    "outputs": [tensor("output0", np.concatenate([final, coefficients], 1)[None]),
                tensor("output1", planes[None])],
    "expected": rows(straight, best, classes, order_kept)}

# --- turned boxes
angles = np.float32(rng.uniform(-np.pi / 4, 3 * np.pi / 4, COUNT))


def turned(i):
    """The corners, clockwise from what would be the upper left."""
    cx, cy, w, h = boxes[i].astype(np.float64)
    turn = np.array([[np.cos(angles[i]), -np.sin(angles[i])], [np.sin(angles[i]), np.cos(angles[i])]])
    return (turn @ np.array([[-w, w, w, -w], [-h, -h, h, h]]) / 2).T + [cx, cy]


def covariance(i):
    turn = np.array([[np.cos(angles[i]), -np.sin(angles[i])], [np.sin(angles[i]), np.cos(angles[i])]])
    return turn @ np.diag(boxes[i, 2:].astype(np.float64) ** 2 / 12) @ turn.T


def probiou(i, k):
    """1 less the Hellinger distance of two normal distributions."""
    a, b = covariance(i), covariance(k)
    mean = (a + b) / 2
    apart = (boxes[i, :2] - boxes[k, :2]).astype(np.float64)
    distance = (apart @ np.linalg.inv(mean) @ apart / 8
                + np.log(np.linalg.det(mean) / np.sqrt(np.linalg.det(a) * np.linalg.det(b))) / 2)
    return 1 - np.sqrt(max(1 - np.exp(-distance), 0))


around = np.array([[*turned(i).min(0), *turned(i).max(0)] for i in range(COUNT)])
order_turned = kept(best, classes, probiou)
assert order_turned != order and order_turned != order_kept
for name, how in {"yolov8_obb": order_turned, "obb_nms_free": order_kept}.items():
    table = (head_of(boxes, scores, angles[:, None]).T if name == "yolov8_obb" else np.concatenate(
        [boxes, best[:, None], classes[:, None], angles[:, None]], 1))
    answers[name] = {
        "outputs": [tensor("output0", table[None])], "expected": rows(around, best, classes, how),
        "corners": [[list(to_picture(*corner)) for corner in turned(i)] for i in how]}
answers["probiou"] = [[float(probiou(i, k)) for k in range(8)] for i in range(8)]
answers["turned"] = [[float(v) for v in (*boxes[i], angles[i])] for i in range(8)]

# --- queries of RT-DETR, whose picture is stretched over the input
queries = np.float32(np.concatenate([boxes / 64, scores], 1))
stretched = corners(queries[:, :4]) * [PICTURE[0], PICTURE[1], PICTURE[0], PICTURE[1]]
answers["rt_detr"] = {
    "outputs": [tensor("output0", queries[None])],
    "expected": [[float(np.clip(v, 0, PICTURE[n % 2])) for n, v in enumerate(stretched[i])]
                 + [float(best[i]), int(classes[i])] for i in order_kept]}

# --- YOLOX: 64 + 16 + 4 cells
cells = [(x, y, stride) for stride in (8, 16, 32) for y in range(64 // stride) for x in range(64 // stride)]
raw = np.float32(np.concatenate([rng.normal(0.5, 0.5, (84, 2)), rng.normal(0, 0.4, (84, 2)),
                                 rng.uniform(0, 1, (84, 1)) ** 3, rng.uniform(0.3, 1, (84, 2))], 1))
decoded = corners([[(r[0] + x) * s, (r[1] + y) * s, np.exp(np.float64(r[2])) * s,
                    np.exp(np.float64(r[3])) * s] for r, (x, y, s) in zip(raw, cells)])
product = raw[:, 4:5] * raw[:, 5:]
strength = np.where(raw[:, 4] > CONFIDENCE, product.max(1), 0)
which = product.argmax(1)
picked = [i for i in kept(strength, which, lambda i, k: iou(decoded[i], decoded[k]))]
answers["yolox"] = {"outputs": [tensor("output", raw[None])],
                    "expected": [row for row in rows(decoded, strength, which, picked)
                                 if row[2] > row[0] and row[3] > row[1]]}

# --- SSDs: TensorFlow's normalized y1, x1, y2, x2 with classes from 1, and torchvision's pixels
few = order_kept[:8]
unit = np.float32(straight[:20] / 64)
counted = [i for i in kept(best[:14], classes[:14])]
answers["ssd_tensorflow"] = {
    "outputs": [tensor("detection_boxes", unit[None][:, :, [1, 0, 3, 2]]),
                tensor("detection_scores", best[None, :20]),
                tensor("detection_classes", classes[None, :20] + 1),
                tensor("num_detections", np.array([14]))],
    "expected": rows(unit.astype(np.float64) * 64, best, classes, counted)}
few = kept(best[:20], classes[:20])
answers["ssd_torchvision"] = {
    "outputs": [tensor("boxes", straight[:20]), tensor("scores", best[:20]),
                tensor("labels", classes[:20], "INT64")],
    "expected": rows(straight, best, classes, few)}

for name, answer in answers.items():
    if "expected" in answer:
        assert len(answer["expected"]) > 3, name


def short(value):
    """As many digits as a 32-bit float has."""
    if isinstance(value, dict):
        return {key: short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [short(item) for item in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


Path(__file__).with_name("families.json").write_text(
    "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(short(v))}" for k, v in answers.items())
    + "\n}\n")

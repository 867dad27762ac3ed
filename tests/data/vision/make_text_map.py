#!/usr/bin/python3
"""Makes a text detector's map and the boxes in it that text_boxes_test.cc expects: text_map.png, the
probabilities times 255, and text_boxes.json.

Independent of inferpool and of OpenCV: numpy labels the regions, tries every side of their convex
hulls for the smallest rectangle, and works out the rest from the definition. Run it in this folder;
its outputs are committed. Made with Debian 12's python3-numpy 1.24 and python3-pil 9.4.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
WIDTH, HEIGHT = 416, 320
PIXEL, BOX, UNCLIP = 0.3, 0.6, 1.5
rng = np.random.default_rng(23)
y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)


def line(cx, cy, width, height, degrees, probability, blur):
    """A turned rectangle that fades at its edge."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    along, down = (x - cx) * c + (y - cy) * s, (y - cy) * c - (x - cx) * s
    beyond = np.maximum(abs(along) - width / 2, abs(down) - height / 2)
    return probability / (1 + np.exp(np.minimum(beyond / blur, 30)))


def regions(is_text):
    """Lists of [x, y], connected by sides or corners."""
    left = set(zip(*np.nonzero(is_text)))
    while left:
        todo, region = [left.pop()], []
        while todo:
            row, column = todo.pop()
            region.append([column, row])
            around = {(row + a, column + b) for a in (-1, 0, 1) for b in (-1, 0, 1)} & left
            left -= around
            todo.extend(around)
        yield np.array(region, float)


def cross(a, b):
    return a[0] * b[1] - a[1] * b[0]


def hull(points):
    points = np.unique(points, axis=0)

    def half(ordered):
        chain = []
        for p in ordered:
            while len(chain) > 1 and cross(chain[-1] - chain[-2], p - chain[-1]) <= 0:
                chain.pop()
            chain.append(p)
        return chain[:-1]

    return np.array(half(points) + half(points[::-1]))


def smallest_rectangle(points):
    """Centre, unit vector, and the lengths along it and across it."""
    corners = hull(points)
    best = None
    for side in np.roll(corners, -1, 0) - corners:
        u = side / np.linalg.norm(side)
        v = np.array([-u[1], u[0]])
        along, across = corners @ u, corners @ v
        length, height = np.ptp(along), np.ptp(across)
        if best is None or length * height < best[2] * best[3]:
            centre = u * (along.max() + along.min()) / 2 + v * (across.max() + across.min()) / 2
            best = centre, u, length, height
    return best


probabilities = np.zeros((HEIGHT, WIDTH))
for args in [(90, 40, 130, 14, 0, 0.98, 0.6), (300, 50, 150, 16, 12, 0.95, 1.0),
             (80, 130, 120, 12, -30, 0.9, 0.8), (210, 140, 90, 18, 60, 0.97, 0.7),
             (300, 150, 20, 80, 3, 0.99, 0.7), (370, 170, 30, 30, 20, 0.9, 1.2),
             (70, 240, 100, 10, -5, 0.85, 0.5), (200, 270, 110, 22, -75, 0.93, 0.9),
             (300, 260, 90, 13, 8, 0.55, 0.6),   # not likely enough
             (330, 300, 30, 2, 0, 0.9, 0.3),     # too thin
             (410, 290, 50, 14, 0, 0.96, 0.7)]:  # cut off at the edge
    probabilities = np.maximum(probabilities, line(*args))
noise = rng.normal(0, 0.02, probabilities.shape)
probabilities = np.clip(probabilities + noise * (probabilities > 0.05), 0, 1)
stored = np.round(probabilities * 255).astype(np.uint8)
probabilities = stored.astype(np.float32) / 255

found = []
for region in regions(probabilities > np.float32(PIXEL)):
    if len(region) < 12:
        continue
    centre, u, length, height = smallest_rectangle(region)
    if min(length, height) < 3:
        continue
    v = np.array([-u[1], u[0]])
    along = abs((x - centre[0]) * u[0] + (y - centre[1]) * u[1])
    across = abs((x - centre[0]) * v[0] + (y - centre[1]) * v[1])
    confidence = probabilities[(along <= length / 2 + 0.5) & (across <= height / 2 + 0.5)].mean()
    if confidence < BOX:
        continue
    if max(length, height) >= 1.5 * min(length, height):
        turn = length < height
    else:
        turn = abs(u[1]) > abs(u[0])
    if turn:
        u, v, length, height = v, -u, height, length
    if u[0] < 0:
        u, v = -u, -v
    grow = length * height * UNCLIP / (2 * (length + height))
    a, d = u * (length / 2 + grow), v * (height / 2 + grow)
    middle = centre + 0.5  # pixel 0 reaches from 0 to 1
    found.append({"corners": [[round(float(p), 3) for p in corner]
                              for corner in (middle - a - d, middle + a - d, middle + a + d,
                                             middle - a + d)],
                  "confidence": round(float(confidence), 4)})
found.sort(key=lambda box: box["corners"][0])
assert len(found) == 9, len(found)
Image.fromarray(stored).save(HERE / "text_map.png", optimize=True)
(HERE / "text_boxes.json").write_text("[\n" + ",\n".join(json.dumps(box) for box in found) + "\n]\n")

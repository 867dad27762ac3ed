"""Pictures of the things that the model `shapes` knows, drawn where a test wants them."""

import math
import random

from PIL import Image, ImageDraw

KINDS = ("circle", "square", "triangle", "star")
GROUND = (150, 160, 150)
COLOURS = ((30, 60, 200), (200, 40, 40), (20, 20, 20), (250, 220, 40))


def _outline(kind, side, turn):
    """The corners about the origin; the longer side of their box is `side`."""
    corners, inner = {"circle": (64, 1), "square": (4, 1), "triangle": (3, 1), "star": (10, 0.45)}[kind]
    points = [(radius * math.cos(angle), radius * math.sin(angle))
              for i in range(corners)
              for radius in (inner if i % 2 and kind == "star" else 1,)
              for angle in (2 * math.pi * i / corners + math.pi / 4 + turn,)]
    left, top = (min(point[axis] for point in points) for axis in (0, 1))
    right, bottom = (max(point[axis] for point in points) for axis in (0, 1))
    scale = side / max(right - left, bottom - top)
    return [((x - (left + right) / 2) * scale, (y - (top + bottom) / 2) * scale) for x, y in points]


def draw(image, kind, middle, side, colour=COLOURS[0], turn=0.0):
    """Draws one thing with smooth edges, and returns its class and its box."""
    finer = 4
    x, y = middle
    points = _outline(kind, side, turn)
    left, top, size = int(x - side / 2) - 2, int(y - side / 2) - 2, int(side) + 5
    ink = Image.new("L", (size * finer, size * finer))
    ImageDraw.Draw(ink).polygon([((x + dx - left) * finer, (y + dy - top) * finer) for dx, dy in points], fill=255)
    image.paste(colour, (left, top), ink.resize((size, size), Image.Resampling.BOX))
    return {"class_name": kind,
            "box": {"x1": min(dx for dx, _ in points) + x, "y1": min(dy for _, dy in points) + y,
                    "x2": max(dx for dx, _ in points) + x, "y2": max(dy for _, dy in points) + y}}


def scattered(seed, width=3840, height=2160, count=150, side=24):
    """A picture with so many things that do not touch, and what they are."""
    chance = random.Random(seed)
    image = Image.new("RGB", (width, height), GROUND)
    middles, things = [], []
    while len(things) < count:
        x, y = chance.uniform(side, width - side), chance.uniform(side, height - side)
        if any(abs(x - other[0]) < 2 * side and abs(y - other[1]) < 2 * side for other in middles):
            continue
        middles.append((x, y))
        things.append(draw(image, chance.choice(KINDS), (x, y), side, chance.choice(COLOURS),
                           chance.uniform(0, 2 * math.pi)))
    return image, things

#!/usr/bin/python3
"""draw_clips.py FOLDER: draws what the cameras of `ops/run --streams` see, a folder of JPEGs a camera.

In each clip a few circles, squares, triangles and stars, which the model `shapes` finds, move on paths of
their own. The last picture is followed by the first one without a jump. The same clips each time.
"""

import math
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

CAMERAS = ("door", "gate", "hall", "yard")
WIDTH, HEIGHT = 640, 480
PICTURES = 60
FINER = 2  # drawn larger, then scaled down, for smooth edges
GROUNDS = ((150, 160, 150), (196, 188, 172), (128, 140, 158), (208, 212, 204))
COLOURS = ((30, 60, 200), (200, 40, 40), (20, 20, 20), (250, 220, 40), (30, 130, 70))
# Of each kind: its corners, and how far every second one is from the middle.
KINDS = {"circle": (48, 1.0), "square": (4, 1.0), "triangle": (3, 1.0), "star": (10, 0.45)}


class Shape:
    """Moves on a closed path, which takes as long as the clip."""

    def __init__(self, chance, kind, colour):
        self.kind, self.colour = kind, colour
        self.radius = chance.uniform(26, 52)
        self.middle = [chance.uniform(0.3, 0.7) * size for size in (WIDTH, HEIGHT)]
        room = [min(at, size - at) - self.radius for at, size in zip(self.middle, (WIDTH, HEIGHT))]
        self.reach = [chance.uniform(0.6, 1.0) * size for size in room]
        self.rounds = [chance.choice((-2, -1, 1, 2)) for _ in range(2)]
        self.begin = [chance.uniform(0, 2 * math.pi) for _ in range(3)]

    def draw(self, canvas, part):
        """`part`: of the clip, from 0 to 1."""
        turn = 2 * math.pi * part
        x, y = (middle + reach * math.sin(rounds * turn + begin) for middle, reach, rounds, begin
                in zip(self.middle, self.reach, self.rounds, self.begin))
        corners, inner = KINDS[self.kind]
        points = []
        for i in range(corners):
            angle = 2 * math.pi * i / corners + self.begin[2] + turn
            radius = self.radius * (inner if i % 2 else 1.0)
            points.append(((x + radius * math.cos(angle)) * FINER, (y + radius * math.sin(angle)) * FINER))
        canvas.polygon(points, fill=self.colour)


def draw_clip(folder, number):
    chance = random.Random(number)
    kinds = chance.sample(sorted(KINDS), len(KINDS))[:3]
    shapes = [Shape(chance, kind, colour) for kind, colour in zip(kinds, chance.sample(COLOURS, len(kinds)))]
    folder.mkdir(parents=True)
    for i in range(PICTURES):
        picture = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), GROUNDS[number])
        canvas = ImageDraw.Draw(picture)
        for shape in shapes:
            shape.draw(canvas, i / PICTURES)
        picture.resize((WIDTH, HEIGHT), Image.BOX).save(folder / f"{i:03}.jpg", quality=88)


if __name__ == "__main__":
    for at, camera in enumerate(CAMERAS):
        draw_clip(Path(sys.argv[1]) / camera, at)

"""Lines of text drawn into pictures, with the corners where they are: from the text's own top left, clockwise."""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_FOLDER = Path("/usr/share/fonts/truetype")
FONTS = [_FOLDER / name for name in (
    "dejavu/DejaVuSans.ttf", "dejavu/DejaVuSans-Bold.ttf", "dejavu/DejaVuSerif.ttf", "dejavu/DejaVuSansMono.ttf",
    "liberation/LiberationSans-Regular.ttf", "liberation/LiberationSerif-Regular.ttf",
    "liberation/LiberationSerif-Italic.ttf", "liberation/LiberationSansNarrow-Bold.ttf")]
_MARGIN = 4


def _line(text, font, size, colour):
    """The text on a transparent ground, as small as it is, with a margin."""
    letters = ImageFont.truetype(str(font), size)
    left, top, right, bottom = letters.getbbox(text)
    line = Image.new("RGBA", (right - left + 2 * _MARGIN, bottom - top + 2 * _MARGIN), (*colour, 0))
    ImageDraw.Draw(line).text((_MARGIN - left, _MARGIN - top), text, (*colour, 255), letters)
    return line


def _solve(source, target):
    """The eight coefficients with which Pillow's PERSPECTIVE takes a point of `target` to one of `source`."""
    rows, values = [], []
    for (x, y), (u, v) in zip(target, source):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows, float), np.array(values, float))


def _paste(picture, line, outline):
    """Lays `line` onto `picture`, its corners at `outline`. Returns the corners of the text in it."""
    width, height = line.size
    whole = [(0, 0), (width, 0), (width, height), (0, height)]
    laid = line.transform(picture.size, Image.Transform.PERSPECTIVE, list(_solve(whole, outline)),
                          Image.Resampling.BICUBIC)
    picture.paste(laid, (0, 0), laid)
    a, b, c, d, e, f, g, h = _solve(outline, whole)
    inner = [(_MARGIN, _MARGIN), (width - _MARGIN, _MARGIN), (width - _MARGIN, height - _MARGIN),
             (_MARGIN, height - _MARGIN)]
    return [((a * x + b * y + c) / (g * x + h * y + 1), (d * x + e * y + f) / (g * x + h * y + 1)) for x, y in inner]


def draw(picture, text, font, size, centre, degrees=0.0, colour=(20, 20, 30)):
    """Turned clockwise by `degrees` around its centre."""
    line = _line(text, font, size, colour)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    outline = [(centre[0] + x * cosine - y * sine, centre[1] + x * sine + y * cosine)
               for x, y in ((-line.width / 2, -line.height / 2), (line.width / 2, -line.height / 2),
                            (line.width / 2, line.height / 2), (-line.width / 2, line.height / 2))]
    return _paste(picture, line, outline)


def draw_sign(picture, text, font, outline, ground=(235, 225, 190), colour=(40, 30, 60)):
    """A board with the text on it, seen from the side: its corners lie at `outline`."""
    line = _line(text, font, 64, colour)
    board = Image.new("RGBA", (line.width + 80, line.height + 60), (*ground, 255))
    board.alpha_composite(line, (40, 30))
    width, height = board.size
    _paste(picture, board, outline)
    a, b, c, d, e, f, g, h = _solve(outline, [(0, 0), (width, 0), (width, height), (0, height)])
    left, top, right, bottom = 40 + _MARGIN, 30 + _MARGIN, width - 40 - _MARGIN, height - 30 - _MARGIN
    return [((a * x + b * y + c) / (g * x + h * y + 1), (d * x + e * y + f) / (g * x + h * y + 1))
            for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))]


def with_noise(picture, deviation, seed=1):
    noise = np.random.default_rng(seed).normal(0, deviation, (picture.height, picture.width, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def cut_out(picture, corners):
    """The part of the picture within the corners, upright."""
    width = max(math.dist(corners[0], corners[1]), math.dist(corners[3], corners[2]))
    height = max(math.dist(corners[0], corners[3]), math.dist(corners[1], corners[2]))
    size = max(1, round(width)), max(1, round(height))
    upright = [(0, 0), (size[0], 0), size, (0, size[1])]
    return picture.transform(size, Image.Transform.PERSPECTIVE, list(_solve(corners, upright)),
                             Image.Resampling.BICUBIC)


def overlap(a, b, size):
    """Intersection over union of two quadrilaterals in a picture of that size."""
    areas = []
    for corners in (a, b):
        mask = Image.new("1", size)
        ImageDraw.Draw(mask).polygon([tuple(point) for point in corners], fill=1)
        areas.append(np.asarray(mask))
    return float((areas[0] & areas[1]).sum() / (areas[0] | areas[1]).sum())

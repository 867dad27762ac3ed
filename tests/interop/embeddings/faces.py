"""Faces of people who are in several pictures each, and how well a net tells them apart.

The pictures are in public repositories, which are to be cloned into one folder: justadudewhohacks/face-api.js (eight
people, in grey), serengil/deepface (thirteen) and davisking/dlib (five; that net may have been trained on them).
"""

import csv

import numpy as np
from PIL import Image, ImageOps

AROUND = 1.2  # the square's side over the longer side of the face's box
_GREY = (114, 114, 114)


def people(clones):
    """{person: paths of pictures}"""
    found = {}
    for folder in ("face-api.js/examples/images", "dlib/examples/johns"):
        for person in sorted(path for path in (clones / folder).glob("*") if path.is_dir()):
            found[f"{folder.split('/')[0]} {person.name}"] = sorted(person.glob("*.[jp][pn]g"))
    tests = clones / "deepface/tests/unit/dataset"
    for path, same in _deepface(tests).items():
        found[f"deepface {path}"] = [tests / name for name in same]
    return {person: paths for person, paths in found.items() if len(paths) > 1}


def _deepface(folder):
    """{a picture's name: all names of pictures of that person}, from its lists of pairs."""
    groups = {}
    for pairs in ("master.csv", "face-recognition-pivot.csv"):
        if not (folder / pairs).exists():
            continue
        with open(folder / pairs, newline="") as file:
            for row in csv.DictReader(file):
                row = {key.lower(): value for key, value in row.items()}
                names = [row[key].split("/")[-1] for key in ("file_x", "file_y")]
                one, other = (groups.setdefault(name, {name}) for name in names)
                if row["decision"] == "Yes" and one is not other:
                    one |= other
                    for name in other:
                        groups[name] = one
    return {min(group): sorted(group) for group in groups.values()}


def opened(path):
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    # These have little beside the face, or less than all of it.
    return ImageOps.expand(picture, 60, _GREY) if max(picture.size) <= 160 else picture


def box(detector, picture):
    """The largest face's box, or None. `detector`: image [1, side, side, 3] -> rows x1, y1, x2, y2, score, class."""
    side = detector.get_inputs()[0].shape[1]
    scale = side / max(picture.size)
    small = picture.resize([max(1, round(size * scale)) for size in picture.size], Image.BILINEAR)
    x, y = ((side - size) // 2 for size in small.size)
    framed = Image.new("RGB", (side, side), _GREY)
    framed.paste(small, (x, y))
    rows = detector.run(None, {"image": np.asarray(framed)[None]})[0][0]
    rows = rows[rows[:, 4] >= 0.25]
    if not len(rows):
        return None
    largest = rows[np.argmax((rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1]))]
    return (largest[:4] - [x, y, x, y]) / scale


def square(picture, edges, side, around=AROUND):
    """The square around the box: as wide as its longer side and a fifth more, grey beyond the picture."""
    x1, y1, x2, y2 = edges
    half = max(x2 - x1, y2 - y1) * around / 2
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return _grey_beyond(picture, [round(at) for at in (x - half, y - half, x + half, y + half)], side)


def _grey_beyond(picture, edges, side):
    cut = Image.new("RGB", (edges[2] - edges[0], edges[3] - edges[1]), _GREY)
    cut.paste(picture, (-edges[0], -edges[1]))
    return cut.resize((side, side), Image.BILINEAR)


def distinct(squares):
    """The numbers of those that are not almost the same picture as an earlier one."""
    chosen, seen = [], []
    for number, cut in enumerate(squares):
        small = np.asarray(cut.convert("L").resize((24, 24), Image.BOX), np.float32)
        if all(np.abs(small - one).mean() > 6 for one in seen):
            chosen.append(number)
            seen.append(small)
    return chosen


def tell_apart(vectors, names):
    """How well the scalar products of all pairs tell whether they are of one person."""
    products = vectors @ vectors.T
    first, second = np.triu_indices(len(vectors), 1)
    pairs = products[first, second]
    one = np.array(names)
    same = one[first] == one[second]
    alike, others = np.sort(pairs[same]), np.sort(pairs[~same])
    thresholds = np.sort(pairs)
    missed = np.searchsorted(alike, thresholds) / len(alike)
    mistaken = 1 - np.searchsorted(others, thresholds) / len(others)
    at = np.argmin(np.abs(missed - mistaken))
    strict = others[-max(1, len(others) // 1000)]
    np.fill_diagonal(products, -2)
    return {"people": len(set(names)), "pictures": len(names), "pairs_same": len(alike), "pairs_other": len(others),
            "equal_error_rate": (missed[at] + mistaken[at]) / 2, "threshold": thresholds[at],
            "threshold_1_in_1000": strict, "missed_then": np.searchsorted(alike, strict, "right") / len(alike),
            "nearest_is_the_same": float(np.mean(one[np.argmax(products, 1)] == one))}

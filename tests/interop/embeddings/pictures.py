"""The thousand pictures that are searched for, and what becomes of one on its way through the world.

They come from Debian packages, by name: photographs of animals, plants, buildings, food and tools as teaching
programs show them, some cut out from their background; OpenCV's samples; pieces of wallpapers that do not
overlap, which look more alike than pictures of a collection do; and, to fill up, drawings.
"""

import io
import struct
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

PACKAGES = ["gcompris-qt-data", "tuxpaint-stamps-default", "opencv-doc", "mate-backgrounds",
            "plasma-workspace-wallpapers", "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", "ukui-wallpapers",
            "palapeli-data", "scratch", "pysiogame"]
COUNT = 1000
LARGEST = 640  # of a picture's sides
CHANGES = ["crop", "colour", "jpeg", "flip", "all", "harder"]

# Archives of GCompris with photographs in them; the others have drawings and pieces of paintings.
_ARCHIVES = ["categorization", "erase", "explore_farm_animals", "explore_monuments", "explore_world_animals",
             "explore_world_music", "louis-braille", "solar_system"]
# Folders and names of Tux Paint's stamps that are drawings.
_DRAWN = ["cartoon", "symbols/", "shapes", "roadsigns", "clothes/", "seasonal/easter", "seasonal/hanukkah",
          "seasonal/halloween", "dinosaur", "button", "pizza", "tooth"]
_WALLPAPERS = ["mate/nature", "FallenLeaf", "Cascade", "ColdRipple", "ColorfulCups", "DarkestHour", "EveningGlow",
               "Path", "Summer_1am", "Grey", "BytheWater", "Autumn", "summer_1am", "Kite", "Elarun", "ByTheWater",
               "lomiri", "castle", "calla", "city", "desert", "goldfish", "palapeli"]


def download(folder):
    """Fetches and unpacks the packages below `folder`, unless they are there. Returns where they are."""
    unpacked = Path(folder).resolve() / "unpacked"
    unpacked.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        if (unpacked / package / "usr").is_dir():
            continue
        archives = unpacked.parent / "archives" / package
        archives.mkdir(parents=True, exist_ok=True)
        for old in archives.iterdir():
            old.unlink()
        subprocess.run(["apt-get", "download", "-q", package], cwd=archives, check=True, stdout=subprocess.DEVNULL)
        (archive,) = archives.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", archive, unpacked / package], check=True)
        archive.unlink()
    return unpacked


def _webp_in(archive):
    """The WebP files in one of GCompris' archives, which stores them as they are."""
    data, at = archive.read_bytes(), 0
    while (at := data.find(b"RIFF", at)) >= 0:
        size = 8 + struct.unpack_from("<I", data, at + 4)[0]
        if data[at + 8:at + 12] == b"WEBP" and at + size <= len(data):
            yield data[at:at + size]
        at += 4


def _opened(source):
    picture = Image.open(source)
    if picture.mode in ("RGBA", "LA", "P"):
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def _fit(picture):
    picture.thumbnail((LARGEST, LARGEST), Image.LANCZOS)
    return picture


def _sources(unpacked):
    """Yields pictures in a fixed order, (where from, picture), those of their own first."""
    for name in _ARCHIVES:
        (archive,) = (unpacked / "gcompris-qt-data").rglob(f"{name}.rcc")
        for data in _webp_in(archive):
            yield f"gcompris {name}", _opened(io.BytesIO(data))
    stamps = unpacked / "tuxpaint-stamps-default"
    for path in sorted(stamps.rglob("*.png")):
        if not any(word in str(path) for word in _DRAWN):
            yield f"tuxpaint {path.name}", _opened(path)
    for path in sorted((unpacked / "opencv-doc/usr/share/doc/opencv-doc/examples").rglob("*.[jp][pn]g")):
        yield f"opencv {path.name}", _opened(path)
    for path in sorted((unpacked / "scratch").rglob("Backgrounds/*/*.[jp][pn]g")):
        yield f"scratch {path.name}", _opened(path)
    for path in _wallpapers(unpacked):
        whole = _opened(path)
        side = 6 if min(whole.size) >= 2000 else 5 if min(whole.size) >= 1200 else 3
        width, height = whole.width // side, whole.height // side
        for y in range(side):
            for x in range(side):
                box = (x * width, y * height, (x + 1) * width, (y + 1) * height)
                yield f"wallpaper {path.name} {x},{y}", whole.crop(box)
    for path in sorted((unpacked / "pysiogame").rglob("*.[jp][pn]g")):
        yield f"drawing {path.name}", _opened(path)


def _wallpapers(unpacked):
    largest = {}
    for path in sorted(unpacked.rglob("*.[jp][pn]g")):
        if any(word in str(path) for word in _WALLPAPERS) and "screenshot" not in path.name:
            place = path.parent if path.parent.name == "images" else path
            with Image.open(path) as picture:
                pixels = picture.width * picture.height
            if pixels >= 1_000_000 and pixels > largest.get(place, (0, None))[0]:
                largest[place] = (pixels, path)
    return [path for _, path in largest.values()]


def originals(unpacked):
    """Returns COUNT pictures, (where from, picture). Left out: small ones, drawings and patterns of few colours,
    flat ones, and each that looks almost like an earlier one, or like that in a mirror."""
    chosen, seen = [], np.empty((0, 16 * 16 * 3), np.float32)
    for origin, picture in _sources(unpacked):
        if min(picture.size) < 100:
            continue
        picture = _fit(picture)
        small = np.asarray(picture.resize((64, 64), Image.BOX))
        colours = len(np.unique(small.reshape(-1, 3), axis=0))
        if colours < 500 or small.std(axis=(0, 1)).mean() < 18 or _detail(picture) < 4:
            continue
        marks = [np.asarray(one.resize((16, 16), Image.BOX), np.float32).reshape(-1)
                 for one in (picture, picture.transpose(Image.FLIP_LEFT_RIGHT))]
        if len(seen) and min(np.abs(seen - mark).mean(axis=1).min() for mark in marks) < 9:
            continue
        seen = np.vstack([seen, marks[0]])
        chosen.append((origin, picture))
        if len(chosen) == COUNT:
            break
    return chosen


def _detail(picture):
    """The mean difference, in grey levels, between the picture and itself out of focus."""
    grey = picture.convert("L").resize((256, 256), Image.BOX)
    soft = grey.filter(ImageFilter.GaussianBlur(4))
    return np.abs(np.asarray(grey, np.float32) - np.asarray(soft, np.float32)).mean()


def changed(picture, change, number):
    """The query for the picture of this number: one of CHANGES."""
    chance = np.random.default_rng([number, 23])
    place, tint, shape = chance.random(2), chance.uniform(-1, 1, 4), 1.15 ** chance.uniform(-1, 1)
    if change in ("crop", "all"):
        picture = _crop(picture, 0.7, shape, place)
    elif change == "harder":
        picture = _crop(picture, 0.49, shape, place)
    if change in ("colour", "all", "harder"):
        picture = _recolour(picture, tint)
    if change in ("flip", "all", "harder"):
        picture = picture.transpose(Image.FLIP_LEFT_RIGHT)
    if change in ("jpeg", "all", "harder"):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=40)
        picture = Image.open(file).convert("RGB")
    return picture


def _crop(picture, part, shape, place):
    """A `part` of the picture, wider by the factor `shape` than it is high, compared with the picture."""
    width, height = (round(size * (part * along) ** 0.5) for size, along in zip(picture.size, (shape, 1 / shape)))
    x, y = (int(where * (size - left + 1)) for where, size, left in zip(place, picture.size, (width, height)))
    return picture.crop((x, y, x + width, y + height))


def _recolour(picture, tint):
    """Another brightness, contrast and saturation, by up to 30 %, and other hues, by up to 18 degrees."""
    for enhance, amount in zip((ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), tint):
        picture = enhance(picture).enhance(1 + 0.3 * amount)
    hue, saturation, value = picture.convert("HSV").split()
    hue = hue.point([(level + round(12.8 * tint[3])) % 256 for level in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")

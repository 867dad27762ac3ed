"""Pictures to send: the bundled photograph in many dresses, and such as no camera makes."""

import io
import os
import struct
import zlib
from pathlib import Path

from PIL import Image

SOURCE = Path(os.environ.get("INFERPOOL_SOURCE_DIR") or Path(__file__).resolve().parents[2])
ASTRONAUT_FILE = SOURCE / "ops/pictures/astronaut.jpg"
ASTRONAUT = ASTRONAUT_FILE.read_bytes()
# Where her face is, set by hand: forehead to chin, cheek to cheek.
ASTRONAUT_FACE = {"x1": 168, "y1": 68, "x2": 282, "y2": 192}

_ORIENTATION = 0x0112
# What turns an upright picture into the one to store with an EXIF orientation (Exif 2.32, 4.6.4).
_STORED = {1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
           4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
           6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
           8: Image.Transpose.ROTATE_270}


def astronaut():
    return Image.open(io.BytesIO(ASTRONAUT)).convert("RGB")


def encode(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def plain(width, height, kind="PNG", colour=(90, 120, 150), **options):
    return encode(Image.new("RGB", (width, height), colour), kind, **options)


def stored_with_orientation(image, orientation, kind="JPEG"):
    """A file whose pixels lie as a camera held that way stores them, tagged so."""
    turned = image if orientation == 1 else image.transpose(_STORED[orientation])
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return encode(turned, kind, exif=exif.tobytes(), quality=95)


def png_chunk(kind, content):
    return (struct.pack(">I", len(content)) + kind + content
            + struct.pack(">I", zlib.crc32(kind + content)))


def png_header_only(width, height):
    """A PNG of some 100 bytes that claims to be huge."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
            + png_chunk(b"IDAT", zlib.compress(bytes(30))) + png_chunk(b"IEND", b""))


def jpeg_header_only(width, height):
    """A JPEG that claims to be huge: start, frame header, scan header, nothing, end."""
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\1\x22\0\2\x11\1\3\x11\1"
    scan = struct.pack(">HB", 12, 3) + b"\1\0\2\x11\3\x11\0\x3f\0"
    return b"\xff\xd8\xff\xc0" + frame + b"\xff\xda" + scan + bytes(16) + b"\xff\xd9"


def webp_header_only(width, height):
    """A lossless WebP that claims to be huge."""
    bits = (width - 1) | (height - 1) << 14
    chunk = b"VP8L" + struct.pack("<IBI", 16, 0x2f, bits) + bytes(11)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def intersection_over_union(a, b):
    width = min(a["x2"], b["x2"]) - max(a["x1"], b["x1"])
    height = min(a["y2"], b["y2"]) - max(a["y1"], b["y1"])
    both = max(width, 0) * max(height, 0)
    area = lambda box: (box["x2"] - box["x1"]) * (box["y2"] - box["y1"])
    return both / (area(a) + area(b) - both)

#!/usr/bin/python3
"""Makes the pictures and the expected numbers that tests/unit/worker/vision reads.

Independent of inferpool: Pillow writes and decodes the pictures, numpy and cv2 do the geometry, the
normalisation and the suppression by the textbook. Run it in this folder; its outputs are committed.
Made with Debian 12's python3-pil 9.4, python3-numpy 1.24 and python3-opencv 4.6.
"""

import io
import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

rng = np.random.default_rng(20)
HERE = Path(__file__).parent
manifest = []


def smooth(width, height):
    """Colours that differ in every corner, so that no flip or swap goes unnoticed."""
    y, x = np.mgrid[0:height, 0:width]
    red = 40 + 200 * x / width
    green = 30 + 200 * y / height
    blue = 220 - 150 * (x + y) / (width + height)
    return np.stack([red, green, blue], -1).round().astype(np.uint8)


# --- pictures ---------------------------------------------------------------------------------


def save(name, data, upright_rgb, size, orientation=1, tolerance=0):
    (HERE / name).write_bytes(data)
    (HERE / (name + ".bgr")).write_bytes(np.ascontiguousarray(upright_rgb[:, :, ::-1]).tobytes())
    manifest.append({"file": name, "width": size[0], "height": size[1], "orientation": orientation,
                     "tolerance": tolerance})


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def exif_orientation(value, endian):
    head = (b"II*\0" if endian == "<" else b"MM\0*") + struct.pack(endian + "I", 8)
    other = struct.pack(endian + "HHIHH", 0x010E, 3, 1, 5, 0)
    entry = struct.pack(endian + "HHIHH", 0x0112, 3, 1, value, 0)
    return head + struct.pack(endian + "H", 2) + other + entry + b"\0\0\0\0"


# What is stored when the picture, seen with that orientation, is to look like `upright`
# (EXIF 2.32, 4.6.4 A, by what the 0th row and the 0th column show).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}

base = smooth(22, 14)
base_image = Image.fromarray(base)
for value, stored in STORED.items():
    pixels = Image.fromarray(np.ascontiguousarray(stored(base)))
    block = exif_orientation(value, "<" if value % 2 else ">")
    data = encoded(pixels, "JPEG", quality=95, subsampling=0, exif=b"Exif\0\0" + block)
    save(f"orientation_{value}.jpg", data, base, pixels.size, value, 8)

for name, options in {"baseline.jpg": {}, "progressive.jpg": {"progressive": True}}.items():
    noisy = np.clip(smooth(40, 30) + rng.integers(-20, 20, (30, 40, 3)), 0, 255).astype(np.uint8)
    data = encoded(Image.fromarray(noisy), "JPEG", quality=80, **options)
    save(name, data, decoded(data), (40, 30), tolerance=2)
data = encoded(Image.fromarray(base[:, :, 0]), "JPEG", quality=90)
save("grey.jpg", data, decoded(data), (22, 14), tolerance=2)
ok, data = cv2.imencode(".jpg", smooth(40, 30)[:, :, ::-1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])
save("restarts.jpg", data.tobytes(), decoded(data.tobytes()), (40, 30), tolerance=2)

# Under colours plus black ink, so that all four planes matter. Expected: (255 - ink)(255 - black).
ink = np.dstack([255 - base, np.full((14, 22), 60, np.uint8)])
by_hand = ((255.0 - ink[:, :, :3]) * (255.0 - ink[:, :, 3:]) / 255).round().astype(np.uint8)
cmyk = encoded(Image.fromarray(ink, "CMYK"), "JPEG", quality=98)
save("cmyk.jpg", cmyk, by_hand, (22, 14), tolerance=8)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def interlaced_png(rgb):
    height, width = rgb.shape[:2]
    raw = b""
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
                           (1, 0, 2, 2), (0, 1, 1, 2)]:
        for row in rgb[y0::dy, x0::dx]:
            if row.size:
                raw += b"\0" + row.tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
            + png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b""))


noise = rng.integers(0, 256, (14, 22, 3), dtype=np.uint8)
grey = noise[:, :, 0]
save("rgb.png", encoded(Image.fromarray(noise), "PNG"), noise, (22, 14))
save("interlaced.png", interlaced_png(noise), noise, (22, 14))
assert np.array_equal(decoded(interlaced_png(noise)), noise)
alpha = Image.fromarray(np.dstack([noise, grey]))
save("alpha.png", encoded(alpha, "PNG"), noise, (22, 14))
save("grey.png", encoded(Image.fromarray(grey), "PNG"), np.dstack([grey] * 3), (22, 14))
one_bit = np.where(grey > 127, 255, 0).astype(np.uint8)
save("one_bit.png", encoded(Image.fromarray(one_bit).convert("1"), "PNG"),
     np.dstack([one_bit] * 3), (22, 14))
palette = base_image.quantize(16)
save("palette.png", encoded(palette, "PNG"), np.asarray(palette.convert("RGB")), (22, 14))
deep = rng.integers(0, 65536, (14, 22, 3), dtype=np.uint16)
ok, data = cv2.imencode(".png", deep[:, :, ::-1])
save("deep.png", data.tobytes(), (deep >> 8).astype(np.uint8), (22, 14))
ok, data = cv2.imencode(".png", deep[:, :, 0])
save("deep_grey.png", data.tobytes(), np.dstack([(deep[:, :, 0] >> 8).astype(np.uint8)] * 3),
     (22, 14))
turned = Image.fromarray(np.ascontiguousarray(STORED[6](noise)))
save("exif.png", encoded(turned, "PNG", exif=b"Exif\0\0" + exif_orientation(6, ">")), noise,
     turned.size, 6)

data = encoded(base_image, "WEBP", quality=90)
save("lossy.webp", data, decoded(data), (22, 14), tolerance=2)
save("lossless.webp", encoded(Image.fromarray(noise), "WEBP", lossless=True), noise, (22, 14))
save("alpha.webp", encoded(alpha, "WEBP", lossless=True, exact=True), noise, (22, 14))
opaque = Image.fromarray(np.dstack([base, np.full((14, 22), 200, np.uint8)]))
data = encoded(opaque, "WEBP", quality=90, exact=True)
save("lossy_alpha.webp", data, decoded(data), (22, 14), tolerance=2)
save("exif.webp", encoded(turned, "WEBP", lossless=True, exif=exif_orientation(6, "<")), noise,
     turned.size, 6)
for name, kind in {"refused.bmp": "BMP", "refused.tiff": "TIFF"}.items():
    (HERE / name).write_bytes(encoded(base_image.resize((6, 4)), kind))


def png(width, height, depth, colour_type, rows, *before_data):
    """`rows`: each row's bytes, unfiltered; `before_data`: chunks."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    raw = b"".join(b"\0" + bytes(row) for row in rows)
    return (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + b"".join(before_data)
            + png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b""))


def packed(values, bits):
    """Values of some bits each, the first one in a byte's highest bits."""
    as_bits = (values[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(as_bits.reshape(len(values), -1).astype(np.uint8), axis=1)


for bits in 2, 4:
    few = grey >> (8 - bits)
    save(f"grey_{bits}_bits.png", png(22, 14, bits, 0, packed(few, bits)),
         np.dstack([few * (255 // (2**bits - 1))] * 3), (22, 14))
faint = np.dstack([grey, noise[:, :, 1]])
save("grey_alpha.png", encoded(Image.fromarray(faint), "PNG"), np.dstack([grey] * 3), (22, 14))
save("deep_grey_alpha.png", png(22, 14, 16, 4, np.dstack([deep[:, :, 0], deep[:, :, 1]]).byteswap()
                                .reshape(14, -1).view(np.uint8)),
     np.dstack([(deep[:, :, 0] >> 8).astype(np.uint8)] * 3), (22, 14))
save("deep_alpha.png", png(22, 14, 16, 6, np.dstack([deep, deep[:, :, 1]]).byteswap()
                           .reshape(14, -1).view(np.uint8)),
     (deep >> 8).astype(np.uint8), (22, 14))
save("colour_key.png", png(22, 14, 8, 2, noise.reshape(14, -1),
                           png_chunk(b"tRNS", struct.pack(">HHH", *noise[3, 5].tolist()))),
     noise, (22, 14))
save("palette_alpha.png", encoded(palette, "PNG", transparency=bytes(range(0, 160, 10))),
     np.asarray(palette.convert("RGB")), (22, 14))
four = base_image.quantize(4)
save("palette_2_bits.png", encoded(four, "PNG", bits=2), np.asarray(four.convert("RGB")), (22, 14))

# Without Adobe's marker, as few write it; the inks are inverted all the same.
adobe = cmyk.index(b"\xff\xee")
length = struct.unpack_from(">H", cmyk, adobe + 2)[0]
save("cmyk_unmarked.jpg", cmyk[:adobe] + cmyk[adobe + 2 + length:], by_hand, (22, 14),
     tolerance=8)
# Red, green and blue stored as such: told by the components' names, as libjpeg has it.
data = bytearray(encoded(Image.fromarray(base, "YCbCr"), "JPEG", quality=95, subsampling=0))
jfif = data.index(b"\xff\xe0")
del data[jfif:jfif + 2 + struct.unpack_from(">H", data, jfif + 2)[0]]
frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
for i, component in enumerate(b"RGB"):
    data[frame + 10 + 3 * i] = component
    data[scan + 5 + 2 * i] = component
save("rgb.jpg", bytes(data), base, (22, 14), tolerance=8)

frames = [Image.fromarray(np.full((14, 22, 3), v, np.uint8)) for v in (10, 200)]
save("animated.webp", encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
     np.full((14, 22, 3), 10, np.uint8), (22, 14), tolerance=2)
still = encoded(Image.fromarray(noise), "WEBP", lossless=True)[12:]


def riff_chunk(kind, data):
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) & 1)


def bits_24(value):
    return struct.pack("<I", value)[:3]


# The first frame lies at (4, 6), in the lower right corner of the canvas.
anmf = b"".join(bits_24(v) for v in (2, 3, 22 - 1, 14 - 1, 100)) + b"\0" + still
chunks = (riff_chunk(b"VP8X", b"\2\0\0\0" + bits_24(26 - 1) + bits_24(20 - 1))
          + riff_chunk(b"ANIM", b"\x20\x40\x60\xff\0\0") + riff_chunk(b"ANMF", anmf)
          + riff_chunk(b"ANMF", anmf))
canvas = np.zeros((20, 26, 3), np.uint8)
canvas[6:20, 4:26] = noise
save("animated_offset.webp", b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks,
     canvas, (26, 20))

inverse = Image.fromarray(255 - noise)
save("animated.png", encoded(Image.fromarray(noise), "PNG", save_all=True,
                             append_images=[inverse]), noise, (22, 14))
save("animated_default.png", encoded(Image.fromarray(noise), "PNG", save_all=True,
                                     default_image=True, append_images=[inverse]), noise, (22, 14))

coloured = np.asarray(palette.convert("RGB"))
gif = encoded(palette, "GIF")
save("still.gif", gif, coloured, (22, 14))
large = Image.fromarray(smooth(40, 30)).quantize(200)
save("interlaced.gif", encoded(large, "GIF", interlace=1), np.asarray(large.convert("RGB")),
     (40, 30))
save("transparent.gif", encoded(palette, "GIF", transparency=int(np.asarray(palette)[7, 11])),
     coloured, (22, 14))
save("animated.gif", encoded(palette, "GIF", save_all=True, append_images=[four], duration=50,
                             loop=0), coloured, (22, 14))
# The same with the frame at (3, 5) of a screen of 30 x 25, whose background is colour 2; beyond a
# screen of 7 x 4; and with the colours in the frame.
end = 13 + (6 << (gif[10] & 7))
assert gif[:6] == b"GIF87a" and gif[10] & 0x80 and gif[end:end + 1] == b","
away = gif[:end] + b"," + struct.pack("<HH", 3, 5) + gif[end + 5:]
canvas = np.full((25, 30, 3), list(gif[13 + 6:13 + 9]), np.uint8)
canvas[5:19, 3:25] = coloured
save("offset.gif", away[:6] + struct.pack("<HH", 30, 25) + gif[10:11] + b"\2" + away[12:], canvas,
     (30, 25))
canvas = np.full((19, 25, 3), list(gif[13:16]), np.uint8)
canvas[5:19, 3:25] = coloured
save("beyond.gif", away[:6] + struct.pack("<HH", 7, 4) + away[10:], canvas, (25, 19))
save("own_colours.gif", gif[:10] + b"\0\0\0" + gif[end:end + 9] + gif[10:11] + gif[13:end]
     + gif[end + 10:], coloured, (22, 14))

# --- geometry ---------------------------------------------------------------------------------


def letterbox_geometry(w, h, W, H):
    """Ultralytics' LetterBox: left, top, width and height of the content."""
    r = min(H / h, W / w)
    nw, nh = max(1, round(w * r)), max(1, round(h * r))
    dw, dh = (W - nw) / 2, (H - nh) / 2
    return round(dw - 0.1), round(dh - 0.1), nw, nh


def crop_geometry(w, h, W, H):
    """The centre of the picture that has the input's shape: left, top, width and height."""
    r = max(H / h, W / w)
    sw, sh = min(w, max(1, round(W / r))), min(h, max(1, round(H / r)))
    return round((w - sw) / 2), round((h - sh) / 2), sw, sh


def to_picture(box, picture, source, content):
    sx, sy = source[2] / content[2], source[3] / content[3]
    x1, y1, x2, y2 = box
    out = [source[0] + (x1 - content[0]) * sx, source[1] + (y1 - content[1]) * sy,
           source[0] + (x2 - content[0]) * sx, source[1] + (y2 - content[1]) * sy]
    return [float(np.clip(v, 0, picture[i % 2])) for i, v in enumerate(out)]


sizes = [(1, 1), (1, 1000), (1000, 1), (2, 3), (640, 640), (640, 480), (480, 640), (641, 480),
         (639, 481), (1920, 1080), (1080, 1920), (3840, 2160), (65535, 1), (7, 1000), (333, 777),
         (810, 1080), (1281, 721), (500, 375), (375, 500), (101, 103)]
inputs = [(640, 640), (416, 256), (320, 33), (31, 31)]
geometry = []
for w, h in sizes:
    for W, H in inputs:
        content = letterbox_geometry(w, h, W, H)
        box = [float(v) for v in np.float32(rng.uniform(-0.2, 1.2, 4) * [W, H, W, H])]
        geometry.append({
            "picture": [w, h], "input": [W, H], "letterbox": content,
            "crop": crop_geometry(w, h, W, H), "box": box,
            "letterbox_box": to_picture(box, (w, h), (0, 0, w, h), content),
            "crop_box": to_picture(box, (w, h), crop_geometry(w, h, W, H), (0, 0, W, H)),
            "stretch_box": to_picture(box, (w, h), (0, 0, w, h), (0, 0, W, H)),
        })
(HERE / "geometry.json").write_text("[\n" + ",\n".join(json.dumps(g) for g in geometry) + "\n]\n")

# --- pixels of a model's input ------------------------------------------------------------------

picture = smooth(37, 23)
picture = np.clip(picture + rng.integers(-30, 30, picture.shape), 0, 255).astype(np.uint8)
picture = np.ascontiguousarray(picture[:, :, ::-1])
(HERE / "letterbox.bgr").write_bytes(picture.tobytes())

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def shrunk(pixels, W, H):
    """Halved while that is not below the goal, then linear."""
    while pixels.shape[1] >= 2 * W and pixels.shape[0] >= 2 * H:
        half = (pixels.shape[1] // 2, pixels.shape[0] // 2)
        pixels = cv2.resize(pixels, half, interpolation=cv2.INTER_LINEAR)
    return cv2.resize(pixels, (W, H), interpolation=cv2.INTER_LINEAR)


def placed(W, H, resize):
    if resize == "letterbox":
        left, top, nw, nh = letterbox_geometry(37, 23, W, H)
        small = cv2.resize(picture, (nw, nh), interpolation=cv2.INTER_LINEAR)
        return cv2.copyMakeBorder(small, top, H - nh - top, left, W - nw - left,
                                  cv2.BORDER_CONSTANT, value=(114, 114, 114))
    if resize == "crop":
        x, y, w, h = crop_geometry(37, 23, W, H)
        return shrunk(picture[y:y + h, x:x + w], W, H)
    if resize == "any":
        r = max(W, H) / 37
        return shrunk(picture, round(37 * r), round(23 * r))
    return cv2.resize(picture, (W, H), interpolation=cv2.INTER_LINEAR)


cases = []
for name, W, H, resize, datatype, first, rgb, normal in [
    ("square", 32, 32, "letterbox", "FP32", True, True, False),
    ("enlarged", 48, 45, "letterbox", "FP32", False, False, True),
    ("half", 24, 30, "letterbox", "FP16", True, True, True),
    ("bytes", 26, 26, "letterbox", "UINT8", False, True, False),
    ("planes", 26, 26, "letterbox", "UINT8", True, False, False),
    ("crop", 16, 16, "crop", "FP32", True, True, True),
    ("crop_wide", 40, 28, "crop", "FP32", False, True, False),
    ("stretch", 20, 28, "stretch", "FP32", True, True, False),
    ("crop_small", 7, 7, "crop", "FP32", True, True, False),
    ("any", 24, 24, "any", "UINT8", False, True, False),
    ("any_small", 12, 12, "any", "UINT8", False, False, False),
]:
    pixels = placed(W, H, resize)
    if rgb:
        pixels = pixels[:, :, ::-1]
    if datatype != "UINT8":
        pixels = pixels.astype(np.float64) / 255
        if normal:
            pixels = (pixels - MEAN) / STD
    if first:
        pixels = pixels.transpose(2, 0, 1)
    kind = {"FP32": np.float32, "FP16": np.float16, "UINT8": np.uint8}[datatype]
    (HERE / f"letterbox_{name}.bin").write_bytes(np.ascontiguousarray(pixels).astype(kind).tobytes())
    cases.append({"name": name, "width": W, "height": H, "resize": resize, "datatype": datatype,
                  "channels_first": first, "rgb": rgb, "normalised": normal})
(HERE / "letterbox.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")

# --- answers of models --------------------------------------------------------------------------

PICTURE, INPUT = (100, 60), (64, 64)
CONTENT = letterbox_geometry(*PICTURE, *INPUT)
CONFIDENCE, IOU, MOST = 0.25, 0.45, 12


def iou(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(w, 0) * max(h, 0)
    area = lambda r: (r[2] - r[0]) * (r[3] - r[1])
    return inter / (area(a) + area(b) - inter)


def suppressed(boxes, scores, classes, most):
    """Indices that survive, by comparing every pair."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    kept = []
    for i in order:
        if all(classes[i] != classes[k] or iou(boxes[i], boxes[k]) <= IOU for k in kept):
            kept.append(i)
    return kept[:most]


def expected(boxes, scores, classes, nms, most=MOST):
    keep = [i for i in range(len(scores)) if scores[i] > CONFIDENCE]
    boxes, scores, classes = boxes[keep], scores[keep], classes[keep]
    order = (suppressed(boxes, scores, classes, most) if nms
             else sorted(range(len(scores)), key=lambda i: -scores[i])[:most])
    rows = []
    for i in order:
        box = to_picture(boxes[i], PICTURE, (0, 0, *PICTURE), CONTENT)
        assert box[2] - box[0] > 0.5 and box[3] - box[1] > 0.5, "ambiguous: on the border"
        rows.append(box + [float(scores[i]), int(classes[i])])
    return rows


def corners(cxcywh):
    cx, cy, w, h = cxcywh.T.astype(np.float64)
    return np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], -1)


def tensor(name, array, datatype):
    return {"name": name, "datatype": datatype, "shape": list(array.shape),
            "values": [float(v) for v in array.ravel()]}


def some_boxes(count):
    """Clusters, so that there is something to suppress."""
    centres = rng.uniform([16, 20], [48, 44], (6, 2))
    picked = centres[rng.integers(0, 6, count)] + rng.normal(0, 1.5, (count, 2))
    return np.concatenate([picked, rng.uniform(8, 18, (count, 2))], 1).astype(np.float32)


answers = {}
for kind, datatype in {"yolov8": "FP32", "yolov8_half": "FP16"}.items():
    boxes = some_boxes(60)
    scores = (rng.uniform(0, 1, (60, 3)) ** 2).astype(np.float32)
    head = np.concatenate([boxes, scores], 1).T[None]
    head = head.astype(np.float16 if datatype == "FP16" else np.float32)
    columns = head[0].T
    answers[kind] = {
        "outputs": [tensor("output0", head, datatype)],
        "expected": expected(corners(columns[:, :4]), columns[:, 4:].max(1).astype(np.float64),
                             columns[:, 4:].argmax(1), True)}

boxes = some_boxes(50)
objectness = rng.uniform(0, 1, (50, 1)).astype(np.float32)
scores = rng.uniform(0.2, 1, (50, 3)).astype(np.float32)
head = np.concatenate([boxes, objectness, scores], 1)
product = objectness * scores
answers["yolov5"] = {
    "outputs": [tensor("output", head[None], "FP32")],
    "expected": expected(corners(boxes), np.where(objectness[:, 0] > CONFIDENCE, product.max(1), 0),
                         product.argmax(1), True)}

boxes = corners(some_boxes(20)).astype(np.float32)
scores = rng.uniform(0, 1, 20).astype(np.float32)
classes = rng.integers(0, 3, 20)
for kind, class_type in {"end_to_end": "INT32", "end_to_end_float_classes": "FP32"}.items():
    answers[kind] = {
        "outputs": [tensor("num_dets", np.array([[14]]), "INT32"),
                    tensor("det_boxes", boxes[None], "FP32"),
                    tensor("det_scores", scores[None], "FP32"),
                    tensor("det_classes", classes[None], class_type)],
        "expected": expected(boxes.astype(np.float64)[:14], scores[:14], classes[:14], False)}
unit = (boxes / 64).astype(np.float32)
rows = np.concatenate([boxes, scores[:, None], classes[:, None]], 1).astype(np.float32)
answers["nms_free"] = {"outputs": [tensor("output0", rows[None], "FP32")],
                       "expected": expected(boxes.astype(np.float64), scores, classes, False)}
rows = np.concatenate([unit, scores[:, None], classes[:, None]], 1).astype(np.float32)
answers["nms_free_normalized"] = {
    "outputs": [tensor("output0", rows[None], "FP32")],
    "expected": expected(unit.astype(np.float64) * 64, scores, classes, False)}

logits = rng.normal(0, 3, 20).astype(np.float32)
softmax = np.exp(logits.astype(np.float64))
softmax /= softmax.sum()
top = [[int(i), float(softmax[i])] for i in np.argsort(-softmax)[:5]]
answers["classification"] = {"outputs": [tensor("output0", logits[None], "FP32")], "expected": top}
answers["classification_probabilities"] = {
    "outputs": [tensor("output0", softmax.astype(np.float32)[None], "FP32")], "expected": top}
vector = rng.normal(0, 1, 16).astype(np.float16)
answers["embedding"] = {"outputs": [tensor("embedding", vector[None, :, None, None], "FP16")],
                        "expected": [float(v) for v in vector]}

boxes = corners(some_boxes(200))
scores = rng.uniform(0, 1, 200)
classes = rng.integers(0, 3, 200)
answers["nms"] = {"boxes": [[float(v) for v in np.float32(b)] for b in boxes],
                  "scores": [float(np.float32(s)) for s in scores],
                  "classes": [int(c) for c in classes],
                  "expected": suppressed(boxes, scores, classes, 1000)}
answers["options"] = {"confidence": CONFIDENCE, "iou": IOU, "max_detections": MOST,
                      "picture": PICTURE, "input": INPUT}
for name, answer in answers.items():
    if "expected" in answer:
        assert len(answer["expected"]) > 4, name
(HERE / "answers.json").write_text(
    "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in answers.items()) + "\n}\n")
(HERE / "pictures.json").write_text("[\n" + ",\n".join(json.dumps(m) for m in manifest) + "\n]\n")

"""Hostile inputs, one by one, each with the exact status that it must have.

Extends test_hostile.py and test_errors.py. Every table's row says what is sent and what comes back; where
that is a matter of opinion the row says whose. After each row the same workers serve, and after each table
none of them has ever had more memory than the table allows.
"""

import base64
import io
import json
import random
import struct
import unittest
import zipfile
import zlib

from PIL import Image

import pictures
import processes
from harness import EnduringTest
from http_client import multipart
from pictures import ASTRONAUT, png_chunk

MIB = 1024 * 1024
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

OK = (200, None)
BAD_REQUEST = (400, "bad-request")
BAD_PARAMETER = (400, "bad-parameter")
UNKNOWN_MODEL = (404, "unknown-model")
UNKNOWN_ROUTE = (404, "unknown-route")
TOO_LARGE = (413, "body-too-large")
TOO_MANY = (413, "too-many-images")
UNSUPPORTED = (415, "unsupported-media")
BAD_PICTURE = (422, "bad-picture")
# nginx's own judgements, which it names after their status.
BY_NGINX = (400, "bad-request")
NOT_IMPLEMENTED = (501, None)


# ---------------------------------------------------------------- pictures

def png(width, height, rows, depth=8, colour=0, before=b"", interlace=0, parts=1):
    """A PNG whose header says what it is told to, and whose IDAT holds `rows`, compressed."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    data = zlib.compress(rows, 9) if isinstance(rows, bytes) else rows()
    size = max(1, -(-len(data) // parts))
    return (PNG_SIGNATURE + png_chunk(b"IHDR", header) + before
            + b"".join(png_chunk(b"IDAT", data[i:i + size]) for i in range(0, len(data), size))
            + png_chunk(b"IEND", b""))


def zeros(count):
    """So many zeros, compressed, without ever having them."""
    packer = zlib.compressobj(9)
    block = bytes(MIB)
    packed = b"".join(packer.compress(block) for _ in range(count // MIB))
    return packed + packer.compress(bytes(count % MIB)) + packer.flush()


def grey_rows(width, height):
    return (b"\0" + bytes(range(width))) * height


def noisy_rows(width, height):
    noise = random.Random(1)
    return b"".join(b"\0" + noise.randbytes(width) for _ in range(height))


def bomb():
    """A whole, valid PNG of 30,000 x 30,000 pixels in 110 KB: one bit each, all black."""
    return png(30_000, 30_000, lambda: zeros(30_000 * (1 + 30_000 // 8)), depth=1)


def text_chunk(kind, text):
    return png_chunk(kind, b"Comment\0" + text)


def packed_text_chunk(count):
    """A zTXt chunk that becomes `count` bytes."""
    return png_chunk(b"zTXt", b"Comment\0\0" + zeros(count))


def packed_profile_chunk(count):
    return png_chunk(b"iCCP", b"profile\0\0" + zeros(count))


def with_jpeg_segment(marker, content):
    """The photograph with a segment more, first of all."""
    return ASTRONAUT[:2] + bytes([0xff, marker]) + struct.pack(">H", len(content) + 2) + content \
        + ASTRONAUT[2:]


def with_jpeg_size(width, height):
    """The photograph, whose frame header says another size."""
    at = ASTRONAUT.index(b"\xff\xc0") + 5
    return ASTRONAUT[:at] + struct.pack(">HH", height, width) + ASTRONAUT[at + 4:]


def with_scans_repeated(side, times):
    """A progressive JPEG whose last scan comes again and again."""
    whole = pictures.encode(Image.new("L", (side, side), 90), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * times + whole[-2:]


def zipped():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("evil.html", "<script>alert(1)</script>")
    return data.getvalue()


def gif_script():
    """A GIF that is JavaScript as well: its width is the start of a comment, whose end is behind it."""
    gif = pictures.encode(pictures.astronaut().resize((40, 30)).quantize(4), "GIF")
    return gif[:6] + b"/*" + gif[8:] + b"*/=1;alert(1)"


def dicom_behind_webp(width=16, height=16):
    """A coloured picture to readers of DICOM, whatever its first 128 bytes are; WebP of a version that there
    is not to all others."""
    def element(group, number, kind, value):
        value += b"\0" * (len(value) % 2)
        long = kind == b"OB"
        return (struct.pack("<HH2s", group, number, kind)
                + struct.pack("<xxI" if long else "<H", len(value)) + value)

    def short(number, value):
        return element(0x28, number, b"US", struct.pack("<H", value))

    secondary_capture, plain = b"1.2.840.10008.5.1.4.1.1.7", b"1.2.840.10008.1.2.1"
    meta = (element(2, 1, b"OB", b"\0\1") + element(2, 2, b"UI", secondary_capture)
            + element(2, 3, b"UI", b"1.2.3") + element(2, 0x10, b"UI", plain))
    behind = (b"DICM" + element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta
              + element(8, 0x16, b"UI", secondary_capture) + element(8, 0x18, b"UI", b"1.2.3")
              + short(2, 3) + element(0x28, 4, b"CS", b"RGB ") + short(6, 0)
              + short(0x10, height) + short(0x11, width) + short(0x100, 8) + short(0x101, 8)
              + short(0x102, 7) + short(0x103, 0)
              + element(0x7fe0, 0x10, b"OB", bytes(3 * width * height)))
    size = 128 + len(behind)
    bits = (width - 1) | (height - 1) << 14 | 7 << 29
    head = (b"RIFF" + struct.pack("<I", size - 8) + b"WEBPVP8L"
            + struct.pack("<IBI", size - 20, 0x2f, bits))
    return head.ljust(128, b"\0") + behind


def many_frames(count):
    """A GIF of a pixel that changes its colour so often."""
    frame = b"!\xf9\4\0\1\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0"
    return b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + frame * count + b";"


def webp_of_length(length):
    whole = pictures.plain(16, 16, "WEBP")
    return whole[:4] + struct.pack("<I", length) + whole[8:]


class HostileInputsTest(EnduringTest):
    SETTINGS = {"limits.body_mb": 50, "timeouts.io_s": 5, "nginx.rate_per_s": 0, "limits.queue_ms": 0}
    JSON = "application/json"
    EDGE = "multipart/form-data; boundary=edge"

    def check(self, answer, expected, seconds=45):
        status, kind = expected
        if status == 200:
            body = self.assert_good(answer)
        else:
            body = self.assert_problem(answer, status, kind)
        self.assertLess(answer.seconds, seconds)
        for name, value in answer.headers.items():
            self.assertNotIn("evil", f"{name}: {value}".lower())
        self.assertEqual(self.pids, self.instance.workers())
        return body

    def table(self, rows, send, most_mib):
        """Each row: name, what is sent, what comes back. No worker may grow by more than `most_mib`."""
        before = {pid: processes.peak_memory_kib(pid) for pid in self.pids}
        for name, what, expected in rows:
            with self.subTest(name):
                self.check(send(what() if callable(what) else what), expected)
        self.assertEqual(0, self.instance.crashes())
        for pid, peak in before.items():
            self.assertLess(processes.peak_memory_kib(pid) - peak, most_mib * 1024)

    def send_form(self, body):
        return self.send(body, self.EDGE)

    def send_json(self, body):
        return self.send(body if isinstance(body, bytes) else body.encode(), self.JSON)

    def send_raw(self, data):
        return self.instance.raw(data)

    # ------------------------------------------------------------ pictures

    def test_decompression_bombs(self):
        huge = bomb()
        self.assertLess(len(huge), 120_000)
        encoded = base64.b64encode(huge).decode()
        batch = "/v1/predict/faces/batch"
        self.table([
            ("as the body", lambda: self.send(huge), BAD_PICTURE),
            ("in a form", lambda: self.send(*multipart([("image", huge)])), BAD_PICTURE),
            ("in JSON", lambda: self.send_json(json.dumps({"image": encoded})), BAD_PICTURE),
            ("drawn", lambda: self.post("/v1/predict/faces?render=png", huge), BAD_PICTURE),
            ("to a model that takes files of any size",
             lambda: self.post("/v1/predict/people", huge), BAD_PICTURE),
            # Each picture of a batch has its own status.
            ("a batch of them", lambda: self.post(batch, *multipart([("images", huge)] * 64)), OK),
        ], lambda answer: answer, most_mib=64)
        answer = self.post(batch, *multipart([("images", huge), ("images", self.FACE)] * 3))
        statuses = [result["status"] for result in self.assert_good(answer)["results"]]
        self.assertEqual([422, 200] * 3, statuses)

    def test_pictures_that_grow(self):
        """Within limits.pixels, and valid: they are answered, with no more memory than their pixels take."""
        self.table([
            ("49 million pixels of a bit", lambda: png(7_000, 7_000, lambda: zeros(7_000 * 876), depth=1), OK),
            # PNG, 11.3.4: decoders need not look at texts and profiles, however large these become.
            ("a text of a gigabyte", lambda: png(64, 64, grey_rows(64, 64),
                                                 before=packed_text_chunk(1024 * MIB)), OK),
            ("a thousand texts", lambda: png(64, 64, grey_rows(64, 64),
                                             before=packed_text_chunk(4 * MIB) * 1000), OK),
            ("a colour profile of 256 MB", lambda: png(64, 64, grey_rows(64, 64),
                                                       before=packed_profile_chunk(256 * MIB)), OK),
            ("a hundred thousand chunks of nothing",
             lambda: png(64, 64, grey_rows(64, 64), before=png_chunk(b"teXt", b"") * 100_000), OK),
            # Scans that cost time and bring nothing: without a bound, a minute.
            ("49 million pixels, scanned 480 times", lambda: with_scans_repeated(7_000, 480), BAD_PICTURE),
            ("GIF of 20,000 frames", lambda: many_frames(20_000), OK),
        ], self.send, most_mib=400)

    def test_headers_that_lie(self):
        rows = grey_rows(64, 64)
        self.table([
            # PNG, 13.2: too little data is an error. Too much of it is ignored, like any surplus.
            ("PNG with fewer rows than it says", lambda: png(64, 64, rows[:-65 * 20]), BAD_PICTURE),
            ("PNG with one byte less than it says", lambda: png(64, 64, rows[:-1]), BAD_PICTURE),
            ("PNG with more rows than it says", lambda: png(64, 32, rows), OK),
            ("PNG that says it is deeper", lambda: png(64, 64, rows, depth=16), BAD_PICTURE),
            ("PNG that says it is coloured", lambda: png(64, 64, rows, colour=2), BAD_PICTURE),
            ("PNG of a palette without one", lambda: png(64, 64, rows, colour=3), BAD_PICTURE),
            ("PNG of a depth that there is not", lambda: png(64, 64, rows, depth=5), BAD_PICTURE),
            ("PNG of a colour that there is not", lambda: png(64, 64, rows, colour=5), BAD_PICTURE),
            ("PNG interlaced in an unknown way", lambda: png(64, 64, rows, interlace=7), BAD_PICTURE),
            ("PNG without data", lambda: png(64, 64, lambda: b""), BAD_PICTURE),
            ("PNG whose data is not deflated", lambda: png(64, 64, lambda: rows), BAD_PICTURE),
            ("PNG whose header comes twice", lambda: png(64, 64, rows, before=png_chunk(
                b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0))), BAD_PICTURE),
            ("PNG whose header's checksum is wrong",
             lambda: (whole := png(64, 64, rows))[:29] + b"\0\0\0\0" + whole[33:], BAD_PICTURE),
            ("PNG with a chunk of 2 GB", lambda: png(64, 64, rows)[:33]
             + b"\x7f\xff\xff\xffIDAT" + bytes(100), BAD_PICTURE),
            ("PNG in 4,000 pieces", lambda: png(64, 64, noisy_rows(64, 64), parts=4_000), OK),
            ("JPEG that says it is higher", lambda: with_jpeg_size(512, 5_000), BAD_PICTURE),
            ("JPEG that says it is wider", lambda: with_jpeg_size(5_000, 512), BAD_PICTURE),
            ("JPEG without height", lambda: with_jpeg_size(512, 0), BAD_PICTURE),
            ("JPEG with a segment past its end",
             lambda: ASTRONAUT[:2] + b"\xff\xe1\xff\xff" + bytes(50), BAD_PICTURE),
            ("EXIF that points at itself", lambda: with_jpeg_segment(
                0xe1, b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\x08\0\0\0"), OK),
            ("EXIF that points out of the file", lambda: with_jpeg_segment(
                0xe1, b"Exif\0\0MM\0*\xff\xff\xff\xf0\xff\xff"), OK),
            ("EXIF of 65,535 entries", lambda: with_jpeg_segment(
                0xe1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(100)), OK),
            ("WebP that says it is longer", lambda: webp_of_length(2 ** 31), BAD_PICTURE),
            ("WebP of 16,383 x 16,383 in 40 bytes", pictures.webp_header_only(16_383, 16_383), BAD_PICTURE),
        ], self.send, most_mib=64)

    def test_polyglots(self):
        """What is behind or inside a picture does not matter; what stands first says what the file is."""
        face = self.FACE
        self.table([
            ("JPEG, ZIP behind it", ASTRONAUT + zipped(), OK),
            ("PNG, ZIP behind it", face + zipped(), OK),
            ("ZIP, JPEG behind it", zipped() + ASTRONAUT, UNSUPPORTED),
            ("GIF that is JavaScript", gif_script, OK),
            ("JPEG with a PDF in a comment", with_jpeg_segment(0xfe, b"%PDF-1.7\n1 0 obj<<>>endobj"), OK),
            ("JPEG with PHP in a comment", with_jpeg_segment(0xfe, b"<?php system($_GET['c']); ?>"), OK),
            ("PDF, JPEG behind it", b"%PDF-1.7\n" + ASTRONAUT, UNSUPPORTED),
            ("HTML in a PNG's text", png(64, 64, grey_rows(64, 64), before=text_chunk(
                b"tEXt", b"<html><script>alert(1)</script>")), OK),
            ("HTML, PNG behind it", b"<html><script>alert(1)</script><!--" + face, UNSUPPORTED),
            ("line break, JPEG behind it", b"\r\n" + ASTRONAUT, UNSUPPORTED),
            ("JPEG, PNG behind it", ASTRONAUT + face, OK),
            ("WebP that nobody knows, DICOM behind its header", dicom_behind_webp, BAD_PICTURE),
            ("JPEG's first bytes, PNG behind them", b"\xff\xd8\xff" + face, BAD_PICTURE),
            ("a program with JPEG's first bytes", b"\xff\xd8\xff\xe0MZ" + bytes(1000), BAD_PICTURE),
            ("RIFF that is a sound", b"RIFF\x24\0\0\0WAVEfmt " + bytes(100), UNSUPPORTED),
            ("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), UNSUPPORTED),
            ("AVIF", b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(100), UNSUPPORTED),
            ("SVG that includes a file", b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM '
             b'"file:///etc/passwd">]><svg>&e;</svg>', UNSUPPORTED),
            ("ImageMagick's script", b"push graphic-context\nfill 'url(https://evil/\"|ls\")'\n", UNSUPPORTED),
        ], self.send, most_mib=64)
        answer = self.send(gif_script())
        self.assertEqual("application/json", answer.header("Content-Type"))
        self.assertEqual({"width": 0x2a2f, "height": 30}, answer.json()["image"])

    # ------------------------------------------------------------ sizes

    def test_fifty_megabytes_of_noise(self):
        most = 50 * MIB
        noise = b"\1" + random.Random(7).randbytes(most - 1)
        half = len(noise) // 2
        self.table([
            ("exactly the limit", lambda: self.send(noise), UNSUPPORTED),
            ("a byte over it", lambda: self.send(noise + b"x"), TOO_LARGE),
            ("behind a JPEG's header", lambda: self.send(pictures.jpeg_header_only(64, 64)[:-2]
                                                            + noise[:-1000]), BAD_PICTURE),
            ("behind a PNG's header",
             lambda: self.send(pictures.png_header_only(64, 64)[:33] + noise[:-33]), BAD_PICTURE),
            ("as a form", lambda: self.send_form(noise), BAD_REQUEST),
            ("in a form", lambda: self.send(*multipart([("image", noise[:-1000])])), UNSUPPORTED),
            ("as JSON", lambda: self.send_json(noise), BAD_REQUEST),
            ("as base64 in JSON",
             lambda: self.send_json(b'{"image":"' + base64.b64encode(noise[:half]) + b'"}'), UNSUPPORTED),
        ], lambda answer: answer, most_mib=300)

    def test_large_json(self):
        size = 49 * MIB
        self.table([
            # Blanks do not count in base64, so this is no picture at all.
            ("base64 of blanks", lambda: b'{"image":"' + b" " * size + b'"}', BAD_REQUEST),
            ("base64 of escaped letters", lambda: b'{"image":"' + rb"\u0041" * (size // 6 // 4 * 4) + b'"}',
             UNSUPPORTED),
            ("base64 of escaped line breaks", lambda: b'{"image":"' + rb"\n" * (size // 2) + b'"}', BAD_REQUEST),
            ("a key of 49 MB", lambda: b'{"' + b"k" * size + b'":1}', BAD_REQUEST),
            ("a number of 49 MB", lambda: b'{"image":' + b"1" * size + b"}", BAD_REQUEST),
            ("blanks", lambda: b" " * size, BAD_REQUEST),
            ("a comma for each byte", lambda: b'{"image":[' + b"," * size + b"]}", BAD_REQUEST),
            # Every element is a value with a type and a length of its own.
            ("a million numbers", lambda: b'{"image":[' + b"1," * 1_000_000 + b"1]}", BAD_REQUEST),
            ("a million keys", lambda: b"{" + b",".join(b'"%d":0' % i for i in range(1_000_000)) + b"}",
             BAD_REQUEST),
            ("a key, a million times", lambda: b"{" + b",".join([b'"image":""'] * 1_000_000) + b"}",
             BAD_REQUEST),
        ], self.send_json, most_mib=700)

    # ------------------------------------------------------------ JSON

    def test_json_that_is_not_what_it_should_be(self):
        face = base64.b64encode(self.FACE).decode()
        good = json.dumps({"image": face})

        def image(text):
            return json.dumps({"image": text})

        self.table([
            ("100,000 lists deep", "[" * 100_000, BAD_REQUEST),
            ("100,000 lists deep, closed", '{"image":' + "[" * 100_000 + "]" * 100_000 + "}", BAD_REQUEST),
            ("100,000 objects deep", '{"image":' * 100_000, BAD_REQUEST),
            # RFC 8259, 4: what a name that is there twice means is anybody's guess. Not ours.
            ("the key twice", f'{{"image":"{face}","image":"{face}"}}', BAD_REQUEST),
            ("the key twice, once escaped", f'{{"image":"{face}","\\u0069mage":"{face}"}}', BAD_REQUEST),
            ("another key", f'{{"image":"{face}","model":"people"}}', BAD_REQUEST),
            ("the key in capitals", f'{{"IMAGE":"{face}"}}', BAD_REQUEST),
            ("the key of a batch", f'{{"images":["{face}"]}}', BAD_REQUEST),
            ("an escaped key", f'{{"\\u0069mage":"{face}"}}', OK),
            ("a key that goes on behind NUL", f'{{"image\\u0000":"{face}"}}', BAD_REQUEST),
            ("NUL behind it", good.encode() + b"\0", BAD_REQUEST),
            ("a value behind it", good + good, BAD_REQUEST),
            ("a byte order mark", b"\xef\xbb\xbf" + good.encode(), BAD_REQUEST),
            ("UTF-16", good.encode("utf-16"), BAD_REQUEST),
            ("a comment", good + " // really", BAD_REQUEST),
            ("a comma behind the last", good[:-1] + ",}", BAD_REQUEST),
            ("single quotes", good.replace('"', "'"), BAD_REQUEST),
            ("null", "null", BAD_REQUEST), ("a list", f'["{face}"]', BAD_REQUEST), ("a text", f'"{face}"', BAD_REQUEST),
            ("nothing in it", "{}", BAD_REQUEST),
            ("image: null", '{"image":null}', BAD_REQUEST), ("image: 1", '{"image":1}', BAD_REQUEST),
            ("image: true", '{"image":true}', BAD_REQUEST), ("image: {}", '{"image":{}}', BAD_REQUEST),
            ("image: []", f'{{"image":["{face}"]}}', BAD_REQUEST),
            ("image: 1e999999", '{"image":1e999999}', BAD_REQUEST), ("image: NaN", '{"image":NaN}', BAD_REQUEST),
            ("half a surrogate pair", '{"image":"\\ud800"}', BAD_REQUEST),
            ("invalid UTF-8 in the picture", b'{"image":"\xff\xfe"}', BAD_REQUEST),
            ("invalid UTF-8 in a key", b'{"\xff\xfe":""}', BAD_REQUEST),
            ("a line break in the key", '{"image\\r\\nX-Evil: 1":""}', BAD_REQUEST),
            # Base64: RFC 4648, section 4. Nothing is guessed.
            ("base64 with blanks", image(face[:50] + " \r\n\t" + face[50:]), OK),
            ("base64 without padding", image(face.rstrip("=")), OK),
            ("base64 with too much padding", image(face.rstrip("=") + "===="), BAD_REQUEST),
            ("base64 with padding inside", image("AAA=" + face), BAD_REQUEST),
            ("base64 of the alphabet for URLs", image("-_-_"), BAD_REQUEST),
            ("base64 of a letter", image("A"), BAD_REQUEST),
            ("base64 with NUL", image("AAAA\0AAAA"), BAD_REQUEST),
            ("base64 of nothing", image(""), BAD_REQUEST),
            ("base64 of padding", image("===="), BAD_REQUEST),
            ("base64 twice", image(base64.b64encode(face.encode()).decode()), UNSUPPORTED),
        ], self.send_json, most_mib=64)

    def test_data_urls(self):
        """RFC 2397. The picture says what it is, and not the media type."""
        face = base64.b64encode(self.FACE).decode()
        self.table([(start, json.dumps({"image": start + (face if whole else "")}), expected)
                    for start, whole, expected in (
            ("data:image/png;base64,", True, OK),
            ("DATA:IMAGE/PNG;BASE64,", True, OK),
            ("data:;base64,", True, OK),
            ("data:text/html;base64,", True, OK),
            ("data:image/png;charset=utf-8;base64,", True, OK),
            ("data:image/svg+xml;name=\"a,b\";base64,", True, BAD_REQUEST),
            ("data:image/\xe9\u263a;base64,", True, OK),
            ("data:image/png\r\nX-Evil: 1;base64,", True, OK),
            ("data:" + "x" * 1_000_000 + ";base64,", True, OK),
            ("data:" + ";base64" * 10_000 + ",", True, OK),
            ("data:image/png;base64,", False, BAD_REQUEST),
            ("data:image/png;base64", False, BAD_REQUEST),
            ("data:image/png,", True, BAD_REQUEST),
            ("data:", False, BAD_REQUEST),
            ("data:,", False, BAD_REQUEST),
            ("data:image/png;base64,data:image/png;base64,", True, BAD_REQUEST),
            ("http://169.254.169.254/latest/meta-data/", False, BAD_REQUEST),
            ("https://localhost/", False, BAD_REQUEST),
            ("HTTP://localhost/", False, BAD_REQUEST),
            ("file:///etc/passwd", False, BAD_REQUEST),
            ("gopher://localhost:6379/_", False, BAD_REQUEST),
            ("/etc/passwd", False, UNSUPPORTED),  # which is base64
            ("\\\\localhost\\share", False, BAD_REQUEST))],
            self.send_json, most_mib=64)

    def test_batches(self):
        face = base64.b64encode(self.FACE).decode()
        batch = "/v1/predict/faces/batch"

        def listed(*images):
            return json.dumps({"images": list(images)}), self.JSON

        self.table([
            ("65 pictures", listed(*["AAAA"] * 65), TOO_MANY),
            ("10,000 pictures", listed(*[""] * 10_000), TOO_MANY),
            ("100,000 pictures, of which not all are read", listed(*[""] * 100_000), BAD_REQUEST),
            ("65 fields", multipart([("images", b"x")] * 65), TOO_MANY),
            # Read no further than a form of 1,000 parts: it is not known how many pictures there are.
            ("10,000 fields", multipart([("images", b"x")] * 10_000), BAD_REQUEST),
            ("10,000 fields of other names", multipart([("image", b"x")] * 10_000), BAD_REQUEST),
            ("none", listed(), BAD_REQUEST),
            ("no list", (f'{{"images":"{face}"}}', self.JSON), BAD_REQUEST),
            ("the key twice", (f'{{"images":["{face}"],"images":["{face}"]}}', self.JSON), BAD_REQUEST),
            ("the key of one picture", (f'{{"image":"{face}"}}', self.JSON), BAD_REQUEST),
            ("fields of one picture", multipart([("image", self.FACE)]), BAD_REQUEST),
            ("one picture as the body", (self.FACE, "image/png"), UNSUPPORTED),
            ("lists 100,000 deep", ('{"images":' + "[" * 100_000, self.JSON), BAD_REQUEST),
            ("rubbish", (b"\0\xff" * 1000, self.JSON), BAD_REQUEST),
        ], lambda body: self.post(batch, *body), most_mib=64)

        bomb_text = base64.b64encode(bomb()).decode()
        statuses = [
            (face, 200), ("", 400), (None, 400), (1, 400), ({"image": face}, 400), ([face], 400),
            ("AAA\0", 400), ("http://localhost/", 400), ("data:image/png," + face, 400),
            ("data:text/html;base64," + face, 200), ("AAAA", 415), (bomb_text, 422),
            (base64.b64encode(ASTRONAUT[:1000]).decode(), 422), (face.rstrip("="), 200)]
        results = self.check(self.post(batch, *listed(*[image for image, _ in statuses])), OK)["results"]
        self.assertEqual([status for _, status in statuses], [result["status"] for result in results])
        self.assertEqual(list(range(len(statuses))), [result["index"] for result in results])
        for result in results:
            if result["status"] == 200:
                self.assertEqual(self.expected, result["detections"])
            else:
                problem = result["problem"]
                self.assertEqual(result["status"], problem["status"])
                self.assertTrue(problem["type"].startswith("urn:inferpool:") and problem["detail"])

    # ------------------------------------------------------------ forms

    def test_forms(self):
        """RFC 7578 and RFC 2046, 5.1.1."""
        face = self.FACE
        edge = self.EDGE

        def part(*headers, content=face, end=b"\r\n--edge--\r\n"):
            return b"--edge\r\n" + b"".join(line + b"\r\n" for line in headers) + b"\r\n" + content + end

        named = b'Content-Disposition: form-data; name="image"'
        self.table([
            ("text before and behind", (b"hello\r\n" + part(named) + b"goodbye" * 1000, edge), OK),
            ("another form behind the end", (part(named) + part(named), edge), OK),
            ("blanks behind a boundary", (part(named).replace(b"--edge\r\n", b"--edge \t\r\n"), edge), OK),
            ("text behind a boundary", (part(named).replace(b"--edge\r\n", b"--edgeling\r\n"), edge),
             BAD_REQUEST),
            ("end without line break", (part(named, end=b"\r\n--edge--"), edge), OK),
            ("no end", (part(named, end=b""), edge), BAD_REQUEST),
            ("a boundary that is no end", (part(named, end=b"\r\n--edge"), edge), BAD_REQUEST),
            ("the end first", (b"--edge--\r\n" + part(named), edge), BAD_REQUEST),
            ("a boundary of 70 characters", multipart([("image", face)], "e" * 70), OK),
            ("a boundary of all that is allowed",
             (part(named).replace(b"edge", b"'()+_,-./:=? z"),
              'multipart/form-data; boundary="\'()+_,-./:=? z"'), OK),
            ("a boundary of 8,000 characters", multipart([("image", face)], "e" * 8_000)[:1]
             + ("multipart/form-data; boundary=" + "e" * 7_000,), BAD_REQUEST),
            # Nobody says which one counts: the first, and it must fit.
            ("two boundaries, the first fits", (part(named), edge + "; boundary=other"), OK),
            ("two boundaries, the second fits",
             (part(named), "multipart/form-data; boundary=other; boundary=edge"), BAD_REQUEST),
            # A line break ends a header, quoted or not; browsers write %0D%0A. The file name is not looked at.
            ("line break in a name",
             (part(b'Content-Disposition: form-data; name="ima\r\nge"'), edge), BAD_REQUEST),
            ("header in a name",
             (part(b'Content-Disposition: form-data; name="x\r\n' + named), edge), BAD_REQUEST),
            ("encoded line break in a name",
             (part(b'Content-Disposition: form-data; name="image%0D%0AX-Evil: 1"'), edge), BAD_REQUEST),
            ("line break in a file name",
             (part(named + b'; filename="a\r\nX-Evil: 1.png"'), edge), OK),
            ("encoded line break in a file name",
             (part(named + b'; filename="a%0D%0AX-Evil: 1.png"'), edge), OK),
            ("a file name of the parent's folder", (part(named + b'; filename="../../etc/passwd"'), edge), OK),
            ("a file name of 10,000 characters", (part(named + b'; filename="' + b"a" * 10_000 + b'"'), edge), OK),
            ("invalid UTF-8 in a file name", (part(named + b'; filename="\xff\xfe\0.png"'), edge), OK),
            ("invalid UTF-8 in a name",
             (part(b'Content-Disposition: form-data; name="\xff\xfeimage"'), edge), BAD_REQUEST),
            # RFC 7578, 4.2: "name*" must not be used.
            ("a name by RFC 5987",
             (part(b"Content-Disposition: form-data; name*=utf-8''image"), edge), BAD_REQUEST),
            ("a name that only begins so",
             (part(b'Content-Disposition: form-data; name="image2"'), edge), BAD_REQUEST),
            ("a name in capitals",
             (part(b'Content-Disposition: form-data; name="IMAGE"'), edge), BAD_REQUEST),
            ("a name with NUL",
             (part(b'Content-Disposition: form-data; name="image\0"'), edge), BAD_REQUEST),
            ("an attachment", (part(b'Content-Disposition: attachment; name="image"'), edge), BAD_REQUEST),
            ("two dispositions, the first fits",
             (part(named, b'Content-Disposition: form-data; name="x"'), edge), OK),
            ("two dispositions, the second fits",
             (part(b'Content-Disposition: form-data; name="x"', named), edge), BAD_REQUEST),
            # RFC 7578, 4.7: deprecated, and nobody sends it. The content is what stands there.
            ("content in base64",
             (part(named, b"Content-Transfer-Encoding: base64", content=base64.b64encode(face)), edge),
             UNSUPPORTED),
            ("a part that says it is HTML", (part(named, b"Content-Type: text/html"), edge), OK),
            ("two pictures, one empty", multipart([("image", b""), ("image", face)]), BAD_REQUEST),
            ("a picture and a batch", multipart([("image", face), ("images", face)]), OK),
            ("a picture that holds the boundary's start", multipart(
                [("image", face + b"\r\n--edg")], "edge"), OK),
        ], lambda form: self.send(*form), most_mib=64)

    # ------------------------------------------------------------ addresses

    def test_addresses(self):
        """RFC 3986. Models and parameters are compared after percent-decoding, routes before it."""
        predict = "/v1/predict/"
        self.table([(target[:60], target, expected) for target, expected in (
            (predict + "faces%0d%0aX-Evil:%201", UNKNOWN_MODEL),
            (predict + "%0d%0a%0d%0a%3Cscript%3E", UNKNOWN_MODEL),
            (predict + "%c0%af%c0%ae", UNKNOWN_MODEL),  # "/." too long, by no means UTF-8
            (predict + "%ed%a0%80", UNKNOWN_MODEL),
            (predict + "%f4%90%80%80", UNKNOWN_MODEL),
            (predict + "%2e%2e%2f%2e%2e%2fetc%2fpasswd", UNKNOWN_MODEL),
            # nginx decodes it, and cannot.
            (predict + "%", BY_NGINX), (predict + "%zz", BY_NGINX), (predict + "faces%", BY_NGINX),
            # Nothing is made of dots and empty segments, which are another address to each reader.
            (predict + "../predict/faces", UNKNOWN_ROUTE), (predict + "/faces", UNKNOWN_ROUTE),
            ("/v1//predict/faces", UNKNOWN_ROUTE), (predict + "faces/", UNKNOWN_ROUTE),
            (predict + "faces;confidence=1", UNKNOWN_MODEL),
            (predict + "faces#x", UNKNOWN_MODEL),
            (predict + "faces?confidence=0.5%0d%0aX-Evil:1", BAD_PARAMETER),
            (predict + "faces?%0d%0aX-Evil:1=1", BAD_PARAMETER),
            (predict + "faces?render=%ff", BAD_PARAMETER),
            (predict + "faces?render=png&render=json", BAD_PARAMETER),
            (predict + "faces?render=../../etc/passwd", BAD_PARAMETER),
            (predict + "faces?" + "&" * 4_000, OK),
            (predict + "faces?" + "confidence=0.5&" * 200, BAD_PARAMETER),
            (predict + "faces?confidence=0." + "1" * 3_000, OK),
            (predict + "faces?max_detections=" + "0" * 3_000 + "1", OK),
            (predict + "faces?iou=0x1p-1", BAD_PARAMETER),
            (predict + "faces?iou=%2b0.5", BAD_PARAMETER),
            (predict + "faces?iou=-0.0", OK))],
            self.post, most_mib=64)

    # ------------------------------------------------------------ headers

    def test_header_values(self):
        def send(headers):
            return self.instance.request("POST", "/v1/predict/faces", self.FACE,
                                         {"Content-Type": "image/png", **headers})

        self.table([
            # RFC 9110, 8.4.1: pictures are packed already, so nothing is unpacked, and no bomb goes off.
            ("gzip", {"Content-Encoding": "gzip"}, UNSUPPORTED),
            ("GZIP", {"Content-Encoding": "GZIP"}, UNSUPPORTED),
            ("two encodings", {"Content-Encoding": "identity, br"}, UNSUPPORTED),
            ("an unknown encoding", {"Content-Encoding": "\xff"}, UNSUPPORTED),
            ("identity", {"Content-Encoding": "Identity"}, OK),
            # RFC 9110, 12.5.1: what cannot be understood may be disregarded.
            ("Accept of nonsense", {"Accept": ",;q=,/,*/,;;;image"}, OK),
            ("Accept of 3,000 ranges", {"Accept": "a/b;q=0.5," * 700}, OK),
            ("Accept of impossible qualities", {"Accept": "image/png;q=nan,image/jpeg;q=1e99"}, OK),
            ("a Range", {"Range": "bytes=0-5"}, OK),
            ("conditions", {"If-None-Match": "*", "If-Modified-Since": "Sat, 01 Jan 2050 00:00:00 GMT"}, OK),
            ("another method by header", {"X-HTTP-Method-Override": "DELETE"}, OK),
            ("another address by header", {"X-Original-URL": "/metrics", "X-Rewrite-URL": "/metrics"}, OK),
            ("our own parameters", {"Inferpool-Handed-Off": "1", "Handed-Off": "1"}, OK),
            ("underscores", {"X_Request_ID": "a b", "HTTP_X_API_KEY": "x"}, OK),
            ("a trace of nonsense", {"traceparent": "00-" + "\xff" * 100, "tracestate": "=" * 5_000}, OK),
            ("a Proxy", {"Proxy": "http://evil/"}, OK),  # httpoxy
            ("an upgrade", {"Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk", "Connection": "Upgrade"}, OK),
        ], send, most_mib=64)
        for content_type, expected in (
                ("image/png; charset=\xff", OK), ("IMAGE/PNG", OK), ("image/" + "x" * 4_000, OK),
                ("application/json\x01", UNSUPPORTED), ("text/html", UNSUPPORTED),
                ("application/json; charset=utf-16", BAD_REQUEST),  # it is no JSON, whatever its charset
                ("application/vnd.api+json", UNSUPPORTED), ("multipart/form-data", BAD_REQUEST),
                ("image/png, application/json", OK), ("multipart/mixed; boundary=edge", UNSUPPORTED)):
            with self.subTest(content_type=content_type[:40]):
                self.check(self.send(self.FACE, content_type), expected)

    # ------------------------------------------------------------ HTTP/1.1 itself

    def test_requests_that_two_readers_understand_differently(self):
        """Request smuggling: RFC 9112, 5 and 6. Each is refused, and nothing behind it is answered."""
        head = b"POST /v1/predict/faces HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        hidden = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
        chunked = head + b"Transfer-Encoding: chunked\r\n"
        self.table([
            ("two equal lengths", head + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", BY_NGINX),
            ("a list of lengths", head + b"Content-Length: 5, 5\r\n\r\nhello", BY_NGINX),
            ("a length and chunks",
             head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, BY_NGINX),
            ("chunks and a length", chunked + b"Content-Length: 5\r\n\r\n0\r\n\r\n" + hidden, BY_NGINX),
            ("chunked twice", chunked + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, BY_NGINX),
            # RFC 9112, 6.1: a coding that is not understood is 501.
            ("chunked, as a list", head + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", NOT_IMPLEMENTED),
            ("identity and chunked", head + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
             NOT_IMPLEMENTED),
            ("gzip", head + b"Transfer-Encoding: gzip\r\n\r\n", NOT_IMPLEMENTED),
            ("xchunked", head + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden, NOT_IMPLEMENTED),
            # RFC 9112, 5.1: no blank before the colon.
            ("a blank before the colon", head + b"Content-Length : 5\r\n\r\nhello", BY_NGINX),
            ("a blank in a name", head + b"Content Length: 5\r\n\r\nhello", BY_NGINX),
            ("a line break alone", head + b"X: 1\rContent-Length: 5\r\n\r\nhello", BY_NGINX),
            # RFC 9112, 5.2: a folded line is refused.
            ("a folded line", head + b"X: 1\r\n Content-Length: 5\r\n\r\nhello", BY_NGINX),
            ("a folded length", head + b"Content-Length:\r\n 5\r\n\r\nhello", BY_NGINX),
            ("a length with a sign", head + b"Content-Length: +5\r\n\r\nhello", BY_NGINX),
            ("a length in hexadecimal", head + b"Content-Length: 0x5\r\n\r\nhello", BY_NGINX),
            ("a length with a blank in it", head + b"Content-Length: 5 5\r\n\r\nhello", BY_NGINX),
            ("an empty length", head + b"Content-Length: \r\n\r\n", BY_NGINX),
            ("a length past all numbers", head + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", BY_NGINX),
            ("a chunk of 2^64", chunked + b"\r\n10000000000000000\r\nx", BY_NGINX),
            ("a chunk of a negative length", chunked + b"\r\n-1\r\nx", BY_NGINX),
            ("a chunk of 0x5", chunked + b"\r\n0x5\r\nhello\r\n0\r\n\r\n", BY_NGINX),
            ("a chunk that does not end", chunked + b"\r\n5\r\nhelloworld\r\n0\r\n\r\n", BY_NGINX),
            ("two hosts", b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", BY_NGINX),
            ("a host with a path", b"GET /v1/models HTTP/1.1\r\nHost: a/../b\r\n\r\n", BY_NGINX),
            ("a method in small letters", b"get /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", BY_NGINX),
            ("HTTP/1.x", b"GET /v1/models HTTP/1.x\r\nHost: localhost\r\n\r\n", BY_NGINX),
            ("HTTP/9.1", b"GET /v1/models HTTP/9.1\r\nHost: localhost\r\n\r\n", (505, None)),
            ("two blanks", b"GET /v1/models HTTP/1.1 HTTP/1.1\r\nHost: localhost\r\n\r\n", BY_NGINX),
            ("a header of 40,000 bytes",
             b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", BY_NGINX),
            ("an address of 40,000 bytes",
             b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", (414, "uri-too-long")),
            # No name of a header (RFC 9110, 5.1): nginx drops it, and nobody behind it sees it.
            ("a name of 0xff", b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\xff: 1\r\n\r\n", OK),
        ], self.send_raw, most_mib=64)

    def test_chunks_of_a_good_picture(self):
        """RFC 9112, 7.1: whatever the chunks are like, the body is theirs, and trailers are dropped."""
        head = b"POST /v1/predict/faces HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        face = self.FACE

        def chunks(size, extension=b""):
            return b"".join(b"%x%s\r\n%s\r\n" % (len(piece := face[i:i + size]), extension, piece)
                            for i in range(0, len(face), size))

        for name, body in (
                ("of 7 bytes", chunks(7) + b"0\r\n\r\n"),
                ("with extensions", chunks(10_000, b";a=\"b\";c") + b"0;x\r\n\r\n"),
                ("with trailers", chunks(10_000) + b"0\r\nX-Request-ID: evil\r\nContent-Length: 1\r\n\r\n"),
                ("with leading zeros", chunks(10_000).replace(b"2710\r\n", b"00002710\r\n", 1) + b"000\r\n\r\n")):
            with self.subTest(name):
                answer = self.send_raw(head + body)
                self.check(answer, OK)
                self.assert_face_is_found(answer)

    def test_two_hundred_requests_in_one_piece(self):
        """Pipelined (RFC 9112, 9.3.2): answered one by one, in order."""
        count = 200
        lines = [(b"GET /v1/models/nobody%d HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: r%d\r\n\r\n"
                  if i % 2 else
                  b"POST /v1/predict/faces?iou=0.%d HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: r%d\r\n"
                  b"Content-Length: 5\r\n\r\nhello") % (i, i) for i in range(count)]
        with self.instance.connect_tls() as tls:
            tls.sendall(b"".join(lines))
            stream = tls.makefile("rb")
            for i in range(count):
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += stream.readline()
                status = 404 if i % 2 else 415
                self.assertTrue(head.startswith(b"HTTP/1.1 %d" % status), head)
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                problem = json.loads(stream.read(length))
                self.assertEqual((status, f"r{i}"), (problem["status"], problem["request_id"]))


if __name__ == "__main__":
    unittest.main()

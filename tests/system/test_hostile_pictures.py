"""Pictures that are bombs, lie about themselves or are two things at once.

Where a status is a matter of opinion the row says whose.
"""

import base64
import io
import json
import random
import struct
import unittest
import zipfile

from PIL import Image

import pictures
from hostile_table import BAD_PICTURE, MIB, OK, UNSUPPORTED, HostileTableTest, bomb, png, zeros
from http_client import multipart
from pictures import ASTRONAUT, png_chunk


def grey_rows(width, height):
    return (b"\0" + bytes(range(width))) * height


def noisy_rows(width, height):
    noise = random.Random(1)
    return b"".join(b"\0" + noise.randbytes(width) for _ in range(height))


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


class HostilePicturesTest(HostileTableTest):
    def test_decompression_bombs(self):
        huge = bomb()
        self.assertLess(len(huge), 120_000)
        encoded = base64.b64encode(huge).decode()
        batch = "/v1/predict/faces_cascade/batch"
        self.table([
            ("as the body", lambda: self.send(huge), BAD_PICTURE),
            ("in a form", lambda: self.send(*multipart([("image", huge)])), BAD_PICTURE),
            ("in JSON", lambda: self.send_json(json.dumps({"image": encoded})), BAD_PICTURE),
            ("drawn", lambda: self.post("/v1/predict/faces_cascade?render=png", huge), BAD_PICTURE),
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


if __name__ == "__main__":
    unittest.main()

"""Bodies that are too large, or not the JSON, base64 or form that they should be."""

import base64
import json
import random
import unittest

import pictures
from hostile_table import (BAD_PICTURE, BAD_REQUEST, MIB, OK, TOO_LARGE, TOO_MANY, UNSUPPORTED,
                           HostileTableTest, bomb)
from http_client import multipart
from pictures import ASTRONAUT


class HostileBodiesTest(HostileTableTest):
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
            ("base64 of the alphabet for URLs", image("-_-_"), UNSUPPORTED),
            ("base64 of both alphabets", image("-_+/"), BAD_REQUEST),
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
        batch = "/v1/predict/faces_cascade/batch"

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
                self.assertTrue(problem["code"] and problem["detail"])

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
            # A line break ends a header, quoted or not, unless a blank follows; browsers write %0D%0A. The file name is not looked at.
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
            # RFC 7578, 4.7: deprecated.
            ("content in base64",
             (part(named, b"Content-Transfer-Encoding: base64", content=base64.b64encode(face)), edge),
             UNSUPPORTED),
            ("a part that says it is HTML", (part(named, b"Content-Type: text/html"), edge), OK),
            ("two pictures, one empty", multipart([("image", b""), ("image", face)]), BAD_REQUEST),
            ("a picture and a batch", multipart([("image", face), ("images", face)]), (400, "bad-parameter")),
            ("a picture that holds the boundary's start", multipart(
                [("image", face + b"\r\n--edg")], "edge"), OK),
        ], lambda form: self.send(*form), most_mib=64)


if __name__ == "__main__":
    unittest.main()

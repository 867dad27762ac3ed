"""multipart/form-data as clients write it: parameters in fields, names with brackets, curl's own forms."""

import json
import subprocess
import tempfile
import unittest
from pathlib import Path

import pictures
from harness import SystemTest
from pictures import ASTRONAUT, ASTRONAUT_FACE

EDGE = "multipart/form-data; boundary=edge"
FACE = pictures.encode(pictures.astronaut().crop((140, 40, 310, 210)), "PNG")


def part(head, content):
    return b"--edge\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n"


def field(name, content, filename=None, kind=None):
    head = f'Content-Disposition: form-data; name="{name}"'
    head += "" if filename is None else f'; filename="{filename}"'
    return part(head + (f"\r\nContent-Type: {kind}" if kind else ""), content)


def form(*parts):
    return b"".join(parts) + b"--edge--\r\n"


PICTURE = field("image", FACE, "a.png", "image/png")


class FormsTest(SystemTest):
    ONE = "/v1/predict/faces_cascade"
    MANY = ONE + "/batch"
    SETTINGS = {}

    def post(self, body, target=ONE, kind=EDGE):
        return self.instance.request("POST", target, body, {"Content-Type": kind})

    def found(self, answer):
        return [item["confidence"] for item in self.assert_good(answer)["detections"]]

    # ------------------------------------------------------------ parameters

    def test_a_field_is_a_parameter(self):
        everything = self.found(self.post(form(PICTURE)))
        self.assertEqual(1, len(everything))
        for name, fields in (
                ("behind the picture", [PICTURE, field("confidence", b"1")]),
                ("before it", [field("confidence", b"1"), PICTURE]),
                ("with a type", [PICTURE, field("confidence", b"1", kind="text/plain; charset=utf-8")]),
                ("as JSON", [PICTURE, field("confidence", b"1", kind="application/json")]),
                ("as a file of JSON", [PICTURE, field("confidence", b"1", "blob", "application/json")])):
            with self.subTest(name):
                self.assertEqual([], self.found(self.post(form(*fields))))
        boxes = self.assert_good(self.post(form(PICTURE, field("coordinates", b"normalized"))))["detections"]
        self.assertLessEqual(boxes[0]["box"]["x2"], 1)
        quoted = form(PICTURE, field("coordinates", b'"normalized"', kind="application/json"))
        self.assertEqual(boxes, self.assert_good(self.post(quoted))["detections"])
        drawn = self.post(form(PICTURE, field("render", b"png")))
        self.assertEqual((200, "image/png"), (drawn.status, drawn.header("Content-Type")))

    def test_a_batch_has_parameters_too(self):
        files = [field("images", FACE, "a.png")] * 2
        answer = self.assert_good(self.post(form(field("confidence", b"1"), *files), self.MANY))
        self.assertEqual([[], []], [result["detections"] for result in answer["results"]])
        problem = self.assert_problem(self.post(form(*files, field("render", b"png")), self.MANY), 400, "bad-parameter")
        self.assertEqual("render", problem["parameter"])

    def test_what_is_no_parameter_is_refused_by_its_name(self):
        for name, value in (("conf", b"0.9"), ("confidence", b"banana"), ("confidence", b""), ("confidence[]", b"1"),
                            ("parameters", b'{"confidence":0.9}'), ("max_detections", b"0"), ("render", b"gif"),
                            ("url", b"https://example.com/a.png"), ("picture", FACE), ("images", FACE),
                            ("confidence", b"9" * 900_000)):
            for target, picture in ((self.ONE, PICTURE), (self.MANY, field("images[]", FACE))):
                if target == self.MANY and name == "images":
                    continue
                with self.subTest(name, value=value[:30], target=target):
                    answer = self.post(form(picture, field(name, value)), target)
                    problem = self.assert_problem(answer, 400, "bad-parameter")
                    self.assertEqual(name, problem["parameter"])
                    self.assertLess(len(answer.body), 2000)

    def test_a_parameter_is_given_once(self):
        for value in (b"0.5", b"0.6"):
            answer = self.post(form(PICTURE, field("confidence", value)), self.ONE + "?confidence=0.5")
            self.assertEqual("confidence", self.assert_problem(answer, 400, "bad-parameter")["parameter"])
        twice = form(PICTURE, field("iou", b"0.5"), field("iou", b"0.5"))
        self.assert_problem(self.post(twice), 400, "bad-parameter")
        self.assert_good(self.post(form(PICTURE, field("iou", b"0.5")), self.ONE + "?confidence=0.5"))

    # ------------------------------------------------------------ names

    def test_lists_of_pictures_may_have_brackets(self):
        for names in (["images[]"] * 2, ["images[0]", "images[1]"], ["images%5B%5D"] * 2, ["images", "images[]"]):
            with self.subTest(names):
                answer = self.post(form(*(field(name, FACE, "a.png") for name in names)), self.MANY)
                self.assertEqual([200, 200], [result["status"] for result in self.assert_good(answer)["results"]])
        for name in ("image[]", "image[0]"):
            self.assert_good(self.post(form(field(name, FACE, "a.png"))))

    def test_a_missing_field_names_those_that_came(self):
        for target, fields in ((self.ONE, ["file", "images", "picture[]"]), (self.MANY, ["image", "files"])):
            answer = self.post(form(*(field(name, FACE) for name in fields)), target)
            detail = self.assert_problem(answer, 400, "bad-request")["detail"]
            for name in fields:
                self.assertIn(f'"{name}"', detail)

    def test_a_file_input_in_which_nothing_was_chosen_counts_for_nothing(self):
        def nothing(name):
            return field(name, b"", "", "application/octet-stream")
        self.assert_good(self.post(form(nothing("image"), PICTURE)))
        answer = self.post(form(nothing("images"), field("images", FACE, "a.png"), nothing("images")), self.MANY)
        self.assertEqual(1, len(self.assert_good(answer)["results"]))
        for target, name in ((self.ONE, "image"), (self.MANY, "images")):
            answer = self.post(form(nothing(name)), target)
            self.assertIn("no file is chosen", self.assert_problem(answer, 400, "bad-request")["detail"])

    def test_a_forms_character_set_is_no_parameter(self):
        self.assert_good(self.post(form(field("_charset_", b"utf-8"), PICTURE)))

    # ------------------------------------------------------------ how it is written

    def test_heads_as_clients_write_them(self):
        for name, head in (
                ("folded", 'Content-Disposition: form-data;\r\n name="image";\r\n\tfilename="a.png"'),
                (".NET", "Content-Disposition: form-data; name=image; filename=a.png; filename*=utf-8''a.png"),
                ("quoted pairs", 'Content-Disposition: form-data; name="im\\age"; filename="a\\"b.png"'),
                ("an old encoding", 'Content-Disposition: form-data; name="image"\r\nContent-Transfer-Encoding: binary'),
                ("OkHttp", 'Content-Disposition: form-data; name="image"; filename="a.png"\r\n'
                           f"Content-Type: image/png\r\nContent-Length: {len(FACE)}")):
            with self.subTest(name):
                self.assertEqual(1, len(self.found(self.post(form(part(head, FACE))))))

    def test_lines_may_all_end_in_line_feed(self):
        head = b'--edge\nContent-Disposition: form-data; name="image"\n\n'
        self.assertEqual(1, len(self.found(self.post(head + FACE + b"\n--edge--\n"))))

    def test_base64_is_told_from_a_picture(self):
        head = 'Content-Disposition: form-data; name="image"\r\nContent-Transfer-Encoding: base64'
        problem = self.assert_problem(self.post(form(part(head, b"QUFB"))), 415, "unsupported-media")
        self.assertIn("base64", problem["detail"])

    def test_a_head_without_boundary_says_what_to_do(self):
        problem = self.assert_problem(self.post(form(PICTURE), kind="multipart/form-data"), 400, "bad-request")
        self.assertIn("boundary", problem["detail"])

    def test_several_files_in_one_part(self):
        inner = "".join(f'--mixed\r\nContent-Disposition: attachment; filename="{name}.png"\r\n'
                        "Content-Type: image/png\r\n\r\n{}\r\n" for name in "ab") + "--mixed--"
        content = b"".join(text.encode() + FACE * follows for text, follows in
                           zip(inner.split("{}"), (True, True, False)))
        head = 'Content-Disposition: form-data; name="images"\r\nContent-Type: multipart/mixed; boundary=mixed'
        answer = self.post(form(part(head, content), field("images", b"x"), field("confidence", b"0.1")), self.MANY)
        self.assertEqual([200, 200, 415], [result["status"] for result in self.assert_good(answer)["results"]])

    # ------------------------------------------------------------ curl

    def curl(self, target, *options):
        command = ["curl", "-sk", *options, f"https://localhost:{self.instance.port}{target}"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)

    def test_curls_forms(self):
        with tempfile.TemporaryDirectory() as folder:
            face = Path(folder) / "face.png"
            face.write_bytes(FACE)
            whole = Path(folder) / "whole, with a comma.jpg"
            whole.write_bytes(ASTRONAUT)
            one = self.curl(self.ONE, "-F", f"image=@{face}", "-F", "confidence=1")
            self.assertEqual([], one["detections"])
            both = self.curl(self.MANY, "-F", f'images=@{face},"{whole}"')
            self.assertEqual([200, 200], [result["status"] for result in both["results"]])
            box = both["results"][1]["detections"][0]["box"]
            for edge, value in ASTRONAUT_FACE.items():
                self.assertAlmostEqual(value, box[edge], delta=60)
            encoded = self.curl(self.ONE, "-F", f"image=@{face};encoder=base64")
            self.assertEqual("unsupported-media", encoded["code"])


if __name__ == "__main__":
    unittest.main()

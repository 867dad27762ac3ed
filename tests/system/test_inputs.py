"""The forms in which pictures come and answers go: JSON, batches, drawn pictures."""

import base64
import io
import json
import re
import unittest

from PIL import Image

import pictures
import processes
from harness import SystemTest
from http_client import multipart
from pictures import ASTRONAUT

BASE64 = base64.b64encode(ASTRONAUT).decode()


def without_times(answer):
    return {key: value for key, value in answer.items() if key not in ("timing_ms", "request_id")}


class InputsTest(SystemTest):
    SETTINGS = {}

    def post(self, target, body, content_type, headers=None):
        return self.instance.request("POST", target, body,
                                     {"Content-Type": content_type, **(headers or {})})

    def send_json(self, value, target="/v1/predict/faces_cascade", content_type="application/json"):
        return self.post(target, json.dumps(value).encode(), content_type)

    def expected(self):
        return without_times(self.instance.predict("faces_cascade", ASTRONAUT).json())

    def test_every_form_has_the_same_answer(self):
        expected = self.expected()
        self.assertEqual(1, len(expected["detections"]))
        form, form_type = multipart([("image", ASTRONAUT)])
        for name, answer in (
                ("form", self.post("/v1/predict/faces_cascade", form, form_type)),
                ("body", self.post("/v1/predict/faces_cascade", ASTRONAUT, "image/jpeg")),
                ("base64", self.send_json({"image": BASE64})),
                ("base64 with line breaks", self.send_json({"image": base64.encodebytes(ASTRONAUT).decode()})),
                ("base64 without padding", self.send_json({"image": BASE64.rstrip("=")})),
                ("data: URL", self.send_json({"image": "data:image/jpeg;base64," + BASE64})),
                ("JSON with a character set", self.send_json(
                    {"image": BASE64}, content_type="application/json; charset=utf-8"))):
            with self.subTest(name):
                self.assertEqual(200, answer.status, answer.body)
                self.assertEqual(expected, without_times(answer.json()))

    def test_parameters_hold_for_json(self):
        answer = self.send_json({"image": BASE64}, "/v1/predict/faces_cascade?coordinates=normalized")
        box = answer.json()["detections"][0]["box"]
        self.assertTrue(all(0 <= value <= 1 for value in box.values()), box)

    def test_an_address_is_not_fetched(self):
        for address in ("http://127.0.0.1:%d/livez" % self.instance.sidecar_port, "file:///etc/passwd"):
            with self.subTest(address):
                self.assert_problem(self.send_json({"image": address}), 400, "bad-request")

    def test_a_batch_answers_each_picture_as_if_it_were_alone(self):
        expected = self.expected()
        turned = pictures.encode(pictures.astronaut().transpose(Image.Transpose.FLIP_LEFT_RIGHT),
                                 "PNG")
        alone = without_times(self.instance.predict("faces_cascade", turned, content_type="image/png").json())
        form, form_type = multipart([("images", ASTRONAUT), ("images", b"no picture"), ("images", turned)])
        listed = {"images": [BASE64, base64.b64encode(b"no picture").decode(),
                             base64.b64encode(turned).decode()]}
        for name, answer in (
                ("form", self.post("/v1/predict/faces_cascade/batch", form, form_type)),
                ("list", self.send_json(listed, "/v1/predict/faces_cascade/batch")),
                ("short route", self.send_json(listed, "/predict/faces_cascade/batch"))):
            with self.subTest(name):
                self.assertEqual(200, answer.status, answer.body)
                batch = answer.json()
                self.assertEqual("faces_cascade", batch["model"]["name"])
                self.assertEqual([0, 1, 2], [result["index"] for result in batch["results"]])
                self.assertEqual({"index": 0, "status": 200, **expected}, batch["results"][0])
                self.assertEqual(415, batch["results"][1]["status"])
                self.assertEqual("unsupported-media", batch["results"][1]["problem"]["code"])
                self.assertEqual({"index": 2, "status": 200, **alone}, batch["results"][2])

    def test_a_picture_that_crashes_a_worker_spoils_no_other_of_its_batch(self):
        """Whichever of the batch's threads has it: nginx sends the batch again, without that picture
        having another try."""
        poison = ASTRONAUT + b"inferpool-fault:crash"
        form, form_type = multipart([("images", ASTRONAUT)] * 3 + [("images", poison)]
                                    + [("images", ASTRONAUT)] * 3)
        answer = self.post("/v1/predict/shapes/batch", form, form_type)
        self.assertEqual(200, answer.status, answer.body)
        results = answer.json()["results"]
        self.assertEqual([200] * 3 + [422] + [200] * 3, [result["status"] for result in results])
        self.assertEqual("quarantined", results[3]["problem"]["code"])

    def test_a_batch_keeps_no_pixels(self):
        """24 pictures of 60 MB each: no more are in memory than are worked on."""
        large = io.BytesIO()
        Image.new("RGB", (5000, 4000)).save(large, "PNG")
        form, form_type = multipart([("images", large.getvalue())] * 24)
        pids = self.instance.workers()
        before = {pid: processes.peak_memory_kib(pid) for pid in pids}
        answer = self.post("/v1/predict/shapes/batch", form, form_type)
        self.assertEqual([200] * 24, [result["status"] for result in answer.json()["results"]])
        for pid in pids:
            self.assertLess(processes.peak_memory_kib(pid) - before[pid], 700 * 1024)

    def test_a_batch_of_the_most_pictures_and_one_more(self):
        small = pictures.encode(pictures.astronaut().resize((64, 64)), "JPEG")
        form, form_type = multipart([("images", small)] * 64)
        answer = self.post("/v1/predict/shapes/batch", form, form_type)
        self.assertEqual(200, answer.status, answer.body)
        self.assertEqual([200] * 64, [result["status"] for result in answer.json()["results"]])
        form, form_type = multipart([("images", small)] * 65)
        self.assert_problem(self.post("/v1/predict/shapes/batch", form, form_type), 413, "too-many-images")

    def test_the_picture_with_its_boxes_is_an_answer(self):
        plain = pictures.astronaut()
        for query, accept, kind in (("?render=jpeg", "*/*", "JPEG"), ("?render=png", "*/*", "PNG"),
                                    ("", "image/png", "PNG"), ("", "image/*", "JPEG"),
                                    ("?coordinates=normalized", "image/png", "PNG")):
            with self.subTest(query, accept=accept):
                answer = self.post("/v1/predict/faces_cascade" + query, ASTRONAUT, "image/jpeg", {"Accept": accept})
                self.assertEqual(200, answer.status)
                self.assertEqual("image/" + kind.lower(), answer.headers["Content-Type"])
                drawn = Image.open(io.BytesIO(answer.body))
                self.assertEqual(kind, drawn.format)
                self.assertEqual(plain.size, drawn.size)
                # The box is drawn where the face is, and nothing is where there is none.
                box = self.expected()["detections"][0]["box"]
                edge = (int(box["x1"]), int((box["y1"] + box["y2"]) / 2))
                self.assertGreater(difference(plain, drawn, edge), 40)
                self.assertLess(difference(plain, drawn, (20, 490)), 20)

    def test_a_large_picture_is_drawn_at_its_own_size(self):
        """Whatever scale it was decoded at for the model."""
        large = pictures.encode(pictures.astronaut().resize((3000, 3000)), "JPEG", quality=90)
        answer = self.post("/v1/predict/shapes?render=jpeg", large, "image/jpeg")
        self.assertEqual((3000, 3000), Image.open(io.BytesIO(answer.body)).size)

    def test_drawing_is_a_stage_and_ends_with_the_requests_time(self):
        large = pictures.encode(pictures.astronaut().resize((5000, 5000)), "JPEG", quality=80)
        answer = self.post("/v1/predict/shapes?render=png", large, "image/jpeg")
        self.assertEqual(200, answer.status)
        stages = dict(re.findall(r"(\w+);dur=([\d.]+)", answer.headers["Server-Timing"]))
        self.assertGreater(float(stages["draw"]), float(stages["total"]) / 2)
        late = self.post("/v1/predict/shapes?render=png", large, "image/jpeg", {"X-Timeout-Ms": "150"})
        self.assert_problem(late, 504, "model-too-slow")
        self.assertEqual(200, self.post("/v1/predict/shapes", large, "image/jpeg").status)

    def test_the_best_that_can_be_is_the_answer(self):
        wide = io.BytesIO()
        Image.new("RGB", (70_000, 4)).save(wide, "PNG")
        for accept, kind in (("image/jpeg, image/png;q=0.5", "image/png"),
                             ("image/jpeg, application/json;q=0.5", "application/json")):
            answer = self.post("/v1/predict/shapes", wide.getvalue(), "image/png", {"Accept": accept})
            self.assertEqual((200, kind), (answer.status, answer.headers["Content-Type"]))
        for headers, query in (({"Accept": "image/jpeg"}, ""), ({}, "?render=jpeg")):
            answer = self.post("/v1/predict/shapes" + query, wide.getvalue(), "image/png", headers)
            self.assert_problem(answer, 406, "not-acceptable")

    def test_json_is_the_answer_in_doubt(self):
        for accept in ("*/*", "text/html,application/xhtml+xml,image/avif,image/webp,*/*;q=0.8",
                       "application/json, image/png", "nonsense"):
            with self.subTest(accept):
                answer = self.post("/v1/predict/faces_cascade", ASTRONAUT, "image/jpeg", {"Accept": accept})
                self.assertEqual("application/json", answer.headers["Content-Type"])

    def test_a_compressed_body_is_415(self):
        answer = self.post("/v1/predict/faces_cascade", ASTRONAUT, "image/jpeg", {"Content-Encoding": "gzip"})
        self.assert_problem(answer, 415, "unsupported-media")


def difference(one, other, at):
    """Of a pixel and those around it: the most that a colour differs."""
    most = 0
    for x in range(at[0] - 1, at[0] + 2):
        for y in range(at[1] - 1, at[1] + 2):
            pair = zip(one.convert("RGB").getpixel((x, y)), other.convert("RGB").getpixel((x, y)))
            most = max(most, *(abs(a - b) for a, b in pair))
    return most


if __name__ == "__main__":
    unittest.main()

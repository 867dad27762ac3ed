"""Pipelines: models that are asked about what another one has found. Real nets, through nginx."""

import io
import json
import math
import unittest

import pictures
from drawn_texts import FONTS, cut_out, draw, draw_sign, overlap
from harness import SystemTest
from http_client import multipart
from pictures import astronaut, encode
from pipeline_models import ARE_THERE, MISSING, PIPELINES, repository
from processes import eventually
from test_auth import KeysFile, bearer

from PIL import Image

PAPER = (250, 248, 240)
LINES = ["Inferpool", "CONFERENCE", "Restaurant", "Delivery"]


def page(degrees):
    """Four lines below each other on a page that lies turned clockwise; with their corners."""
    picture = Image.new("RGB", (900, 900), PAPER)
    corners = []
    for number, text in enumerate(LINES):
        down = (number - 1.5) * 100
        centre = (450 - down * math.sin(math.radians(degrees)), 450 + down * math.cos(math.radians(degrees)))
        corners.append(draw(picture, text, FONTS[4], 48, centre, degrees))
    return picture, corners


@unittest.skipUnless(ARE_THERE, MISSING)
class PipelinesTest(SystemTest):
    @classmethod
    def setUpClass(cls):
        cls.instance = cls.start({"modelserver.repository": str(repository(cls.addClassCleanup)),
                                  "pipelines": PIPELINES}, cleanup=cls.addClassCleanup)

    def ask(self, model, picture, query=""):
        return self.assert_good(self.instance.predict(model, encode(picture, "PNG"), query, "image/png"))

    # ------------------------------------------------------------ text

    def test_a_page_is_read_from_top_to_bottom_however_it_lies(self):
        for degrees in (0, 90, 180, 270, 30, -20):
            with self.subTest(degrees=degrees):
                picture, corners = page(degrees)
                answer = self.ask("text", picture)
                self.assertEqual(LINES, [line["text"] for line in answer["detections"]])
                for expected, line in zip(corners, answer["detections"]):
                    self.assertGreater(overlap(expected, line["corners"], picture.size), 0.5)
                    read = line["found"]["text_line"]
                    self.assertEqual([line["text"]], [text["text"] for text in read["texts"]])
                    self.assertGreater(read["texts"][0]["confidence"], 0.8)
                    # Of what lies upside down the detector's corners begin at the lower right.
                    first = line["corners"][read["turned"] // 90]
                    self.assertLess(math.dist(expected[0], first), 40)
                self.assertEqual({"name": "text", "version": "", "steps": [
                    {"name": name, "version": "1"} for name in ("text_boxes", "text_direction", "text_line")]},
                    answer["model"])

    def test_lines_of_a_row_are_read_from_left_to_right(self):
        picture = Image.new("RGB", (900, 300), PAPER)
        for text, centre in (("Total", (150, 205)), ("128.50", (700, 195)), ("Receipt", (450, 80))):
            draw(picture, text, FONTS[4], 44, centre)
        self.assertEqual(["Receipt", "Total", "128.50"],
                         [line["text"] for line in self.ask("text", picture)["detections"]])

    def test_a_sign_in_a_photograph_is_read(self):
        picture = astronaut().resize((1024, 1024))
        draw_sign(picture, "CAUTION", FONTS[1], [(60, 620), (420, 560), (430, 680), (70, 760)])
        draw_sign(picture, "GATE 17", FONTS[7], [(90, 830), (350, 860), (340, 950), (80, 910)])
        self.assertEqual(["CAUTION", "GATE17"],
                         [line["text"].replace(" ", "") for line in self.ask("text", picture)["detections"]])

    def test_it_is_what_the_models_say_alone(self):
        picture, _ = page(30)
        answer = self.ask("text", picture)["detections"]
        alone = self.ask("text_boxes", picture)["detections"]
        by_place = lambda found: (found["box"]["y1"], found["box"]["x1"])
        self.assert_same_detections(sorted(alone, key=by_place), sorted(answer, key=by_place), pixels=0.01)
        for line in answer:
            (read,) = self.ask("text_line", cut_out(picture, line["corners"]))["texts"]
            self.assertEqual(read["text"], line["text"])
            # Pillow's way of turning pixels is another one.
            self.assertAlmostEqual(read["confidence"], line["found"]["text_line"]["texts"][0]["confidence"], delta=0.05)

    def test_where_there_is_no_text_nobody_is_asked_to_read(self):
        answer = self.ask("text", Image.new("RGB", (300, 200), PAPER))
        self.assertEqual([], answer["detections"])
        self.assertEqual([{"name": "text_boxes", "version": "1"}], answer["model"]["steps"])

    def test_the_lines_are_drawn_with_what_is_written_there(self):
        picture, _ = page(0)
        drawn = {}
        for model in ("text", "text_boxes"):
            answer = self.instance.predict(model, encode(picture, "PNG"), "render=png", "image/png")
            self.assertEqual(200, answer.status, answer.body[:300])
            drawn[model] = Image.open(io.BytesIO(answer.body)).convert("RGB").tobytes()
        self.assertNotEqual(picture.tobytes(), drawn["text"])
        self.assertNotEqual(drawn["text_boxes"], drawn["text"])

    # ------------------------------------------------------------ steps

    def test_a_step_is_asked_about_crops_and_what_it_finds_is_of_the_whole_picture(self):
        picture = Image.new("RGB", (1024, 512), PAPER)
        picture.paste(astronaut(), (400, 0))
        answer = self.ask("people_and_faces", picture)
        people = [found for found in answer["detections"] if found["class_name"] == "person"]
        self.assertGreater(len(people), 0)
        for person in people:
            box = person["box"]
            left, top = math.floor(box["x1"]), math.floor(box["y1"])
            crop = picture.crop((left, top, math.ceil(box["x2"]), math.ceil(box["y2"])))
            alone = self.ask("faces", crop)["detections"]
            faces = person["found"]["faces"]["detections"]
            for face in alone:
                for edge in ("x1", "x2"):
                    face["box"][edge] += left
                for edge in ("y1", "y2"):
                    face["box"][edge] += top
            self.assert_same_detections(alone, faces, pixels=0.02)
            for face in faces:
                box = face["box"]
                crop = picture.crop((math.floor(box["x1"]), math.floor(box["y1"]),
                                     math.ceil(box["x2"]), math.ceil(box["y2"])))
                alone = self.ask("embedding", crop)["embedding"]
                for one, other in zip(alone, face["found"]["embedding"]["embedding"]):
                    self.assertAlmostEqual(one, other, delta=1e-4)
        self.assertTrue(any(person["found"]["faces"]["detections"] for person in people))
        others = [found for found in answer["detections"] if found["class_name"] not in ("person", "bicycle")]
        self.assertTrue(all("found" not in found for found in others))

    def test_what_is_found_in_a_turned_crop_lies_where_it_is(self):
        for degrees in (30, 90):
            picture, _ = page(degrees)
            for line in self.ask("lines_again", picture)["detections"]:
                inner = line["found"]["text_boxes"]["detections"]
                self.assertEqual(1, len(inner))
                self.assertGreater(overlap(line["corners"], inner[0]["corners"], picture.size), 0.5)
                centre = [sum(values) / 4 for values in zip(*line["corners"])]
                box = inner[0]["box"]
                self.assertTrue(box["x1"] < centre[0] < box["x2"] and box["y1"] < centre[1] < box["y2"])

    def test_coordinates_may_be_normalised_at_every_level(self):
        picture, _ = page(30)
        pixels, normalised = (self.ask("lines_again", picture, query)["detections"][0]
                              for query in ("", "coordinates=normalized"))
        for one, other in ((pixels, normalised),
                           (pixels["found"]["text_boxes"]["detections"][0],
                            normalised["found"]["text_boxes"]["detections"][0])):
            for corner, share in zip(one["corners"], other["corners"]):
                for value, part in zip(corner, share):
                    self.assertAlmostEqual(value, 900 * part, delta=0.01)

    def test_the_most_that_a_step_takes_are_the_surest(self):
        picture, _ = page(0)
        lines = self.ask("two_lines", picture)["detections"]
        self.assertEqual([True, True, False, False], ["found" in line for line in lines])
        self.assertEqual(sorted((line["confidence"] for line in lines), reverse=True),
                         [line["confidence"] for line in lines])

    def test_a_batch_has_the_pipelines_answers(self):
        bodies = [encode(page(degrees)[0], "PNG") for degrees in (0, 180)]
        form, kind = multipart([("images", body, "page.png") for body in bodies] + [("images", b"hello", "a.txt")])
        answer = self.instance.request("POST", "/v1/predict/text/batch", form, {"Content-Type": kind}).json()
        self.assertEqual([200, 200, 415], [result["status"] for result in answer["results"]])
        for result in answer["results"][:2]:
            self.assertEqual(LINES, [line["text"] for line in result["detections"]])

    # ------------------------------------------------------------ what is told of them

    def test_they_are_listed_with_their_steps(self):
        models = self.instance.request("GET", "/v1/models").json()["models"]
        by_name = {model["name"]: model for model in models}
        self.assertEqual(len(models), len(by_name))
        text = by_name["text"]
        self.assertEqual(("pipeline", "", ["text"]), (text["family"], text["version"], text["class_names"]))
        self.assertEqual(PIPELINES["text"], text["steps"])
        self.assertNotIn("useful_side", text)
        self.assertIsNone(by_name["gone"]["family"])
        self.assertIn("nobody", by_name["gone"]["unusable"])
        self.assertEqual(text, self.instance.request("GET", "/v1/models/text").json())

    def test_a_step_without_its_model_is_404(self):
        problem = self.assert_problem(self.instance.predict("gone", encode(page(0)[0], "PNG")), 404, "unknown-model")
        self.assertIn("nobody", problem["detail"])

    def test_other_methods_are_405(self):
        for method in ("GET", "HEAD", "PUT"):
            answer = self.instance.request(method, "/v1/predict/text")
            self.assertEqual((405, "POST"), (answer.status, answer.header("Allow")))

    # ------------------------------------------------------------ bounds

    def test_the_time_is_that_of_the_whole(self):
        picture = encode(page(0)[0], "PNG")
        self.assert_problem(self.instance.predict("text", picture, headers={"X-Timeout-Ms": "60"}), 504)
        self.assertEqual(200, self.instance.predict("text", picture, headers={"X-Timeout-Ms": "30000"}).status)

    def test_metrics_count_one_request_with_the_sums_of_its_stages(self):
        picture = encode(page(0)[0], "PNG")
        before = self.instance.metrics()
        answer = self.assert_good(self.instance.predict("text", picture))
        after = self.instance.metrics()
        for name, labels in (("inferpool_requests_total", {"status": "200"}),):
            self.assertEqual(1, after.value(name, **labels) - before.value(name, **labels))
        self.assertGreater(answer["timing_ms"]["infer"], 0)
        worked = sum(value for stage, value in answer["timing_ms"].items() if stage not in ("total", "queue"))
        self.assertLess(worked, answer["timing_ms"]["total"] + 1)

    def test_work_ends_soon_after_the_client_has_left(self):
        picture = Image.new("RGB", (1600, 2400), PAPER)
        for number in range(40):
            draw(picture, LINES[number % 4], FONTS[4], 40, (800, 40 + 58 * number))
        body = encode(picture, "PNG")
        whole = self.assert_good(self.instance.predict("text", body, content_type="image/png"))
        self.assertGreater(len(whole["detections"]), 30)
        left = lambda: self.instance.metrics().value("inferpool_requests_total", status="499")
        before = left()
        connection = self.instance.connect_tls()
        connection.sendall(b"POST /v1/predict/text HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
                           b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.instance.wait_in_work(1)
        connection.close()
        eventually(lambda: left() == before + 1, "the request that nobody waits for ends")


@unittest.skipUnless(ARE_THERE, MISSING)
class PipelineKeysTest(SystemTest):
    def test_a_key_must_be_allowed_all_models_of_a_pipeline(self):
        keys = KeysFile(self.addCleanup)
        only_name = bearer(keys.add("name", "--models", "text"))
        only_models = bearer(keys.add("models", "--models", "text_boxes,text_direction,text_line"))
        all_of_it = bearer(keys.add("all", "--models", "text,text_*"))
        instance = self.start({"modelserver.repository": str(repository(self.addCleanup)),
                               "auth.keys_file": str(keys.path)}, self.addCleanup)
        picture = encode(page(0)[0], "PNG")
        for headers, status in ((only_name, 403), (only_models, 403), (all_of_it, 200)):
            self.assertEqual(status, instance.predict("text", picture, headers=headers).status)
            self.assertEqual(status, instance.request("GET", "/v1/models/text", headers=headers).status)
            models = instance.request("GET", "/v1/models", headers=headers).json()["models"]
            self.assertEqual(status == 200, "text" in [model["name"] for model in models])
            batch = instance.request("POST", "/v1/predict/text/batch", json.dumps({"images": ["eA=="]}),
                                     {**headers, "Content-Type": "application/json"})
            self.assertEqual(status, batch.status)
        problem = self.assert_problem(instance.predict("text", picture, headers=only_name), 403, "forbidden")
        self.assertIn("text_boxes", problem["detail"])


@unittest.skipUnless(ARE_THERE, MISSING)
class PipelineFaultsTest(SystemTest):
    def test_a_picture_that_crashes_a_worker_is_refused_and_others_are_answered(self):
        instance = self.start({"modelserver.repository": str(repository(self.addCleanup)), "workers": 2}, self.addCleanup)
        picture = encode(page(0)[0], "PNG")
        poison = picture + b"inferpool-fault:crash"
        self.assert_problem(instance.predict("text", poison), 422, "quarantined")
        eventually(lambda: instance.crashes() == 1, "one worker has crashed")
        self.assert_problem(instance.predict("text", poison), 422, "quarantined")
        self.assertEqual(1, instance.crashes())
        self.assertEqual(200, instance.predict("text", picture).status)

    def test_a_reload_brings_and_takes_pipelines(self):
        instance = self.start({"modelserver.repository": str(repository(self.addCleanup))}, self.addCleanup)
        picture = encode(page(0)[0], "PNG")
        self.assertEqual(200, instance.predict("text", picture).status)
        self.assertEqual(404, instance.predict("two_lines", picture).status)
        done = instance.reload(pipelines={"two_lines": PIPELINES["two_lines"]})
        self.assertEqual(0, done.returncode, done.stderr)
        eventually(lambda: instance.predict("two_lines", picture).status == 200
                   and instance.predict("text", picture).status == 404, "the workers have the new pipelines")


if __name__ == "__main__":
    unittest.main()

"""Which part of a picture is looked at, and which things are answered: roi, classes, thresholds, tiles."""

import io
import json
import math
import time
import unittest

import drawn_shapes
import http_client
import pictures
from drawn_shapes import GROUND, KINDS, draw
from PIL import Image, ImageChops

from harness import SystemTest
from pictures import intersection_over_union
from test_auth import KeysFile, bearer


def matches(thing, detections, least=0.5):
    return [one for one in detections if one["class_name"] == thing["class_name"]
            and intersection_over_union(thing["box"], one["box"]) >= least]


def touching(thing, detections):
    """What is answered anywhere in the thing's box, whatever it is said to be."""
    return [one for one in detections if intersection_over_union(thing["box"], one["box"]) > 0.05]


def recall(things, detections):
    return sum(1 for thing in things if matches(thing, detections)) / len(things)


def png(image):
    return pictures.encode(image, "PNG", compress_level=1)


class ViewsTest(SystemTest):
    SETTINGS = {"nginx.rate_per_s": 0, "nginx.connections": 0}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        image = Image.new("RGB", (640, 480), GROUND)
        cls.things = [draw(image, kind, (100 + 140 * i, 120 + 200 * (i % 2)), 90, colour)
                      for i, (kind, colour) in enumerate(zip(KINDS, drawn_shapes.COLOURS))]
        cls.picture = png(image)

    def ask(self, query="", picture=None, model="shapes"):
        return self.instance.predict(model, picture or self.picture, query, "image/png")

    def detections(self, query="", picture=None, model="shapes"):
        return self.assert_good(self.ask(query, picture, model))["detections"]

    def refused(self, query, parameter, *parts, picture=None, model="shapes"):
        problem = self.assert_problem(self.ask(query, picture, model), 400, "bad-parameter")
        self.assertEqual(parameter, problem["parameter"])
        for part in parts:
            self.assertIn(part, problem["detail"])

    # ------------------------------------------------------------ which part

    def test_a_part_is_answered_in_the_whole_pictures_pixels(self):
        self.assertEqual(1, recall(self.things, self.detections()))
        for thing in self.things:
            box = thing["box"]
            roi = ",".join(str(box[edge] + more) for edge, more in (("x1", -40), ("y1", -40), ("x2", 40), ("y2", 40)))
            answer = self.assert_good(self.ask(f"roi={roi}"))
            self.assertEqual({"width": 640, "height": 480}, answer["image"])
            self.assertEqual(1, len(answer["detections"]), answer)
            self.assertTrue(matches(thing, answer["detections"], 0.8), answer)

    def test_a_part_in_shares_is_the_same_part(self):
        pixels = self.detections("roi=160,240,480,480")
        shares = self.detections("roi=0.25,0.5,0.75,1&coordinates=normalized")
        self.assertEqual([one["confidence"] for one in pixels], [one["confidence"] for one in shares])
        for one, other in zip(pixels, shares):
            self.assertAlmostEqual(one["box"]["x1"] / 640, other["box"]["x1"], delta=0.0001)
            self.assertAlmostEqual(one["box"]["y2"] / 480, other["box"]["y2"], delta=0.0001)

    def test_a_part_is_cut_out_of_the_picture_as_it_is_seen_upright(self):
        image = pictures.astronaut().crop((0, 0, 512, 400))
        expected = None
        for orientation in range(1, 9):
            body = pictures.stored_with_orientation(image, orientation)
            answer = self.assert_good(self.instance.predict("faces_cascade", body, "roi=120,20,330,240"))
            self.assertEqual({"width": 512, "height": 400}, answer["image"])
            self.assertEqual(1, len(answer["detections"]), orientation)
            self.assertGreater(intersection_over_union(answer["detections"][0]["box"], pictures.ASTRONAUT_FACE), 0.5)
            expected = expected or answer["detections"]
            self.assertGreater(intersection_over_union(answer["detections"][0]["box"], expected[0]["box"]), 0.8)

    def test_a_part_of_a_large_jpeg_is_decoded_no_smaller_than_it_needs(self):
        image, things = drawn_shapes.scattered(5, count=500)
        jpeg = pictures.encode(image, "JPEG", quality=95)
        part = {"x1": 1000, "y1": 500, "x2": 1400, "y2": 900}
        inside = [thing for thing in things if all((part["x1"] < thing["box"][edge] < part["x2"]) if edge[0] == "x"
                                                   else part["y1"] < thing["box"][edge] < part["y2"]
                                                   for edge in ("x1", "y1", "x2", "y2"))]
        answer = self.instance.predict("shapes", jpeg, "roi=1000,500,1400,900")
        found = self.assert_good(answer)["detections"]
        self.assertGreater(len(inside), 5)
        self.assertGreaterEqual(recall(inside, found), 0.9, (inside, found))
        for one in found:
            self.assertTrue(1000 <= one["box"]["x1"] < one["box"]["x2"] <= 1400)

    def test_a_part_that_is_none_is_refused_with_what_to_do(self):
        self.refused("roi=1,2,3", "roi", "x1,y1,x2,y2")
        self.refused("roi=0.1,0.1,0.5,0.5", "roi", "coordinates=normalized")
        self.refused("roi=100,100,300,300&coordinates=normalized", "roi", "leave coordinates away")
        self.refused("roi=640,0,700,100", "roi", "640 x 480")
        form, kind = http_client.multipart([("image", self.picture), ("roi", b"640,0,700,100")])
        self.assert_problem(self.instance.request("POST", "/v1/predict/shapes", form, {"Content-Type": kind}),
                            400, "bad-parameter")

    # ------------------------------------------------------------ which things

    def test_classes_are_chosen_by_name_or_number(self):
        everything = self.detections()
        for query, kinds in (("star", {"star"}), ("3", {"star"}), ("circle,square", {"circle", "square"}),
                             ("circle%2C+1", {"circle", "square"})):
            expected = [one for one in everything if one["class_name"] in kinds]
            self.assertTrue(expected)
            self.assertEqual(expected, self.detections(f"classes={query}"), query)
        few = self.detections("confidence=0.0001&max_detections=2&classes=triangle")
        self.assertEqual(["triangle"] * 2, [one["class_name"] for one in few], "only wanted ones count")
        self.refused("classes=circle,dog", "classes", "dog", "circle, square, triangle, star")

    def test_a_class_may_have_its_own_threshold(self):
        everything = self.detections("confidence=0.001")
        found = self.detections("confidence=0.5&confidence.circle=0.001&confidence.square=1")
        self.assertEqual([one for one in everything
                          if one["confidence"] > {"circle": 0.001, "square": 1}.get(one["class_name"], 0.5)], found)
        self.assertTrue([one for one in found if one["class_name"] == "circle" and one["confidence"] < 0.5])
        self.refused("confidence.dog=0.5", "confidence.dog", "circle")

    def test_boxes_of_other_classes_are_dropped_where_that_is_wanted(self):
        query = "confidence=0.0001&iou=0.45"
        apart, together = self.detections(query), self.detections(query + "&class_agnostic=true")
        self.assertLess(len(together), len(apart))
        inside = [one for one in together if min(one["box"].values()) > 0 and one["box"]["x2"] < 640
                  and one["box"]["y2"] < 480]  # others were clipped after they had been compared
        for i, one in enumerate(inside):
            for other in inside[:i]:
                self.assertLessEqual(intersection_over_union(one["box"], other["box"]), 0.46)

    # ------------------------------------------------------------ tiles

    def test_small_things_in_a_large_picture_are_found_in_tiles(self):
        for seed in (1, 2):
            image, things = drawn_shapes.scattered(seed)
            for kind, options in (("PNG", {"compress_level": 1}), ("JPEG", {"quality": 92})):
                body = pictures.encode(image, kind, **options)
                without = self.assert_good(self.ask(picture=body))
                self.assertNotIn("tiles", without)
                self.assertLess(recall(things, without["detections"]), 0.2)
                answer = self.assert_good(self.ask("tiles=auto", body))
                found = answer["detections"]
                self.assertGreaterEqual(recall(things, found), 0.95)
                self.assertLessEqual(math.prod(int(part) for part in answer["tiles"].split("x")), 64)
                twice = [thing for thing in things if len(matches(thing, found, 0.3)) > 1]
                self.assertEqual([], twice, "one answer for one thing")
                self.assertLessEqual(len(found), 1.1 * len(things))

    def test_a_thing_on_a_seam_is_answered_once(self):
        # Tiles of 711 pixels: 1280 / (2 - 0.2); the seams are at 569 and 711, and so are those across.
        for size in (60, 120, 200):
            for offset in (-size / 2, -size / 4, 0, size / 4, size / 2):
                image = Image.new("RGB", (1280, 1280), GROUND)
                things = [draw(image, kind, middle, size, colour) for kind, colour, middle in (
                    ("circle", (30, 60, 200), (569 + offset, 200)), ("square", (200, 40, 40), (711 + offset, 900)),
                    ("star", (20, 20, 20), (250, 640 + offset)), ("circle", (250, 220, 40), (1000, 569 + offset)))]
                found = self.detections("tiles=2x2", png(image))
                for thing in things:
                    self.assertEqual(1, len(matches(thing, found, 0.6)), (size, offset, thing, found))
                    self.assertEqual(1, len(touching(thing, found)), (size, offset, thing, found))

    def test_a_thing_larger_than_a_tile_is_as_the_whole_shows_it(self):
        image = Image.new("RGB", (1600, 1200), GROUND)
        thing = draw(image, "circle", (800, 600), 900)
        found = self.detections("tiles=4x3&confidence=0.5", png(image))
        self.assertEqual(1, len(matches(thing, found, 0.8)), found)

    def test_things_side_by_side_stay_two(self):
        for gap in (1, 4):
            image = Image.new("RGB", (1280, 400), GROUND)
            things = [draw(image, "square", (640 + sign * (40 + gap / 2), 200), 80, colour)
                      for sign, colour in ((-1, (30, 60, 200)), (1, (200, 40, 40)))]
            found = self.detections("tiles=2x1&tile_overlap=0.1", png(image))
            self.assertEqual(1, recall(things, found), found)
            self.assertEqual(2, len(found), found)

    def test_a_picture_no_larger_than_the_input_is_looked_at_once(self):
        image = Image.new("RGB", (320, 320), GROUND)
        draw(image, "star", (160, 160), 100)
        body = png(image)
        plain, tiled = self.assert_good(self.ask(picture=body)), self.assert_good(self.ask("tiles=auto", body))
        self.assertEqual(plain["detections"], tiled["detections"])
        self.assertNotIn("tiles", tiled)

    def test_tiles_of_a_part_lie_in_it(self):
        image, things = drawn_shapes.scattered(3)
        found = self.detections("tiles=auto&roi=600,300,1500,900", png(image))
        for one in found:
            self.assertTrue(600 <= one["box"]["x1"] < one["box"]["x2"] <= 1500, one)
            self.assertTrue(300 <= one["box"]["y1"] < one["box"]["y2"] <= 900, one)
        inside = [thing for thing in things if 600 < thing["box"]["x1"] and thing["box"]["x2"] < 1500
                  and 300 < thing["box"]["y1"] and thing["box"]["y2"] < 900]
        self.assertGreaterEqual(recall(inside, found), 0.9)

    def test_a_model_of_any_size_takes_tiles(self):
        image = Image.new("RGB", (2600, 2600), (90, 120, 150))
        image.paste(pictures.astronaut(), (1700, 1800))
        found = self.detections("tiles=auto&confidence=0.5", png(image), "faces_cascade")
        face = {edge: value + (1700 if edge[0] == "x" else 1800) for edge, value in pictures.ASTRONAUT_FACE.items()}
        self.assertEqual(1, len(found), found)
        self.assertGreater(intersection_over_union(found[0]["box"], face), 0.5)

    def test_tiles_that_are_none_are_refused_with_what_is_allowed(self):
        for tiles in ("0x1", "65x1", "8x9", "2", "all"):
            self.refused(f"tiles={tiles}", "tiles", "auto", "64 tiles at most")
        self.refused("tiles=auto&tile_overlap=0.9", "tile_overlap", "0 to 0.5")

    def test_batches_and_drawn_pictures_are_of_the_same_view(self):
        query = "roi=0,0,320,240&classes=circle&tiles=2x1"
        expected = self.detections(query)
        self.assertEqual(["circle"], [one["class_name"] for one in expected])
        form, kind = http_client.multipart([("images", self.picture)] * 3)
        answer = self.instance.request("POST", f"/v1/predict/shapes/batch?{query}", form, {"Content-Type": kind})
        for result in self.assert_good(answer)["results"]:
            self.assertEqual(expected, result["detections"])
            self.assertEqual("2x1", result["tiles"])
        drawn = self.ask(query + "&render=png")
        self.assertEqual((200, "image/png"), (drawn.status, drawn.header("Content-Type")))
        before, after = (Image.open(io.BytesIO(body)).convert("RGB") for body in (self.picture, drawn.body))
        self.assertEqual(before.size, after.size)
        changed = ImageChops.difference(before, after).getbbox()
        self.assertTrue(changed and changed[2] <= 321 and changed[3] <= 241, changed)
        # What is wrong with every picture is wrong with the request.
        answer = self.instance.request("POST", "/v1/predict/shapes/batch?classes=dog", form, {"Content-Type": kind})
        self.assert_problem(answer, 400, "bad-parameter")
        answer = self.instance.request("POST", "/v1/predict/shapes/batch?roi=700,0,800,9", form, {"Content-Type": kind})
        self.assertEqual([400] * 3, [one["status"] for one in self.assert_good(answer)["results"]])


class KeptAnswersTest(SystemTest):
    SETTINGS = {"cache.entries": 20}

    def test_a_kept_answer_is_of_the_same_view_and_things(self):
        image = Image.new("RGB", (640, 480), GROUND)
        draw(image, "circle", (100, 100), 80)
        draw(image, "star", (400, 300), 80)
        body = png(image)
        seen = set()
        for query in ("", "classes=circle", "classes=star", "roi=0,0,200,200", "roi=0,0,200,201", "tiles=2x1",
                      "tiles=2x1&tile_overlap=0.3", "confidence.star=0.9", "class_agnostic=true"):
            answers = [self.instance.predict("shapes", body, query, "image/png") for _ in range(2)]
            self.assertEqual(["MISS", "HIT"], [answer.header("X-Cache") for answer in answers], query)
            first, second = (self.assert_good(answer) for answer in answers)
            self.assertEqual(first["detections"], second["detections"])
            seen.add(json.dumps(first["detections"]))
        self.assertGreaterEqual(len(seen), 4)


class RatesTest(SystemTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.keys = KeysFile(cls.addClassCleanup)
        cls.key = cls.keys.add("tiled", "--rate", "1", "--burst", "12")
        cls.instance = cls.start({"auth.keys_file": str(cls.keys.path), "workers": 2}, cleanup=cls.addClassCleanup)
        image = Image.new("RGB", (640, 480), GROUND)
        draw(image, "circle", (100, 100), 80)
        cls.picture = png(image)

    def ask(self, query):
        return self.instance.predict("shapes", self.picture, query, "image/png", bearer(self.key))

    def test_tiles_take_turns_of_the_keys_rate(self):
        problem = self.assert_problem(self.ask("tiles=13x1"), 400, "bad-parameter")
        self.assertEqual("tiles", problem["parameter"])
        self.assertIn("12 at once", problem["detail"])
        answer = self.ask("tiles=4x2")
        self.assert_good(answer)
        self.assertRegex(answer.header("RateLimit"), '^"default";r=[3-6];')
        answer = self.ask("tiles=4x2")
        problem = self.assert_problem(answer, 429, "too-many-requests")
        self.assertIn("8 tiles", problem["detail"])
        wait = int(answer.header("Retry-After"))
        self.assertTrue(1 <= wait <= 7, wait)
        self.assert_good(self.ask(""))  # one turn there is
        time.sleep(wait + 1)  # for the turn that was taken
        self.assert_good(self.ask("tiles=4x2"))


if __name__ == "__main__":
    unittest.main()

"""The models that ops/run and ops/test make of npm packages, on photographs, through nginx.

Where they could not be had they are skipped: everything else has to work without them."""

import io
import shutil
import statistics
import tempfile
import unittest
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

import pictures
from harness import SystemTest
from pictures import ASTRONAUT, ASTRONAUT_FACE, SOURCE, intersection_over_union

FOLDER = SOURCE / "ops/models"
NAMES = ("objects", "faces", "poses")
VECTORS = {"embedding": 528, "face_embedding": 1024}
COFFEE = (SOURCE / "tests/data/pictures/coffee.jpg").read_bytes()
# What is in the photographs, set by hand.
ASTRONAUT_BODY = {"x1": 10, "y1": 12, "x2": 372, "y2": 512}
COFFEE_CUP = {"x1": 172, "y1": 18, "x2": 410, "y2": 308}


@unittest.skipUnless(all((FOLDER / name / "1/model.onnx").is_file() for name in (*NAMES, *VECTORS)),
                     "install_models of ops/lib.sh could not make the models here")
class ModelsTest(SystemTest):
    @classmethod
    def setUpClass(cls):
        repository = Path(tempfile.mkdtemp(prefix="inferpool-models-"))
        cls.addClassCleanup(shutil.rmtree, repository)
        for name in (*NAMES, *VECTORS, "faces_cascade"):
            shutil.copytree(FOLDER / name, repository / name)
        cls.instance = cls.start({"modelserver.repository": str(repository)}, cleanup=cls.addClassCleanup)

    def detections(self, model, picture, query="", content_type="image/jpeg"):
        if isinstance(picture, Image.Image):
            picture, content_type = pictures.encode(picture, "PNG"), "image/png"
        return self.assert_good(self.instance.predict(model, picture, query, content_type))["detections"]

    def assert_found(self, name, where, detections, least, overlap=0.5):
        found = [item for item in detections if item["class_name"] == name
                 and intersection_over_union(where, item["box"]) >= overlap]
        self.assertEqual(1, len(found), detections)
        self.assertGreaterEqual(found[0]["confidence"], least)
        return found[0]

    # ------------------------------------------------------------ objects

    def test_objects_finds_the_person_and_nothing_else(self):
        detections = self.detections("objects", ASTRONAUT)
        self.assert_found("person", ASTRONAUT_BODY, detections, least=0.55, overlap=0.85)
        self.assertEqual(1, len(detections))

    def test_objects_finds_the_cup_on_the_table_once(self):
        detections = self.detections("objects", COFFEE, "confidence=0.2")
        self.assert_found("cup", COFFEE_CUP, detections, least=0.5, overlap=0.7)
        self.assertEqual({"cup", "dining table"}, {item["class_name"] for item in detections})

    def test_objects_says_where_whatever_the_pictures_form_is(self):
        wide = Image.new("RGB", (1600, 600), (114, 114, 114))
        wide.paste(pictures.astronaut(), (900, 50))
        where = {edge: at + (900 if edge[0] == "x" else 50) for edge, at in ASTRONAUT_BODY.items()}
        self.assert_found("person", where, self.detections("objects", wide), least=0.4, overlap=0.75)

    def test_every_row_of_objects_is_a_good_one(self):
        for picture in (ASTRONAUT, COFFEE, pictures.plain(64, 48)):
            detections = self.detections("objects", picture, "confidence=0", "application/octet-stream")
            self.assertLessEqual(len(detections), 100)
            for one in detections:
                self.assertTrue(0 <= one["class_id"] < 80 and 0 < one["confidence"] <= 1, one)

    def test_nothing_is_found_where_nothing_is(self):
        for model in NAMES:
            with self.subTest(model):
                self.assertEqual([], self.detections(model, pictures.plain(640, 480), "", "image/png"))

    # ------------------------------------------------------------ faces

    def face_in(self, picture, where, model="faces"):
        """The best detection there, or none."""
        return next((item for item in self.detections(model, picture)
                     if intersection_over_union(where, item["box"]) > 0.4), None)

    def test_faces_finds_what_the_cascade_finds(self):
        grey = pictures.astronaut().convert("L").convert("RGB")
        half = pictures.astronaut().resize((256, 256))
        small = pictures.astronaut().resize((160, 160))
        for name, picture, scale in (("the photograph", ASTRONAUT, 1), ("grey", grey, 1), ("half", half, 0.5),
                                     ("small", small, 0.3125)):
            with self.subTest(name):
                where = {edge: at * scale for edge, at in ASTRONAUT_FACE.items()}
                self.assertIsNotNone(self.face_in(picture, where, "faces_cascade"))
                found = self.face_in(picture, where)
                self.assertEqual("face", found["class_name"])
                self.assertGreater(found["confidence"], 0.5)

    def test_faces_finds_one_once(self):
        self.assertEqual(1, len(self.detections("faces", ASTRONAUT)))

    def test_faces_finds_turned_ones(self):
        for degrees, turn in ((90, Image.Transpose.ROTATE_90), (270, Image.Transpose.ROTATE_270)):
            with self.subTest(degrees=degrees):
                face = ASTRONAUT_FACE
                where = ({"x1": face["y1"], "y1": 512 - face["x2"], "x2": face["y2"], "y2": 512 - face["x1"]}
                         if degrees == 90 else
                         {"x1": 512 - face["y2"], "y1": face["x1"], "x2": 512 - face["y1"], "y2": face["x2"]})
                turned = pictures.astronaut().transpose(turn)
                self.assertIsNone(self.face_in(turned, where, "faces_cascade"))
                self.assertIsNotNone(self.face_in(turned, where))

    def test_faces_finds_smaller_ones(self):
        scale = 0.2  # 23 x 25 pixels
        scene = Image.new("RGB", (512, 512), (60, 70, 80))
        side = round(512 * scale)
        scene.paste(pictures.astronaut().resize((side, side)), (200, 210))
        where = {edge: at * scale + (200 if edge[0] == "x" else 210) for edge, at in ASTRONAUT_FACE.items()}
        self.assertIsNone(self.face_in(scene, where, "faces_cascade"))
        self.assertIsNotNone(self.face_in(scene, where))

    def test_faces_is_much_faster_than_the_cascade(self):
        """On an idle machine 10 times and more; here others may be at work."""
        def milliseconds(model):
            times = [self.assert_good(self.instance.predict(model, ASTRONAUT))["timing_ms"]["infer"] for _ in range(9)]
            return statistics.median(times)
        milliseconds("faces")
        self.assertGreater(milliseconds("faces_cascade"), 5 * milliseconds("faces"))

    # ------------------------------------------------------------ poses

    def test_poses_puts_the_points_where_they_are(self):
        (person,) = self.detections("poses", ASTRONAUT)
        self.assertEqual("person", person["class_name"])
        self.assertGreater(person["confidence"], 0.5)
        points = person["keypoints"]
        self.assertEqual(17, len(points))
        # Nose, eyes and shoulders of the photograph, set by hand; her right is on our left.
        for place, x, y in ((0, 222, 121), (1, 247, 102), (2, 203, 99), (5, 317, 270), (6, 109, 255)):
            with self.subTest(place=place):
                self.assertAlmostEqual(x, points[place]["x"], delta=25)
                self.assertAlmostEqual(y, points[place]["y"], delta=25)
                self.assertGreater(points[place]["confidence"], 0.3)
        self.assertGreater(intersection_over_union(ASTRONAUT_BODY, person["box"]), 0.6)

    # ------------------------------------------------------------ embedding, face_embedding

    def vector(self, model, picture):
        answer = self.assert_good(self.instance.predict(model, pictures.encode(picture, "PNG"), "", "image/png"))
        vector = np.array(answer["embedding"])
        self.assertEqual((VECTORS[model],), vector.shape)
        self.assertAlmostEqual(1, np.linalg.norm(vector), places=4)
        return vector

    def test_embedding_finds_the_changed_picture_again(self):
        astronaut, coffee = pictures.astronaut(), Image.open(io.BytesIO(COFFEE))
        stored = [self.vector("embedding", one) for one in (coffee, astronaut)]
        for place, picture in enumerate((coffee, astronaut)):
            width, height = picture.size
            part = picture.crop((width // 8, height // 10, width * 15 // 16, height * 15 // 16))
            dark = ImageEnhance.Brightness(ImageOps.mirror(part)).enhance(0.8)
            query = self.vector("embedding", Image.open(io.BytesIO(pictures.encode(dark, "JPEG", quality=40))))
            with self.subTest(place=place):
                self.assertEqual(place, int(np.argmax(np.array(stored) @ query)))
                self.assertGreater(stored[place] @ query, 0.85)
        self.assertLess(stored[0] @ stored[1], 0.7)

    def test_face_embedding_knows_the_face_that_faces_finds(self):
        def described(picture):
            (found,) = self.detections("faces", picture)
            box = found["box"]
            half = 0.6 * max(box["x2"] - box["x1"], box["y2"] - box["y1"])
            x, y = (box["x1"] + box["x2"]) / 2, (box["y1"] + box["y2"]) / 2
            return self.vector("face_embedding", picture.crop([round(at) for at in (x - half, y - half, x + half,
                                                                                    y + half)]))
        face = described(pictures.astronaut())
        other_light = ImageEnhance.Brightness(ImageOps.mirror(pictures.astronaut()).resize((400, 400))).enhance(0.7)
        self.assertGreater(face @ described(other_light), 0.8)
        self.assertLess(face @ self.vector("face_embedding", Image.open(io.BytesIO(COFFEE))), 0.5)


if __name__ == "__main__":
    unittest.main()

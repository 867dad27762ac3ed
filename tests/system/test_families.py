"""An answer is right, or there is none: models of several families, and models that only seem to be."""

import json
import shutil
import tempfile
import unittest
from pathlib import Path
from urllib.parse import quote

import numpy as np

import pictures
import tiny_models
from harness import SystemTest, multipart

SIDE = 64
ANCHORS = 84  # of 64 x 64 pixels at the strides 8, 16 and 32
POINTS = [10.0, 20.0, 0.9, 30.0, 40.0, 0.1]  # two keypoints
TURN = np.pi / 6


def table(classes, behind=0):
    """A YOLOv8's, in which nothing is found."""
    head = np.full((4 + classes + behind, ANCHORS), 0.01)
    head[:2] = np.linspace(4, 60, ANCHORS)
    head[2:4] = 8
    return head


def with_object(head, behind=(), score=0.9):
    """The same with an object of class 1 from (16, 24) to (48, 40)."""
    head[:4, 7] = 32, 32, 32, 16
    head[5, 7] = score
    if len(behind):
        head[-len(behind):, 7] = behind
    return head[None]


def planes():
    """Two of 16 x 16; where the first is above 0 is the picture's left half."""
    left = np.where(np.arange(16) < 8, 2.0, -2.0)
    return np.stack([np.broadcast_to(left, (16, 16)), np.zeros((16, 16))])[None]


NAMES = ("names", "['cat', 'dog',]")
DETECTOR = {"output0": with_object(table(2))}
MODELS = {
    "segments": ({"output0": with_object(table(2, 2), [1, 0]), "output1": planes()}, [NAMES]),
    "poses": ({"output0": with_object(table(2, 6), POINTS)},
              [NAMES, ("task", "pose"), ("kpt_shape", "[2, 3]")]),
    "turned": ({"output0": with_object(table(2, 1), [TURN])}, [NAMES, ("task", "obb")]),
    "two words": (DETECTOR, [NAMES]),
    "\u732b-\u00dcbung": (DETECTOR, [NAMES]),
    "m" * 200: (DETECTOR, [NAMES]),
    "tab\tbed": (DETECTOR, [NAMES]),
    "percent": ({"output0": with_object(table(2), score=90)}, [NAMES]),
    "nan": ({"output0": with_object(table(2), score=np.nan)}, [NAMES]),
    "depth": ({"depth": np.full((1, 1, SIDE, SIDE), 0.9)}, []),
}


class FamiliesTest(SystemTest):
    @classmethod
    def setUpClass(cls):
        folder = Path(tempfile.mkdtemp(prefix="inferpool-families-"))
        cls.addClassCleanup(shutil.rmtree, folder)
        for name, (outputs, metadata) in MODELS.items():
            (folder / name / "1").mkdir(parents=True)
            (folder / name / "1/model.onnx").write_bytes(tiny_models.constant(outputs, metadata))
        cls.instance = cls.start({"modelserver.repository": str(folder)}, cleanup=cls.addClassCleanup)
        grey = np.full((SIDE, SIDE, 3), 128, np.uint8)
        cls.picture = pictures.encode(pictures.Image.fromarray(grey), "PNG")

    def ask(self, model, query=""):
        return self.instance.predict(quote(model, safe=""), self.picture, query, "image/png")

    def found(self, model, query=""):
        """The one detection."""
        detections = self.assert_good(self.ask(model, query))["detections"]
        self.assertEqual(1, len(detections), detections)
        self.assertEqual(("dog", 1, 0.9), tuple(
            detections[0][key] for key in ("class_name", "class_id", "confidence")))
        return detections[0]

    def test_masks_keypoints_and_corners(self):
        found = self.found("segments")
        self.assertEqual({"x1": 16, "y1": 24, "x2": 48, "y2": 40}, found["box"])
        self.assertEqual(1, len(found["mask"]))
        polygon = np.array(found["mask"][0])
        self.assertLess(np.abs(polygon.min(0) - [16, 24]).max(), 1)
        self.assertLess(np.abs(polygon.max(0) - [32, 40]).max(), 1, "the left half alone")
        self.assertEqual([{"x": 10, "y": 20, "confidence": 0.9}, {"x": 30, "y": 40, "confidence": 0.1}],
                         self.found("poses")["keypoints"])
        corners = np.array(self.found("turned")["corners"])
        along = np.array([np.cos(TURN), np.sin(TURN)])
        expected = [32 - 16 * along[0] + 8 * along[1], 32 - 16 * along[1] - 8 * along[0]]
        self.assertLess(np.abs(corners[0] - expected).max(), 0.01)
        self.assertLess(np.abs(corners[1] - corners[0] - 32 * along).max(), 0.02)
        shares = np.array(self.found("turned", "coordinates=normalized")["corners"])
        self.assertLess(np.abs(shares * SIDE - corners).max(), 0.01)

    def test_they_are_drawn(self):
        plain = self.ask("two words", "render=png")
        self.assertEqual(200, plain.status)
        for model in ("segments", "poses", "turned"):
            drawn = self.ask(model, "render=png")
            self.assertEqual((200, "image/png"), (drawn.status, drawn.header("Content-Type")))
            self.assertNotEqual(plain.body, drawn.body, model)

    def test_what_does_not_fit_is_not_answered(self):
        for model in ("depth", "percent"):
            problem = self.assert_problem(self.ask(model), 501, "unusable-model")
            self.assertIn("config.pbtxt", problem["detail"])
        self.assertIn("the score 90", problem["detail"])
        self.assert_problem(self.ask("nan"), 502, "bad-model-answer")
        body, content_type = multipart([("images", self.picture, "a.png")])
        answer = self.assert_good(self.instance.request(
            "POST", "/v1/predict/percent/batch", body, {"Content-Type": content_type}))
        self.assertEqual([501], [result["status"] for result in answer["results"]])

    def test_names_of_models_are_reachable_or_not_listed(self):
        listed = {model["name"] for model in
                  self.assert_good(self.instance.request("GET", "/v1/models"))["models"]}
        self.assertEqual(set(MODELS) - {"tab\tbed"}, listed)
        index = self.instance.request("POST", "/v2/repository/index", b"{}",
                                      {"Content-Type": "application/json"})
        self.assertEqual(listed, {model["name"] for model in json.loads(index.body)})
        for model in ("two words", "\u732b-\u00dcbung", "m" * 200):
            self.found(model)
            for path in ("/v1/models/", "/v2/models/"):
                answer = self.instance.request("GET", path + quote(model, safe=""))
                self.assertEqual((200, model), (answer.status, answer.json()["name"]))
        self.assert_problem(self.ask("tab\tbed"), 404, "unknown-model")


if __name__ == "__main__":
    unittest.main()

"""The whole path against PyTorch: letterbox, tensor, network, YOLO decoder, NMS, the way back.

tests/data/shapes/expected.json holds what ops/training/shapes.py found with PyTorch in pictures
that the network was not trained on. Losslessly stored pictures differ only by float rounding. In
JPEG and WebP ones libjpeg-turbo and OpenCV's codecs may round a sample differently (by one or two
of 255, more where chroma is enlarged), which moves a box by a fraction of a pixel and a confidence
in the third digit; hence the tolerances.
"""

import json
import unittest

from harness import SystemTest
from pictures import SOURCE, intersection_over_union

FOLDER = SOURCE / "tests/data/shapes"


class ShapesTest(SystemTest):
    # As PyTorch was fed, whose answers these are compared with.
    SETTINGS = {"decode.reduced": False}

    @classmethod
    def setUpClass(cls):
        cls.expected = json.loads((FOLDER / "expected.json").read_text())
        super().setUpClass()

    def detect(self, picture):
        query = f"confidence={self.expected['confidence']}&iou={self.expected['iou']}"
        answer = self.instance.predict("shapes", (FOLDER / picture["file"]).read_bytes(), query,
                                       "application/octet-stream")
        return self.assert_good(answer)

    def test_there_are_enough_pictures_of_every_format_and_class(self):
        pictures = self.expected["pictures"]
        self.assertGreaterEqual(len(pictures), 5)
        self.assertLessEqual({"jpg", "png", "webp"}, {p["file"].rpartition(".")[2] for p in pictures})
        classes = {item["class_name"] for p in pictures for item in p["detections"]}
        self.assertEqual({"circle", "square", "triangle", "star"}, classes)

    def test_the_whole_path_finds_what_pytorch_finds(self):
        for picture in self.expected["pictures"]:
            with self.subTest(picture["file"]):
                answer = self.detect(picture)
                self.assertEqual({"width": picture["width"], "height": picture["height"]},
                                 answer["image"])
                self.assert_same(picture["detections"], answer["detections"])

    def assert_same(self, expected, found):
        self.assertEqual(sorted(item["class_id"] for item in expected),
                         sorted(item["class_id"] for item in found))
        left = list(found)
        for item in expected:
            box = {edge: item[edge] for edge in ("x1", "y1", "x2", "y2")}
            nearest = max((other for other in left if other["class_id"] == item["class_id"]),
                          key=lambda other: intersection_over_union(box, other["box"]))
            left.remove(nearest)
            self.assertGreaterEqual(intersection_over_union(box, nearest["box"]), 0.95,
                                    f"{item} and {nearest}")
            self.assertAlmostEqual(item["confidence"], nearest["confidence"], delta=0.02)
            self.assertEqual(item["class_name"], nearest["class_name"])


if __name__ == "__main__":
    unittest.main()

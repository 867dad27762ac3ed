"""Lines of text, drawn where and as what is known: text_boxes finds them, text_direction says whether they are
upside down, text_line reads them. The nets are real; through nginx."""

import io
import math
import shutil
import tempfile
import unittest
from pathlib import Path

from PIL import Image

from drawn_texts import FONTS, cut_out, draw, draw_sign, overlap, with_noise
from harness import SystemTest
from pictures import SOURCE, astronaut, encode

MODELS = SOURCE / "ops/models"
NAMES = ("text_boxes", "text_direction", "text_line")
WORDS = ["Inferpool", "CONFERENCE", "2026-11-30", "Restaurant", "No.4711", "Delivery"]
SENTENCES = ["Every packet counts", "Meeting at 10:30", "Total 128.50 EUR", "Main Street 42"]
PAPER = (250, 248, 240)


@unittest.skipUnless(all((MODELS / name / "1/model.onnx").exists() for name in NAMES),
                     "install_models of ops/lib.sh could not make the models here")
class TextsTest(SystemTest):
    @classmethod
    def setUpClass(cls):
        folder = Path(tempfile.mkdtemp(prefix="inferpool-texts-"))
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        for name in NAMES:
            shutil.copytree(MODELS / name, folder / name)
        cls.instance = cls.start({"modelserver.repository": str(folder)}, cleanup=cls.addClassCleanup)

    def ask(self, model, picture, query=""):
        return self.assert_good(self.instance.predict(model, encode(picture, "PNG"), query, "image/png"))

    def find(self, picture):
        found = self.ask("text_boxes", picture)["detections"]
        for item in found:
            self.assertEqual("text", item["class_name"])
            self.assertGreaterEqual(item["confidence"], 0.6)
            self.assertLessEqual(item["confidence"], 1)
            for axis in (0, 1):
                edges = [min(max(corner[axis], 0), picture.size[axis]) for corner in item["corners"]]
                self.assertAlmostEqual(min(edges), item["box"]["xy"[axis] + "1"], delta=0.02)
                self.assertAlmostEqual(max(edges), item["box"]["xy"[axis] + "2"], delta=0.02)
        return found

    def read(self, picture):
        (line,) = self.ask("text_line", picture)["texts"]
        self.assertEqual({"text", "confidence"}, set(line))
        self.assertTrue(0 <= line["confidence"] <= 1)
        return line

    def assert_found(self, drawn, found, picture):
        """Returns the corners that were found of each line that was drawn."""
        self.assertEqual(len(drawn), len(found), found)
        corners = []
        for expected in drawn:
            nearest = max(found, key=lambda item: overlap(expected, item["corners"], picture.size))
            self.assertGreater(overlap(expected, nearest["corners"], picture.size), 0.5)
            # In the same order, from the text's top left: no corner is farther off than the line is high.
            height = math.dist(expected[0], expected[3])
            for one, other in zip(expected, nearest["corners"]):
                self.assertLess(math.dist(one, other), height)
            corners.append(nearest["corners"])
        return corners

    def test_lines_are_found_and_read_in_several_fonts_sizes_and_angles(self):
        for number, font in enumerate(FONTS):
            for turn, degrees in enumerate(((0, 30), (10, -20))[number % 2]):
                with self.subTest(font=font.stem, degrees=degrees):
                    picture = Image.new("RGB", (900, 900), PAPER)
                    texts, drawn = [], []
                    for line, size in enumerate((20, 28, 40, 56)):
                        down = (line - 1.5) * 130
                        centre = (450 - down * math.sin(math.radians(degrees)),
                                  450 + down * math.cos(math.radians(degrees)))
                        texts.append(WORDS[(3 * number + turn + line) % len(WORDS)])
                        drawn.append(draw(picture, texts[-1], font, size, centre, degrees))
                    for text, corners in zip(texts, self.assert_found(drawn, self.find(picture), picture)):
                        line = self.read(cut_out(picture, corners))
                        self.assertEqual(text, line["text"])
                        self.assertGreater(line["confidence"], 0.8)

    def test_a_steep_line_begins_at_its_first_letter(self):
        for degrees in (-80, -60, -45, 45, 60, 80):
            with self.subTest(degrees=degrees):
                picture = Image.new("RGB", (800, 800), PAPER)
                drawn = [draw(picture, "CONFERENCE", FONTS[4], 60, (400, 400), degrees)]
                (corners,) = self.assert_found(drawn, self.find(picture), picture)
                self.assertEqual("CONFERENCE", self.read(cut_out(picture, corners))["text"])

    def test_sentences_are_read_but_for_their_spaces(self):
        """The net often leaves a narrow space out."""
        for font in FONTS:
            for text in SENTENCES:
                with self.subTest(font=font.stem, text=text):
                    picture = Image.new("RGB", (1000, 80), PAPER)
                    corners = draw(picture, text, font, 44, (500, 40))
                    left, right = corners[0][0] - 8, corners[1][0] + 8
                    line = self.read(picture.crop((int(left), 8, int(right), 72)))
                    self.assertEqual(text.replace(" ", ""), line["text"].replace(" ", ""))

    def test_signs_in_a_photograph_are_found_and_read(self):
        picture = astronaut().resize((1024, 1024))
        signs = [("CAUTION", FONTS[1], [(60, 620), (420, 560), (430, 680), (70, 760)]),
                 ("Mission control", FONTS[4], [(560, 700), (980, 780), (970, 880), (550, 790)]),
                 ("GATE 17", FONTS[7], [(90, 830), (350, 860), (340, 950), (80, 910)]),
                 ("Houston", FONTS[5], [(620, 120), (940, 60), (960, 170), (640, 240)])]
        drawn = [draw_sign(picture, text, font, outline) for text, font, outline in signs]
        picture = with_noise(picture, 8)
        for (text, *_), corners in zip(signs, self.assert_found(drawn, self.find(picture), picture)):
            self.assertEqual(text, self.read(cut_out(picture, corners))["text"])

    def test_a_line_upside_down_is_known_as_such(self):
        for text in WORDS + SENTENCES + ["The quick brown fox jumps over the lazy dog"]:
            picture = Image.new("RGB", (1400, 80), PAPER)
            corners = draw(picture, text, FONTS[4], 44, (700, 40))
            upright = picture.crop((int(corners[0][0]) - 8, 8, int(corners[1][0]) + 8, 72))
            for expected, line in (("0", upright), ("180", upright.transpose(Image.Transpose.ROTATE_180))):
                with self.subTest(text=text, direction=expected):
                    self.assertEqual(expected, self.ask("text_direction", line)["classes"][0]["class_name"])

    def test_where_there_is_no_text_none_is_found(self):
        self.assertEqual([], self.find(astronaut()))
        (line,) = self.ask("text_line", Image.new("RGB", (200, 40), PAPER))["texts"]
        self.assertEqual({"text": "", "confidence": 0}, line)

    def test_pictures_of_every_shape_are_answered(self):
        for size in ((1, 1), (1, 3000), (3000, 1), (7, 5), (4000, 3000), (2500, 20)):
            for name in NAMES:
                with self.subTest(size=size, model=name):
                    self.ask(name, Image.new("RGB", size, PAPER))

    def test_a_longer_line_than_the_net_takes_is_squeezed(self):
        text = "0123456789" * 8
        picture = Image.new("RGB", (3000, 58), PAPER)
        corners = draw(picture, text, FONTS[3], 60, (1500, 29))
        line = picture.crop((int(corners[0][0]) - 6, 0, int(corners[1][0]) + 6, 58))
        self.assertGreater(line.width, 40 * line.height)
        self.assertEqual(text, self.read(line)["text"])

    def test_the_dictionary_is_whole(self):
        answer = self.assert_good(self.instance.request("GET", "/v1/models/text_line"))
        self.assertEqual("text_line", answer["family"])
        self.assertEqual(6623, len(answer["class_names"]))
        self.assertIn("\u3000", answer["class_names"])

    def test_a_text_is_drawn_onto_the_picture(self):
        picture = Image.new("RGB", (400, 80), PAPER)
        draw(picture, "Restaurant", FONTS[0], 44, (200, 40))
        for model in ("text_line", "text_boxes"):
            answer = self.instance.predict(model, encode(picture, "PNG"), "render=png", "image/png")
            self.assertEqual(200, answer.status)
            drawn = Image.open(io.BytesIO(answer.body)).convert("RGB")
            self.assertEqual(picture.size, drawn.size)
            self.assertNotEqual(picture.tobytes(), drawn.tobytes())


if __name__ == "__main__":
    unittest.main()

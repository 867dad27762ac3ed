"""What the page shows of its answers: of several pictures, drawn into the picture, and saved."""

import io
import json
import tempfile
import unittest
from pathlib import Path

import numpy
from PIL import Image
from selenium.webdriver.common.keys import Keys

import pictures
from page import PageTest
from pictures import ASTRONAUT


class AnswersTest(PageTest):
    # ------------------------------------------------------------ several pictures

    def test_several_dropped_pictures_are_all_used(self):
        damaged = ASTRONAUT[:20_000]  # which browsers show as far as it goes
        empty = pictures.plain(64, 64)
        self.open()
        self.bring("drop", ("notes.txt", "text/plain", b"hello"), ("one.jpg", "image/jpeg", ASTRONAUT),
                   ("two.jpg", "image/jpeg", damaged), ("three.png", "image/png", empty))
        self.all_done(4)
        self.assertEqual("4 pictures, 2 without an answer", self.browser.text("many-title"))
        self.assertEqual(3, self.asked())
        expected = self.instance.predict("faces_cascade", damaged).json()["title"]
        self.assertEqual([("notes.txt", "This browser cannot show that file", False), ("one.jpg", "face", True),
                          ("two.jpg", expected, False), ("three.png", "nothing found", False)], self.results())
        self.assert_boxes_lie_where_the_api_says(self.shown())
        self.browser.screenshot(self.shots / "several.png")
        buttons = self.browser.all("#strip button")
        buttons[2].click()
        self.assertEqual(expected, self.problem()[0])
        self.assertIn("two.jpg, 512 × 512", self.browser.text("caption"))
        buttons[2].send_keys(Keys.END)
        self.assertIn("three.png, 64 × 64", self.browser.text("caption"))
        self.assertFalse(self.browser.one("problem").is_displayed())
        self.assertIn("Nothing", self.browser.text("summary"))
        for button in (3, 2):
            buttons[button].send_keys(Keys.ARROW_LEFT)
        self.assertEqual("face", self.browser.all(".found text")[0].text.split()[0])
        buttons[1].send_keys(Keys.HOME)
        self.assertIn("notes.txt is text/plain", self.problem()[1])

    def test_another_model_is_asked_about_all_of_them(self):
        self.open()
        self.choose(self.file("one.jpg", ASTRONAUT), self.file("two.png", pictures.plain(64, 64, colour=(250, 0, 0))))
        self.all_done(2)
        self.assertEqual(["face", "nothing found"], [result for _, result, _ in self.results()])
        self.pick("colours")
        self.browser.wait(lambda: [result for _, result, _ in self.results()] == ["red", "red"], "both are asked again")

    def test_while_several_are_asked_about_it_says_how_many_are_done(self):
        self.open()
        self.browser.run("""
            const real = window.fetch;
            window.fetch = async (path, options) => {
              if (window.held && path.includes("/predict/")) await window.held;
              const answer = await real(path, options);
              if (path.includes("/predict/")) window.held = new Promise((resolve) => (window.goOn = resolve));
              return answer;
            };""")
        self.choose(*(self.file(f"{name}.jpg", ASTRONAUT) for name in ("one", "two", "three")))
        self.browser.wait(lambda: self.browser.text("many-title") == "1 of 3 pictures done", "one is done")
        self.browser.wait(lambda: self.results()[1][1] == "is looked at …", "the second one is asked about")
        self.assertEqual("waits", self.results()[2][1])
        self.assertEqual([1, 3], self.browser.run("const bar = document.getElementById('many-done'); return [bar.value, bar.max]"))
        self.browser.run("window.held = null; window.goOn()")
        self.browser.wait(lambda: self.browser.text("many-title") == "2 of 3 pictures done", "two are done")
        self.browser.run("window.held = null; window.goOn()")
        self.all_done(3)
        self.assertFalse(self.browser.one("many-done").is_displayed())
        self.assertEqual("3 pictures", self.browser.text("announcer"))

    def test_a_server_that_wants_patience_gets_it(self):
        self.open()
        self.browser.run("""
            const real = window.fetch;
            let count = 0;
            window.fetch = (path, options) => path.includes("/predict/") && ++count === 2
              ? Promise.resolve(new Response(JSON.stringify({ title: "Too many requests", status: 429 }),
                                             { status: 429, headers: { "Retry-After": "1" } }))
              : real(path, options);""")
        self.choose(self.file("one.jpg", ASTRONAUT), self.file("two.jpg", ASTRONAUT))
        self.all_done(2)
        self.assertEqual(["face", "face"], [result for _, result, _ in self.results()])

    def test_of_a_large_picture_it_is_told_how_much_has_left(self):
        noise = numpy.random.default_rng(25).integers(0, 255, (1300, 1300, 3), numpy.uint8)
        large = pictures.encode(Image.fromarray(noise), "JPEG", quality=85)
        self.assertGreater(len(large), 1 << 20)
        self.open(model="colours")
        self.browser.run("""
            window.said = [];
            new MutationObserver(() => said.push(document.getElementById("summary").textContent))
              .observe(document.getElementById("summary"), { childList: true });""")

        def upload(bytes_per_s):
            self.browser.command("Network.emulateNetworkConditions", offline=False, latency=0,
                                 downloadThroughput=-1, uploadThroughput=bytes_per_s)
        self.browser.command("Network.enable")
        self.addCleanup(upload, -1)
        upload(len(large) // 3)
        self.choose(self.file("large.jpg", large))
        self.shown()
        told = [words for words in self.browser.run("return said") if words.startswith("Sending it: ")]
        self.assertGreater(len(told), 2)
        self.assertEqual(sorted(set(told)), told)

    def test_of_too_many_pictures_the_first_are_used(self):
        small = pictures.plain(8, 8)
        self.open(model="colours")
        self.choose(*(self.file(f"{number:03}.png", small) for number in range(103)))
        self.all_done(100)
        self.assertEqual(100, len(self.results()))
        self.assertIn("first 100; 3 more", self.browser.text("many-note"))

    # ------------------------------------------------------------ what is drawn

    def answer_with(self, **answer):
        """Predictions are answered so from now on."""
        whole = {"model": {"name": "shapes", "version": "1"}, "image": {"width": 512, "height": 512},
                 "timing_ms": {"total": 1}, "request_id": "1", **answer}
        self.browser.run("""
            const real = window.fetch;
            window.fetch = (path, options) => path.includes("/predict/")
              ? Promise.resolve(new Response(JSON.stringify(arguments[0]))) : real(path, options);"""
                         .replace("arguments[0]", json.dumps(whole)))

    def test_shapes_points_turned_boxes_and_texts_are_drawn_and_told(self):
        box = {"x1": 100, "y1": 100, "x2": 300, "y2": 400}
        points = [{"x": 120 + 10 * at, "y": 150 + 10 * at, "confidence": 0.9 if at < 16 else 0.1} for at in range(17)]
        self.open(model="shapes")
        self.answer_with(detections=[
            {"box": box, "confidence": 0.9, "class_id": 0, "class_name": "person", "keypoints": points},
            {"box": box, "confidence": 0.8, "class_id": 1, "class_name": "cup",
             "mask": [[[110, 110], [200, 110], [200, 200]], [[250, 250], [290, 250], [290, 290]]]},
            {"box": box, "confidence": 0.7, "class_id": 2, "class_name": "plate",
             "corners": [[200, 100], [300, 250], [200, 400], [100, 250]]},
            {"box": box, "confidence": 0.6, "class_id": 3, "class_name": "text", "text": "EXIT <b>"}])
        self.sample()
        count = lambda selector: len(self.browser.all(selector))
        self.assertEqual((16, 2, 4), (count(".found .keypoint"), count(".found .mask"), count(".found .line")))
        self.assertEqual(15, count(".found .bone"))  # all but the one to the ankle that is not seen
        corners = self.browser.all(".found[data-index='2'] .line")[0].get_attribute("points").split()
        width = self.browser.run("return document.getElementById('frame').clientWidth")
        self.assertEqual([[200, 100], [300, 250], [200, 400], [100, 250]],
                         [[round(float(value) / width * 512) for value in point.split(",")] for point in corners])
        labels = [text.text for text in reversed(self.browser.all(".found text"))]
        self.assertEqual(["person 90%", "cup 80%", "plate 70%", "EXIT <b> 60%"], labels)
        places = [tag.rect for tag in self.browser.all(".found .tag")]
        for one in places:
            self.assertEqual(1, sum(abs(one["y"] - other["y"]) < 10 for other in places), "labels hide each other")
        told = [row.text for row in self.browser.all("#rows tr")]
        for row, words in zip(told, ("16 of 17 points seen", "its shape in 2 parts", "tilted by 56°", "EXIT <b>")):
            self.assertIn(words, row)
        self.browser.screenshot(self.shots / "drawn.png")
        image = self.saved()
        self.assertEqual((512, 512), image.size)
        colours = image.getcolors(1 << 20)
        for colour in ((94, 234, 212), (251, 191, 36), (147, 197, 253), (249, 168, 212)):
            self.assertIn(colour, {rgb for _, rgb in colours})

    def saved(self):
        """What the button saves, read."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        self.browser.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.browser.one("save").click()
        file = self.browser.wait(lambda: list(folder.glob("*.png")), "it is saved")[0]
        content = file.read_bytes()
        self.assertEqual(b"\x89PNG\r\n\x1a\n", content[:8])
        self.saved_as = file.name
        return Image.open(io.BytesIO(content)).convert("RGB")

    def test_the_drawn_picture_can_be_saved(self):
        for name, original in (("a face.jpg", pictures.astronaut()),
                               ("large.png", pictures.astronaut().resize((2000, 2000)))):
            with self.subTest(name):
                self.open()
                self.assertFalse(self.browser.one("save").is_displayed())
                self.choose(self.file(name, pictures.encode(original, "PNG")))
                box = self.shown()["detections"][0]["box"]
                image = self.saved()
                self.assertEqual(name.rpartition(".")[0] + "-found.png", self.saved_as)
                self.assertEqual(original.size, image.size)
                line = image.getpixel((round(box["x2"]), round((box["y1"] + box["y2"]) / 2)))
                self.assertLess(sum(abs(a - b) for a, b in zip(line, (94, 234, 212))), 60, line)
                far = (original.width - 5, original.height - 5)
                self.assertEqual(original.getpixel(far), image.getpixel(far))

    def test_without_anything_drawn_there_is_nothing_to_save(self):
        self.open(model="colours")
        self.sample()
        self.assertFalse(self.browser.one("save").is_displayed())


if __name__ == "__main__":
    unittest.main()

"""What the tests of the page for people have in common."""

import json
import tempfile
from pathlib import Path

from selenium.webdriver.support.ui import Select

import tiny_models
from browser import Browser
from harness import SystemTest


class PageTest(SystemTest):
    """An instance with models of every family, and a browser on its page."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.instance = cls.start(
            {"modelserver.repository": str(tiny_models.make_repository(cls.folder / "models")),
             "nginx.rate_per_s": 0}, cleanup=cls.addClassCleanup)
        cls.origin = f"https://localhost:{cls.instance.port}"
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.quit)
        cls.browser.command("Browser.grantPermissions", origin=cls.origin,
                            permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        cls.shots = Path(tempfile.mkdtemp(prefix="inferpool-pages-"))
        print(f"screenshots are in {cls.shots}")

    def open(self, path="/", model="faces_cascade", **options):
        self.browser.open(self.origin + path, **options)
        if path == "/":
            self.browser.wait(lambda: self.browser.one("model").is_enabled(), "the models are there")
            self.pick(model)

    def pick(self, model):
        Select(self.browser.one("model")).select_by_visible_text(model)

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def choose(self, path):
        self.browser.one("file").send_keys(str(path))

    def shown(self):
        """The answer, once there is one, as the page got it."""
        text = self.browser.wait(lambda: self.browser.one("json").get_property("textContent"),
                                 "an answer is shown")
        return json.loads(text)

    def sample(self):
        self.browser.one("sample").click()
        return self.shown()

    def problem(self):
        self.browser.wait(lambda: self.browser.one("problem").is_displayed(), "a problem is shown")
        return self.browser.text("problem-title"), self.browser.text("problem-detail")

    def boxes(self):
        """Where the boxes lie, in shares of the picture."""
        return self.browser.run("""
            const image = document.getElementById("image").getBoundingClientRect();
            return [...document.querySelectorAll(".found .line")].map((line) => {
              const { x, y, width, height } = line.getBBox();
              const [from, to] = [[x, y], [x + width, y + height]].map(([x, y]) =>
                new DOMPoint(x, y).matrixTransform(line.getScreenCTM()));
              return { x1: (from.x - image.x) / image.width, y1: (from.y - image.y) / image.height,
                       x2: (to.x - image.x) / image.width, y2: (to.y - image.y) / image.height };
            }).reverse();""")

    def assert_boxes_lie_where_the_api_says(self, answer):
        boxes = self.boxes()
        self.assertEqual(len(answer["detections"]), len(boxes))
        for detection, box in zip(answer["detections"], boxes):
            for edge, size in (("x1", "width"), ("y1", "height"), ("x2", "width"), ("y2", "height")):
                self.assertAlmostEqual(detection["box"][edge] / answer["image"][size], box[edge], delta=0.003)

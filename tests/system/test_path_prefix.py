"""The pages behind somebody's path prefix, /vision/: a proxy takes it away, or nginx.base_path does."""

import tempfile
import unittest
from pathlib import Path

from edge import Front
from page import CodeTest, same, tabs
from pictures import ASTRONAUT, SOURCE

PROXY = """listen PORT; client_max_body_size 0;
location /vision/ { proxy_request_buffering off; proxy_buffering off; proxy_pass https://localhost:BEHIND/; }"""


class PathPrefixTest(CodeTest):
    trusted = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        front = Front(PROXY.replace("BEHIND", str(cls.instance.port)))
        cls.addClassCleanup(front.stop)
        cls.origin = f"http://localhost:{front.port}"

    def open(self, path="/vision/", model="faces_cascade", **options):
        self.browser.open(self.origin + path, **options)
        if path == "/vision/":
            self.browser.wait(lambda: self.browser.one("model").is_enabled(), "the models are there")
            self.pick(model)

    def assert_nothing_is_asked_elsewhere(self):
        asked = self.browser.run("return performance.getEntriesByType('resource').map(({ name }) => name)")
        self.assertEqual([], [one for one in asked if not one.startswith((self.origin + "/vision/", "blob:", "data:"))])
        self.assertEqual([], self.browser.complaints())

    def test_a_picture_is_tried(self):
        self.open()
        self.assertEqual(1, len(self.sample()["detections"]))
        self.assertIn(f"{self.origin}/vision/v1/predict/faces_cascade?confidence=0.25", self.browser.text("snippet"))
        self.assert_nothing_is_asked_elsewhere()

    def test_its_code_asks_us_behind_the_prefix(self):
        self.open()
        answer = self.sample()
        for tab in tabs():
            with self.subTest(tab):
                code = self.code(tab)
                self.assertEqual(self.trusted, "certificate.pem" in code)
                folder = Path(tempfile.mkdtemp(dir=self.folder))
                self.assertEqual(same(answer), same(self.execute(tab, code, folder)))

    def test_its_links_lead_to_the_other_pages_and_back(self):
        self.open()
        for page in ("API reference", "Errors", "Try it"):
            self.browser.driver.find_element("link text", page).click()
            self.browser.wait(lambda: self.browser.all(".top [aria-current]"), "it is loaded")
            self.assertEqual(page, self.browser.all(".top [aria-current]")[0].text)
            self.assertTrue(self.browser.driver.current_url.startswith(self.origin + "/vision/"))

    def test_the_reference_asks_us_behind_the_prefix(self):
        if not (SOURCE / "build/swagger-ui/node_modules").is_dir():
            self.skipTest("Swagger UI is not installed: ops/test does that when it reaches the registry")
        self.open("/vision/docs")
        self.browser.wait(lambda: self.browser.all("#operations-models-listModels"), "the operations are shown")
        self.browser.run("document.querySelector('#operations-models-listModels .opblock-summary-control').click()")
        execute = self.browser.wait(
            lambda: self.browser.all("#operations-models-listModels button.execute"), "it can be tried")[0]
        self.browser.run("arguments[0].click()", execute)
        self.browser.wait(lambda: self.browser.all("#operations-models-listModels .live-responses-table code"), "it is answered")
        example = self.browser.all("#operations-models-listModels .opblock-description pre")[0].text
        self.assertIn(f"{self.origin}/vision/v1/models", example)
        self.assert_nothing_is_asked_elsewhere()

    def test_what_an_error_means_is_a_link_away(self):
        self.open()
        self.choose(self.file("damaged.jpg", ASTRONAUT[:20_000]))
        self.problem()
        self.browser.one("problem-page").click()
        self.browser.wait(lambda: self.browser.all(":target"), "its part of the page is shown")
        self.assertEqual(f"{self.origin}/vision/docs/errors#bad-picture", self.browser.driver.current_url)
        self.assertIn("The picture cannot be used", self.browser.all(":target")[0].text)


class BasePathTest(PathPrefixTest):
    """Without a proxy: the server itself knows the prefix."""

    trusted = True  # its certificate is ours, and has to be named

    @classmethod
    def settings(cls):
        return {"nginx.base_path": "/vision"}

    @classmethod
    def setUpClass(cls):
        super(PathPrefixTest, cls).setUpClass()


if __name__ == "__main__":
    unittest.main()

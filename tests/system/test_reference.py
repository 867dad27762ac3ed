"""The API's reference on /docs: Swagger UI within our page, in a real Chromium."""

import json
import os
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from page import PALE, SMALL, WIDE, PageTest
from pictures import ASTRONAUT, SOURCE
from processes import PATIENCE_S

OPENED = ("predict-predict", "predict-predictBatch", "models-listModels", "kserve-kserveInfer")

NAMED = ("link", "button", "combobox", "textbox", "checkbox", "spinbutton")  # roles of what is pressed and filled in

# Of the cells of opened operations those with text that is broken after few letters.
NARROW = """
return [...document.querySelectorAll(".opblock.is-open :is(td, th)")]
  .filter((cell) => cell.checkVisibility() && cell.textContent.trim().length > 12 && cell.clientWidth < 90)
  .map((cell) => `${cell.clientWidth}: ${cell.textContent.trim().slice(0, 40)}`);
"""


@unittest.skipUnless((SOURCE / "build/swagger-ui/node_modules").is_dir(),
                     "Swagger UI is not installed: ops/test does that when it reaches the registry")
class ReferenceTest(PageTest):
    def opened(self, *operations, **options):
        self.open("/docs", **options)
        self.browser.wait(lambda: self.browser.all(".opblock"), "the operations are shown")
        for operation in operations:
            self.browser.run("document.querySelector(arguments[0]).click()",
                             f"#operations-{operation} .opblock-summary-control")
            self.browser.wait(lambda: self.browser.all(f"#operations-{operation} .opblock-body .responses-table"),
                              "it is opened")

    def test_every_operation_is_shown_and_one_is_tried_out(self):
        self.opened()
        document = self.instance.request("GET", "/openapi.json").json()
        count = sum(method in item for item in document["paths"].values() for method in ("get", "post"))
        self.browser.wait(lambda: len(self.browser.all(".opblock")) == count, "all operations are shown")
        self.browser.screenshot(self.shots / "docs.png")
        self.browser.all("#operations-models-listModels .opblock-summary-control")[0].click()
        execute = self.browser.wait(
            lambda: self.browser.all("#operations-models-listModels button.execute"), "it can be tried")[0]
        self.browser.run("arguments[0].scrollIntoView({ block: 'center' })", execute)
        self.browser.wait(lambda: execute.is_displayed() and execute.is_enabled(), "it can be clicked")
        execute.click()
        answer = self.browser.wait(
            lambda: self.browser.all("#operations-models-listModels .live-responses-table .microlight, "
                                     "#operations-models-listModels .live-responses-table code"), "it is answered")
        self.assertIn('"faces_cascade"', answer[0].text)
        self.assertEqual([], self.browser.complaints())

    def test_a_picture_is_tried_out_as_the_form_is_filled_in(self):
        self.opened("predict-predict")
        block = "#operations-predict-predict"
        self.assertEqual("colours", self.browser.all(f"{block} tr[data-param-name='model'] input")[0].get_property("value"))
        self.browser.all(f"{block} input[type=file]")[0].send_keys(str(self.file("face.jpg", ASTRONAUT)))
        self.browser.run("arguments[0].click()", self.browser.all(f"{block} button.execute")[0])
        answer = self.browser.wait(
            lambda: self.browser.all(f"{block} .live-responses-table .microlight code"), "it is answered")[0]
        self.assertIn('"class_name": "red"', answer.get_property("textContent"))

    def test_opened_operations_stay_in_the_window_in_columns_that_can_be_read(self):
        self.opened(*OPENED)
        for width, height in ((1920, 1080), (1280, 800), (768, 1024), (360, 740)):
            self.browser.resize(width, height)
            with self.subTest(width=width):
                self.assertEqual([], self.browser.run(WIDE))
                self.assertEqual([], self.browser.run(NARROW))
                self.assertEqual([], self.browser.run(SMALL))
            self.browser.screenshot(self.shots / f"docs-{width}.png")

    def test_its_text_has_contrast_in_the_light_and_in_the_dark(self):
        for scheme in ("light", "dark"):
            self.opened(*OPENED, prefers_color_scheme=scheme)
            with self.subTest(scheme):
                self.assertEqual([], self.browser.run(PALE))

    def test_our_style_does_not_reach_into_its_tables(self):
        self.opened("predict-predict")
        ours = self.browser.run("""
            const of = (element) => {
              const { whiteSpace, overflowWrap, borderTopWidth } = getComputedStyle(element);
              return [whiteSpace, overflowWrap, borderTopWidth];
            };
            const cells = [...document.querySelectorAll(".opblock.is-open td")].map(of);
            for (const sheet of document.styleSheets) if (sheet.href.endsWith("/style.css")) sheet.disabled = true;
            const without = [...document.querySelectorAll(".opblock.is-open td")].map(of);
            return JSON.stringify(cells) === JSON.stringify(without) ? "the same" : [cells[1], without[1]];""")
        self.assertEqual("the same", ours)

    def test_without_keys_nothing_is_locked(self):
        self.opened()
        self.assertEqual([], self.browser.all(".authorization__btn, .btn.authorize, .unlocked, .locked"))

    def test_each_operation_begins_with_an_example_and_ends_with_what_carries_it(self):
        self.opened()
        names = [block.get_attribute("id") for block in self.browser.all(".opblock")]
        # Opened and closed one after the other: all of them at once are slow.
        told = [self.browser.run("""
            const block = document.getElementById(arguments[0]);
            block.querySelector(".opblock-summary-control").click();
            while (!block.querySelector(".opblock-body .responses-table")) await new Promise(requestAnimationFrame);
            const first = block.querySelector(".opblock-description pre");
            const places = [...block.querySelectorAll(".parameter__in")].map((one) => one.textContent);
            const later = block.querySelector(".parameters-container, .opblock-section");
            const isFirst = Boolean(first.compareDocumentPosition(later) & Node.DOCUMENT_POSITION_FOLLOWING);
            block.querySelector(".opblock-summary-control").click();
            return [block.id, first.textContent, places, isFirst];""", name) for name in names]
        self.assertGreater(len(told), 20)
        for name, example, places, is_first in told:
            with self.subTest(name):
                self.assertTrue(example.startswith("curl "), example)
                self.assertIn(f"https://localhost:{self.instance.port}/", example)
                self.assertNotIn("{", example.split("--json")[0])
                self.assertEqual(sorted(places, key=lambda place: place == "(header)"), places)
                self.assertTrue(is_first)

    def test_the_examples_work_as_pasted(self):
        wanted = {"predict-predict": "classes", "predict-predictBatch": "results", "models-listModels": "models",
                  "models-describeModel": "inputs", "kserve-kserveIndex": None, "health-ready": "ready"}
        self.opened(*wanted)
        for name, member in wanted.items():
            with self.subTest(name):
                text = self.browser.all(f"#operations-{name} .opblock-description pre")[0].text
                folder = Path(tempfile.mkdtemp(dir=self.folder))
                done = subprocess.run(["bash", "-c", text], cwd=folder, capture_output=True, text=True,
                                      timeout=PATIENCE_S, check=False, env={**os.environ, "no_proxy": "localhost"})
                self.assertEqual(0, done.returncode, done.stderr)
                answer = json.loads(done.stdout)
                self.assertNotIn("title", answer)
                if member is not None:
                    self.assertIn(member, answer)

    def test_everything_that_takes_the_focus_has_a_name_for_screen_readers(self):
        self.opened("models-listModels", "predict-predict")
        time.sleep(0.2)  # names are added to what Swagger UI has drawn
        nodes = self.browser.command("Accessibility.getFullAXTree")["nodes"]
        for node in nodes:
            focusable = any(one["name"] == "focusable" and one["value"].get("value")
                            for one in node.get("properties", []))
            if focusable and not node["ignored"] and node["role"]["value"] in NAMED:
                self.assertTrue(node["name"]["value"], node)

    def test_without_swagger_ui_it_says_so(self):
        self.browser.command("Network.enable")
        self.addCleanup(self.browser.command, "Network.setBlockedURLs", urls=[])
        self.browser.command("Network.setBlockedURLs", urls=["*/docs/swagger-ui/*"])
        self.open("/docs")
        self.browser.wait(lambda: self.browser.one("missing").is_displayed(), "it is told")
        self.assertIn("Swagger UI is not installed", self.browser.text("missing"))
        link = self.browser.all("#missing a")[0].get_attribute("href")
        self.assertEqual(f"{self.origin}/openapi.json", link)


class ErrorsTest(PageTest):
    def test_the_page_of_errors_can_be_read_at_every_width_in_the_light_and_in_the_dark(self):
        for scheme in ("light", "dark"):
            self.open("/docs/errors", prefers_color_scheme=scheme)
            with self.subTest(scheme):
                self.assertEqual([], self.browser.run(PALE))
            for width, height in ((360, 740), (768, 1024), (1280, 800), (1920, 1080)):
                self.browser.resize(width, height)
                with self.subTest(width=width):
                    self.assertEqual([], self.browser.run(WIDE))
                    self.assertEqual([], self.browser.run(SMALL))
            self.browser.screenshot(self.shots / f"errors-{scheme}.png")
            self.assertEqual([], self.browser.complaints())

    def test_a_code_is_pointed_out_by_its_address(self):
        self.open("/docs/errors#bad-picture")
        pointed = self.browser.all(".card:target")[0]
        self.assertIn("bad-picture", pointed.text)
        place = pointed.rect["y"] - self.browser.run("return scrollY")
        self.assertTrue(0 <= place < 800, place)
        for link in self.browser.all(".parts a"):
            name = link.get_attribute("href").partition("#")[2]
            self.assertTrue(self.browser.all(f"h2#{name}"), name)


class InstallationTest(unittest.TestCase):
    def test_without_a_registry_the_installation_goes_on(self):
        if subprocess.run(["npm", "--version"], capture_output=True, check=False).returncode != 0:
            self.skipTest("npm is not installed")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "ops").symlink_to(SOURCE / "ops")
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c",
                 f"source {SOURCE}/ops/lib.sh; root={folder}; install_swagger_ui; echo went on"],
                capture_output=True, text=True, check=False, timeout=3 * PATIENCE_S,
                env={**os.environ, "npm_config_registry": "http://127.0.0.1:9/",
                     "npm_config_cache": str(folder / "npm")})
            self.assertEqual(0, done.returncode, done.stderr)
            self.assertIn("no Swagger UI", done.stdout)
            self.assertIn("went on", done.stdout)


if __name__ == "__main__":
    unittest.main()

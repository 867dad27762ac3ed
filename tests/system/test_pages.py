"""The pages for people, as a person uses them, in a real Chromium."""

import base64
import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

import harness
import pictures
from page import PageTest
from pictures import ASTRONAUT, ASTRONAUT_FACE, SOURCE
from processes import PATIENCE_S

BMP = pictures.plain(40, 30, "BMP")  # which browsers show, and the server does not take

# Dispatches an event that brings a file, as a drop or a paste does.
BRING = """
const [kind, name, type, content] = arguments;
const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
const transfer = new DataTransfer();
if (name) transfer.items.add(new File([bytes], name, { type }));
document.getElementById("picture").dispatchEvent(kind === "paste"
    ? new ClipboardEvent(kind, { bubbles: true, cancelable: true, clipboardData: transfer })
    : new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: transfer }));
"""

# What of the visible text has less contrast to its ground than WCAG 2.2 AA asks for.
PALE = """
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (colour) => {
  const [r, g, b] = numbers(colour).map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if ((numbers(colour)[3] ?? 1) === 1) return colour;
  }
  return "rgb(255, 255, 255)";
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("svg, .skip, .hidden-input")) continue;
  const style = getComputedStyle(element);
  const [a, b] = [luminance(style.color), luminance(ground(element))].sort().reverse();
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) found.push(`${ratio.toFixed(2)}: ${walker.currentNode.data.trim()}`);
}
return found;
"""


def same(answer):
    """An answer without what differs from one time to the next."""
    return {name: value for name, value in answer.items() if name not in ("timing_ms", "request_id")}


class PagesTest(PageTest):
    # ------------------------------------------------------------ pictures

    def test_the_page_loads_without_complaints(self):
        self.open()
        answer = self.instance.request("GET", "/")
        self.assertIn("default-src 'none'", answer.header("Content-Security-Policy"))
        self.sample()
        self.browser.screenshot(self.shots / "page.png")
        self.assertEqual([], self.browser.complaints())

    def test_a_breach_of_the_content_security_policy_would_be_seen(self):
        self.open()
        self.browser.run("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">')")
        self.assertIn("Content Security Policy", " ".join(self.browser.complaints()))

    def test_the_face_of_the_sample_is_found_and_shown_where_the_api_says(self):
        self.open()
        answer = self.sample()
        self.assertEqual(same(self.instance.predict("faces_cascade", ASTRONAUT).json()), same(answer))
        self.assert_boxes_lie_where_the_api_says(answer)
        box = {edge: share * 512 for edge, share in self.boxes()[0].items()}
        self.assertGreater(pictures.intersection_over_union(ASTRONAUT_FACE, box), 0.5)
        percent = f"{answer['detections'][0]['confidence']:.0%}"
        self.assertEqual(f"face {percent}", self.browser.all(".found text")[0].text)
        self.assertEqual(["face", percent, "173, 62 – 275, 165"],
                         [cell.text for cell in self.browser.all("#rows td")])
        self.assertIn("face", self.browser.text("summary"))

    def test_the_time_of_every_stage_is_shown(self):
        self.open()
        timing = self.sample()["timing_ms"]
        shown = {row.find_element(By.TAG_NAME, "dt").text: row.find_element(By.TAG_NAME, "dd").text
                 for row in self.browser.all("#stages div")}
        self.assertEqual({*timing, "other", "network"} - {"total"}, set(shown))
        for stage in set(timing) - {"total"}:
            self.assertAlmostEqual(timing[stage], float(shown[stage].removesuffix(" ms")), delta=0.51)
        widths = {part.get_attribute("class"): part.size["width"] for part in self.browser.all("#bar span")}
        self.assertEqual(max(timing["infer"], timing["preprocess"], timing["decode"]),
                         timing[max((stage for stage in widths if stage in timing), key=widths.get)])
        self.assertRegex(self.browser.text("timing-summary"), r"^\d+(\.\d)? ms from here and back")

    def test_boxes_stay_on_the_picture_when_the_window_changes(self):
        self.open()
        answer = self.sample()
        self.browser.resize(700, 900)
        self.browser.wait(lambda: self.browser.run(
            "return document.getElementById('overlay').viewBox.baseVal.width === document.getElementById('frame').clientWidth"),
            "the boxes are drawn again")
        self.assert_boxes_lie_where_the_api_says(answer)

    def test_a_picture_can_be_dropped_and_pasted(self):
        for kind in ("drop", "paste"):
            with self.subTest(kind):
                self.open()
                self.browser.run(BRING, kind, "face.jpg", "image/jpeg", base64.b64encode(ASTRONAUT).decode())
                answer = self.shown()
                self.assertEqual(1, len(answer["detections"]))
                self.assert_boxes_lie_where_the_api_says(answer)
                self.assertIn("face.jpg", self.browser.text("snippet"))

    def test_while_something_is_dragged_the_page_says_where_to_drop_it(self):
        self.open()
        self.browser.run(BRING, "dragenter", "", "", "")
        self.assertTrue(self.browser.all(".drop-here")[0].is_displayed())
        self.browser.run(BRING, "drop", "", "", "")  # a text, for one
        self.assertFalse(self.browser.all(".drop-here")[0].is_displayed())
        self.assertEqual("That was no file", self.problem()[0])

    def test_the_last_picture_wins(self):
        large = pictures.encode(pictures.astronaut().resize((3000, 3000)), "JPEG")
        self.open()
        self.choose(self.file("large.jpg", large))
        self.browser.run("document.getElementById('sample').click()")  # wherever it moves meanwhile
        self.browser.wait(lambda: "sample.jpg" in self.browser.text("caption") and
                          self.browser.one("json").get_property("textContent"), "the sample's answer")
        self.assertEqual(512, self.shown()["image"]["width"])
        self.assertFalse(self.browser.one("problem").is_displayed())

    # ------------------------------------------------------------ models and settings

    def test_the_picked_model_is_asked_and_remembered(self):
        self.open()
        options = [option.text for option in Select(self.browser.one("model")).options]
        self.assertEqual(["colours", "faces_cascade", "fingerprint", "letter", "people", "shapes", "unusable"], options)
        self.assertFalse(self.browser.all("#model option")[-1].is_enabled())
        self.sample()
        self.pick("shapes")
        self.browser.wait(lambda: self.shown()["model"]["name"] == "shapes", "shapes is asked")
        self.assertIn("circle, square, triangle, star", self.browser.text("about"))
        self.browser.driver.refresh()
        self.browser.wait(lambda: self.browser.one("model").is_enabled(), "the models are there")
        self.assertEqual("shapes", self.browser.one("model").get_property("value"))

    def test_objects_is_asked_where_it_is_there_and_nothing_was_picked(self):
        models = [{"name": name, "version": "1", "family": "nms_free"} for name in ("cats", "objects", "trees")]
        self.open()
        self.browser.run("localStorage.clear()")
        script = self.browser.command(
            "Page.addScriptToEvaluateOnNewDocument",
            source=f"window.fetch = async () => new Response({json.dumps(json.dumps({'models': models}))})")
        self.addCleanup(self.browser.command, "Page.removeScriptToEvaluateOnNewDocument", **script)
        self.browser.driver.refresh()
        self.browser.wait(lambda: len(self.browser.all("#model option")) == 3, "the models are there")
        self.assertEqual("objects", self.browser.one("model").get_property("value"))

    def test_classes_and_embeddings_are_shown(self):
        self.open(model="colours")
        classes = self.sample()["classes"]
        self.assertEqual([(one["class_name"], f"{one['confidence']:.0%}") for one in classes],
                         [tuple(cell.text for cell in row.find_elements(By.TAG_NAME, "td"))
                          for row in self.browser.all("#rows tr")])
        self.assertFalse(self.browser.one("threshold").is_displayed())
        self.pick("fingerprint")
        self.browser.wait(lambda: self.browser.one("embedding").is_displayed(), "the embedding is shown")
        self.assertIn("3 numbers", self.browser.text("summary"))
        self.assertEqual(3, len(self.browser.text("numbers").split(", ")))
        self.assertFalse(self.browser.one("list").is_displayed())
        self.pick("letter")
        self.browser.wait(lambda: self.browser.text("summary").startswith("“b”, "), "the text is shown")
        self.assertFalse(self.browser.one("embedding").is_displayed())
        self.assertEqual("b", self.browser.all("#rows tr td")[0].text)
        self.assertEqual([], self.browser.complaints())

    def asked(self):
        return self.browser.run(
            "return performance.getEntriesByType('resource').filter(({name}) => name.includes('/predict/')).length")

    def slide(self, key, times):
        ActionChains(self.browser.driver).click(self.browser.one("confidence-value")).perform()
        self.browser.run("document.getElementById('confidence').focus()")
        for _ in range(times):
            self.browser.press(key)

    def test_more_confidence_filters_and_less_asks_again(self):
        self.open(model="shapes")
        answer = self.sample()
        confidences = [one["confidence"] for one in answer["detections"]]
        self.assertGreater(len(confidences), 1)
        asked = self.asked()
        self.slide(Keys.ARROW_RIGHT, 20)
        self.assertEqual("45%", self.browser.text("confidence-value"))
        kept = [one for one in confidences if one >= 0.45]
        self.assertLess(len(kept), len(confidences))
        self.assertEqual(len(kept), len(self.browser.all("#rows tr")))
        self.assertEqual(len(kept), len(self.boxes()))
        self.assertEqual(asked, self.asked())
        self.slide(Keys.ARROW_LEFT, 40)
        more = self.instance.predict("shapes", ASTRONAUT, "confidence=0.05").detections
        self.browser.wait(lambda: len(self.browser.all("#rows tr")) == len(more), "the server is asked again")
        self.assertGreater(len(more), len(confidences))
        self.assertIn("confidence=0.05", self.browser.text("snippet"))

    def test_a_detection_of_the_list_is_pointed_out_in_the_picture(self):
        self.open(model="shapes")
        self.sample()
        self.browser.all("#rows button")[1].click()
        self.browser.wait(lambda: [box.get_attribute("data-index") for box in self.browser.all(".found.active")]
                          == ["1"], "it is pointed out")
        self.assertEqual("true", self.browser.all("#rows button")[1].get_attribute("aria-pressed"))
        self.browser.press(Keys.ESCAPE)
        self.assertEqual("false", self.browser.all("#rows button")[1].get_attribute("aria-pressed"))

    # ------------------------------------------------------------ problems

    def test_a_problem_is_shown_in_place_of_the_answer(self):
        self.open()
        self.sample()
        self.choose(self.file("plain.bmp", BMP))
        title, detail = self.problem()
        expected = self.instance.predict("faces_cascade", BMP).json()
        self.assertEqual((expected["title"], expected["detail"]), (title, detail))
        self.assertRegex(self.browser.text("problem-id"), r"^Status 415, request \w+$")
        self.assertFalse(self.browser.one("list").is_displayed())
        self.assertFalse(self.browser.one("timing").is_displayed())
        self.browser.screenshot(self.shots / "problem.png")
        self.sample()
        self.assertFalse(self.browser.one("problem").is_displayed())

    def test_a_file_that_the_browser_cannot_show_is_told(self):
        self.open()
        for name, content in (("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), ("notes.txt", b"hello")):
            with self.subTest(name):
                self.choose(self.file(name, content))
                self.browser.wait(lambda: name in self.browser.text("problem-detail"), "it is told")
                self.assertEqual("This browser cannot show that file", self.problem()[0])
        self.assertEqual("empty", self.browser.one("picture").get_attribute("data-state"))

    def test_a_server_that_is_away_is_told_and_can_be_tried_again(self):
        self.open()
        self.sample()
        def offline(value):
            self.browser.command("Network.emulateNetworkConditions", offline=value, latency=0,
                                 downloadThroughput=-1, uploadThroughput=-1)
        self.browser.command("Network.enable")
        self.addCleanup(offline, False)
        offline(True)
        self.pick("people")
        self.assertEqual("The server cannot be reached", self.problem()[0])
        offline(False)
        self.browser.one("again").click()
        self.assertEqual("people", self.shown()["model"]["name"])

    # ------------------------------------------------------------ the camera

    def test_a_picture_is_taken_with_the_camera(self):
        self.open()
        self.browser.one("camera").click()
        self.browser.wait(lambda: self.browser.one("capture").is_displayed(), "the camera is open")
        self.browser.one("capture").click()
        image = self.shown()["image"]
        self.assertIn(f"camera.jpg, {image['width']} × {image['height']}", self.browser.text("caption"))
        self.assertIsNone(self.browser.run("return document.getElementById('video').srcObject"))
        self.assertEqual([], self.browser.complaints())

    def test_live_asks_for_one_frame_after_the_other(self):
        self.open(model="shapes")
        self.browser.one("camera").click()
        self.browser.wait(lambda: self.browser.one("live").is_displayed(), "the camera is open")
        self.browser.one("live").click()
        self.browser.wait(lambda: self.asked() > 5, "many frames are asked about")
        self.assertEqual("true", self.browser.one("live").get_attribute("aria-pressed"))
        self.assertEqual("off", self.browser.one("summary").get_attribute("aria-live"))
        self.browser.screenshot(self.shots / "live.png")
        self.browser.one("live").click()
        self.assertEqual("false", self.browser.one("live").get_attribute("aria-pressed"))
        self.browser.one("close").click()
        self.assertTrue(self.browser.one("camera").is_displayed())
        self.assertEqual([], self.browser.complaints())

    # ------------------------------------------------------------ for everybody

    def test_the_keyboard_is_enough(self):
        self.open()
        self.browser.run("document.activeElement.blur()")
        seen = []

        def tab_to(name):
            for _ in range(40):
                ActionChains(self.browser.driver).send_keys(Keys.TAB).perform()
                at, visible = self.browser.run("""
                    const at = document.activeElement, next = at.nextElementSibling;
                    const outline = (one) => getComputedStyle(one).outlineStyle !== "none";
                    return [at.id || at.textContent, at === document.body || outline(at) || (at.id === "file" && outline(next))];""")
                seen.append(at)
                self.assertTrue(visible, f"{at} has the focus and does not show it")
                if at == name:
                    return
            self.fail(f"{name} cannot be reached: {seen}")

        tab_to("file")
        tab_to("sample")
        self.browser.press(Keys.ENTER)
        self.assertEqual("faces_cascade", self.shown()["model"]["name"])
        tab_to("model")
        self.browser.press(Keys.ARROW_DOWN)
        self.browser.wait(lambda: self.shown()["model"]["name"] == "fingerprint", "the next model is asked")
        self.browser.press(Keys.ARROW_UP)
        self.browser.wait(lambda: self.shown()["model"]["name"] == "faces_cascade", "the one before is asked")
        tab_to("confidence")
        tab_to("tab-curl")
        self.browser.press(Keys.ARROW_RIGHT)
        self.assertIn("await fetch", self.browser.text("snippet"))
        self.browser.press(Keys.END)
        self.assertIn("import requests", self.browser.text("snippet"))
        tab_to("copy")
        self.browser.press(Keys.ENTER)
        self.browser.wait(lambda: self.browser.text("announcer") == "Copied", "copying is announced")

    def test_everything_that_takes_the_focus_has_a_name_for_screen_readers(self):
        self.open(model="shapes")
        self.sample()
        nodes = self.browser.command("Accessibility.getFullAXTree")["nodes"]
        focusable = [node for node in nodes if not node["ignored"] and any(
            one["name"] == "focusable" and one["value"].get("value") for one in node.get("properties", []))]
        self.assertGreater(len(focusable), 15)
        for node in focusable:
            if node["role"]["value"] != "RootWebArea":
                self.assertTrue(node["name"]["value"], node)
        roles = {node["role"]["value"] for node in nodes if not node["ignored"]}
        self.assertLessEqual({"main", "banner", "heading", "status", "table", "tablist", "slider"}, roles)
        self.assertEqual("status", self.browser.one("summary").get_attribute("role"))

    def test_nothing_scrolls_sideways_on_a_phone(self):
        long_name = self.file("a_name_without_blanks_" + "x" * 150 + ".jpg", ASTRONAUT)
        for width, height in ((390, 844), (320, 568)):
            self.open(width=width, height=height, model="shapes")
            for state in ("empty", "sample", "long name", "camera"):
                if state == "sample":
                    self.sample()
                elif state == "long name":
                    self.choose(long_name)
                    self.browser.wait(lambda: "a_name" in self.browser.text("caption"), "it is shown")
                    self.shown()
                elif state == "camera":
                    self.browser.one("camera").click()
                    self.browser.wait(lambda: self.browser.one("capture").is_displayed(), "it is open")
                with self.subTest(state, width=width):
                    wide = self.browser.run("return document.documentElement.scrollWidth")
                    self.assertLessEqual(wide, width)
                if state == "sample":
                    self.browser.screenshot(self.shots / f"phone-{width}.png")
                    self.browser.resize(width, height)

    def test_text_has_contrast_in_the_light_and_in_the_dark(self):
        grounds = {}
        for scheme in ("light", "dark"):
            for problem in (False, True):
                self.open(prefers_color_scheme=scheme, model="shapes")
                if problem:
                    self.choose(self.file("plain.bmp", BMP))
                    self.problem()
                else:
                    self.sample()
                    self.browser.screenshot(self.shots / f"{scheme}.png")
                with self.subTest(scheme, problem=problem):
                    self.assertEqual([], self.browser.run(PALE))
            grounds[scheme] = self.browser.run("return getComputedStyle(document.body).backgroundColor")
        light, dark = (sum(map(int, grounds[scheme][4:-1].split(","))) for scheme in ("light", "dark"))
        self.assertGreater(light, 600)
        self.assertLess(dark, 150)

    def test_nothing_moves_for_those_who_do_not_want_that(self):
        for motion, moving in (("no-preference", True), ("reduce", False)):
            self.open(prefers_reduced_motion=motion)
            self.browser.run("document.getElementById('picture').setAttribute('aria-busy', 'true')")
            name = self.browser.run("return getComputedStyle(document.querySelector('.progress')).animationName")
            self.assertEqual(moving, name != "none")

    # ------------------------------------------------------------ the code

    def code(self, tab):
        """What the copy button copies."""
        self.browser.one(f"tab-{tab}").click()
        # It says so for two seconds, which a busy machine may not look within.
        self.browser.run("""const button = document.getElementById("copy");
            window.said = [];
            new MutationObserver(() => said.push(button.textContent)).observe(button, {childList: true});""")
        self.browser.one("copy").click()
        self.browser.wait(lambda: "Copied" in self.browser.run("return said"), "it is copied")
        code = self.browser.run("return navigator.clipboard.readText()")
        self.assertEqual(self.browser.one("snippet").get_property("textContent"), code)
        return code

    def execute(self, tab, code, folder):
        command = {"curl": ["bash", "-c", code], "javascript": ["node", "--input-type=module", "-e", code],
                   "python": ["/usr/bin/python3", "-c", code], "requests": ["/usr/bin/python3", "-c", code]}[tab]
        certificate = str(harness.certificate() / "certificate.pem")
        names = ("CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
                              env={**os.environ, **dict.fromkeys(names, certificate), "no_proxy": "localhost"})
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout)

    def test_the_code_does_what_the_page_did(self):
        tabs = ["curl", "python", "requests"]
        if subprocess.run(["node", "--version"], capture_output=True, check=False).returncode == 0:
            tabs.append("javascript")
        for model, name in (("faces_cascade", "sample.jpg"), ("colours", "sample.jpg"),
                            ("shapes", "it's \"odd\"; $(touch stolen) `id`, & \\x ü.jpg"),
                            ("faces_cascade", "-rf.jpg")):
            folder = Path(tempfile.mkdtemp(dir=self.folder))
            (folder / name).write_bytes(ASTRONAUT)
            self.open(model=model)
            if name == "sample.jpg":
                answer = self.sample()
            else:
                self.choose(folder / name)
                answer = self.shown()
            for tab in tabs:
                with self.subTest(tab, model=model, name=name):
                    self.assertEqual(same(answer), same(self.execute(tab, self.code(tab), folder)))
                    self.assertEqual([name], os.listdir(folder))

    # ------------------------------------------------------------ the reference

    def test_docs_show_every_operation_and_try_one_out(self):
        if not (SOURCE / "build/swagger-ui/node_modules").is_dir():
            self.skipTest("Swagger UI is not installed: ops/test does that when it reaches the registry")
        self.open("/docs")
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

    def test_docs_without_swagger_ui_say_so(self):
        self.browser.command("Network.enable")
        self.addCleanup(self.browser.command, "Network.setBlockedURLs", urls=[])
        self.browser.command("Network.setBlockedURLs", urls=["*/docs/swagger-ui/*"])
        self.open("/docs")
        self.browser.wait(lambda: self.browser.one("missing").is_displayed(), "it is told")
        link = self.browser.all("#missing a")[0].get_attribute("href")
        self.assertEqual(f"{self.origin}/openapi.json", link)

    def test_without_a_registry_the_installation_goes_on(self):
        if subprocess.run(["npm", "--version"], capture_output=True, check=False).returncode != 0:
            self.skipTest("npm is not installed")
        (self.folder / "ops").symlink_to(SOURCE / "ops")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c",
             f"source {SOURCE}/ops/lib.sh; root={self.folder}; install_swagger_ui; echo went on"],
            capture_output=True, text=True, check=False, timeout=3 * PATIENCE_S,
            env={**os.environ, "npm_config_registry": "http://127.0.0.1:9/",
                 "npm_config_cache": str(self.folder / "npm")})
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("no Swagger UI", done.stdout)
        self.assertIn("went on", done.stdout)


if __name__ == "__main__":
    unittest.main()

"""What the tests of the page for people have in common."""

import base64
import json
import os
import subprocess
import tempfile
from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

import tiny_models
from browser import Browser
from harness import SystemTest
from processes import PATIENCE_S


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

# What of the visible text is smaller than 14 pixels.
SMALL = """
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("svg, .skip, .hidden-input")) continue;
  const size = parseFloat(getComputedStyle(element).fontSize);
  if (size < 14) found.push(`${size}: ${walker.currentNode.data.trim()}`);
}
return found;
"""

# What reaches beyond the window, or beyond what can be scrolled sideways by itself.
WIDE = """
const edge = document.documentElement.clientWidth + 1;
const scrolls = (element) => {
  for (let at = element.parentElement; at; at = at.parentElement)
    if (at !== document.documentElement && at !== document.body && getComputedStyle(at).overflowX !== "visible") return true;
  return false;
};
return [...document.body.querySelectorAll("*")]
  .filter((one) => one.checkVisibility() && !one.closest(".skip, .hidden-input") && one.getBoundingClientRect().right > edge && !scrolls(one))
  .map((one) => `${one.tagName} ${one.getAttribute("class")}: ${Math.round(one.getBoundingClientRect().right)}`)
  .concat(document.documentElement.scrollWidth > innerWidth ? [`the page: ${document.documentElement.scrollWidth}`] : []);
"""


# What would have programs trust the certificate without being told to.
TRUSTING = ("CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


def tabs():
    has_node = subprocess.run(["node", "--version"], capture_output=True, check=False).returncode == 0
    return ["curl", "python", "requests"] + (["javascript"] if has_node else [])


def same(answer):
    """An answer without what differs from one time to the next."""
    return {name: value for name, value in answer.items() if name not in ("timing_ms", "request_id")}


# Dispatches an event that brings files, as a drop or a paste does: [name, type, content in base64] each.
BRING = """
const [kind, files] = arguments;
const transfer = new DataTransfer();
for (const [name, type, content] of files) {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  transfer.items.add(new File([bytes], name, { type }));
}
document.getElementById("picture").dispatchEvent(kind === "paste"
    ? new ClipboardEvent(kind, { bubbles: true, cancelable: true, clipboardData: transfer })
    : new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: transfer }));
"""


class PageTest(SystemTest):
    """An instance with models of every family, and a browser on its page."""

    @classmethod
    def settings(cls):
        """More of the instance's settings."""
        return {}

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.instance = cls.start(
            {"modelserver.repository": str(tiny_models.make_repository(cls.folder / "models")),
             "pipelines": {"faces_in_people": {"model": "people", "each": [{"model": "faces_cascade"}]}},
             "analyze": ["faces_in_people", "faces_cascade", "nobody", "colours", "fingerprint"],
             "nginx.rate_per_s": 0, **cls.settings()}, cleanup=cls.addClassCleanup)
        cls.origin = f"https://localhost:{cls.instance.port}"
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.quit)
        cls.browser.command("Browser.grantPermissions",
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

    def choose(self, *paths):
        self.browser.one("file").send_keys("\n".join(map(str, paths)))

    def bring(self, kind, *files):
        self.browser.run(BRING, kind, [(name, media, base64.b64encode(content).decode())
                                       for name, media, content in files])

    def asked(self):
        return self.browser.run(
            "return performance.getEntriesByType('resource').filter(({name}) => name.includes('/predict/')).length")

    def results(self):
        """Of each picture its name, what came of it, and whether it is the one that is shown."""
        return [(*(button.find_element(By.CLASS_NAME, part).text for part in ("name", "result")),
                 button.get_attribute("aria-pressed") == "true") for button in self.browser.all("#strip button")]

    def all_done(self, count):
        self.browser.wait(lambda: self.browser.text("many-title").startswith(f"{count} pictures"), "all are done")

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


class CodeTest(PageTest):
    """One that runs the code that the page gives."""

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

    def execute(self, tab, code, folder, **variables):
        """Pasted into a shell, or into a file that is run."""
        command = {"curl": ["bash", "-c", code], "javascript": ["node", "--input-type=module", "-e", code],
                   "python": ["/usr/bin/python3", "-c", code], "requests": ["/usr/bin/python3", "-c", code]}[tab]
        environment = {name: value for name, value in os.environ.items() if name not in TRUSTING}
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
                              env={**environment, "no_proxy": "localhost", **variables})
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout)

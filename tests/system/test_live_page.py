"""The wall of cameras, as a person uses it, in a real Chromium. A test is the owner of the cameras."""

import hashlib
import io
import json
import tempfile
import threading
import unittest
from pathlib import Path

from PIL import Image, ImageDraw
from selenium.webdriver.common.keys import Keys

from browser import Browser
from camera_owner import FOUND, NOTHING, Owner, settings, start_redis
from harness import SystemTest
from page import PALE, SMALL, WIDE

CAMERAS = ["door-3", "hall", "loading bay", "yard"]
GROUNDS = {"door-3": "#46606b", "hall": "#6b5a46", "loading bay": "#4d6b46", "yard": "#5a466b"}


def snapshot(camera, step):
    """A drawn frame: somebody who walks, in a box."""
    picture = Image.new("RGB", (640, 360), GROUNDS.get(camera, "#555555"))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 250, 640, 360), fill="#333b40")
    x = 40 + step * 20 % 480
    draw.ellipse((x + 30, 110, x + 70, 150), fill="#e8c9a8")
    draw.rectangle((x + 25, 150, x + 75, 260), fill="#b0413e")
    draw.rectangle((x, 95, x + 100, 300), outline="#009e73", width=4)
    draw.rectangle((x, 75, x + 100, 95), fill="#009e73")
    draw.text((x + 6, 79), "person 0.90", fill="white")
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()


class Cameras:
    """Answers for cameras, some times a second, until it is stopped."""

    def __init__(self, redis, cameras, every_s=0.25):
        self.owner = Owner(redis)
        self.cameras = list(cameras)
        self.owner.name(*self.cameras)
        self.every_s = every_s
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        step = 0
        while not self.ended.wait(self.every_s):
            step += 1
            try:
                for camera in self.cameras:
                    self.owner.ledger(camera, produced=step * 2, published=step, superseded=step - 1, pending=1)
                    if step % 4 == 0 and self.owner.is_looked_at(camera):
                        self.owner.snapshot(camera, snapshot(camera, step))
                    self.owner.answer(camera, NOTHING if camera == "hall" else FOUND)
            except OSError:
                pass  # Redis is away, as some tests want it

    def stop(self):
        self.ended.set()
        self.thread.join()
        self.owner.close()


class PageTest(SystemTest):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.quit)
        cls.shots = Path(tempfile.mkdtemp(prefix="inferpool-live-"))
        print(f"screenshots are in {cls.shots}")

    def open(self, path="/live", **options):
        self.browser.open(f"https://localhost:{self.instance.port}{path}", **options)

    def shown(self):
        """Of each tile its name, badge and pace, and whether it has a picture."""
        return self.browser.run("""return [...document.querySelectorAll(".tile")].map((tile) => [
            tile.querySelector(".name").textContent, tile.querySelector(".badge").textContent,
            tile.querySelector(".pace").textContent,
            tile.querySelector("img").naturalWidth > 0 && !tile.querySelector("img").hidden]);""")

    def await_wall(self, names=CAMERAS):
        return self.browser.wait(
            lambda: (tiles := self.shown()) and [tile[0] for tile in tiles] == list(names)
            and all(tile[3] for tile in tiles) and tiles, "each camera has its picture")

    def summary(self, *parts):
        self.browser.wait(lambda: all(part in self.browser.text("summary") for part in parts), f"it says {parts}")

    def assert_fits(self):
        self.assertEqual([], self.browser.run(WIDE))
        self.assertEqual([], self.browser.run(SMALL))
        self.assertEqual([], self.browser.run(PALE))


class CamerasTest(PageTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.redis = start_redis(cls.addClassCleanup)
        cls.cameras = Cameras(cls.redis, CAMERAS)
        cls.addClassCleanup(cls.cameras.stop)
        cls.instance = cls.start(settings(cls.redis), cleanup=cls.addClassCleanup)


class WallTest(CamerasTest):
    def test_a_wall_of_pictures_with_rate_and_lag(self):
        self.open()
        self.await_wall()
        self.browser.wait(lambda: all(tile[1] == "live" and "a second" in tile[2] and "0.12 s behind" in tile[2]
                                      for tile in self.shown()), "all are live")
        self.summary("4 cameras")
        self.browser.screenshot(self.shots / "wall.png")
        before = self.browser.run("return document.querySelector('.tile img').src")
        self.browser.wait(lambda: self.browser.run("return document.querySelector('.tile img').src") != before,
                          "the pictures go on")
        self.assert_fits()
        self.assertEqual([], self.browser.complaints())

    def test_every_width_and_the_dark(self):
        for width, height, scheme in ((360, 740, "light"), (360, 740, "dark"), (390, 844, "dark"), (1280, 800, "dark"),
                                      (1920, 1080, "light")):
            with self.subTest(width=width, scheme=scheme):
                self.open(width=width, height=height, prefers_color_scheme=scheme)
                self.browser.wait(lambda: self.shown() and self.shown()[0][3], "there is a picture")
                self.assert_fits()
                small = self.browser.run("""return [...document.querySelectorAll("button, a, input")]
                    .filter((one) => one.checkVisibility() && !one.closest(".skip") && one.getBoundingClientRect().height < 44)
                    .map((one) => one.outerHTML);""")
                self.assertEqual([], small)
                self.browser.screenshot(self.shots / f"wall-{width}-{scheme}.png")
                self.browser.all(".tile")[0].click()
                self.browser.wait(lambda: self.browser.run("return !document.getElementById('large-image').hidden"),
                                  "it is large")
                self.browser.wait(lambda: "1 thing" in self.browser.text("found-text"), "what was found is said")
                self.assert_fits()
                self.browser.screenshot(self.shots / f"large-{width}-{scheme}.png")
        self.assertEqual([], self.browser.complaints())

    def test_a_click_enlarges_and_keys_go_on(self):
        self.open()
        self.await_wall()
        self.browser.all(".tile")[1].click()
        self.assertEqual("hall", self.browser.text("large-name"))
        self.browser.wait(lambda: self.browser.text("found-text") == "Nothing", "nothing is found there")
        self.browser.press(Keys.ARROW_RIGHT)
        self.assertEqual("loading bay", self.browser.text("large-name"))
        self.browser.wait(lambda: self.browser.text("found").split() == ["person", "90%"], "a person is found there")
        self.browser.press(Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
        self.assertEqual("yard", self.browser.text("large-name"))
        self.browser.one("after").click()
        self.assertEqual("door-3", self.browser.text("large-name"))
        answer = self.browser.wait(lambda: self.browser.one("json").get_property("textContent"), "the answer is there")
        first = json.loads(answer)["frame"]["seq"]
        self.browser.wait(lambda: json.loads(self.browser.one("json").get_property("textContent") or "{}")
                          .get("frame", {}).get("seq", 0) > first, "events come")
        self.browser.press(Keys.ESCAPE)
        self.assertFalse(self.browser.one("large").is_displayed())
        self.browser.press(Keys.ENTER)  # the focus is where it was
        self.assertTrue(self.browser.one("large").is_displayed())
        self.browser.one("close").click()

    def test_what_became_of_the_pictures_is_told(self):
        self.open()
        self.await_wall()
        self.browser.all(".tile")[0].click()
        self.browser.all("#large summary")[0].click()
        self.browser.wait(lambda: "Left out for a newer one" in self.browser.text("ledger"), "the ledger is shown")
        self.assertIn("Pictures that wait", self.browser.text("pace"))


class OtherCamerasTest(CamerasTest):
    """Who adds cameras: those that were answered once stay on the wall for a while."""

    def test_names_are_names_and_no_html(self):
        name = "<img src=x onerror=alert(1)>&/é"
        self.cameras.owner.name(name)
        self.addCleanup(self.cameras.owner, "SREM", "inferpool:cameras", name)
        self.open()
        self.browser.wait(lambda: name in [tile[0] for tile in self.shown()], "it is there")
        self.cameras.owner.snapshot(name, snapshot(name, 1))
        self.cameras.owner.answer(name)
        self.browser.wait(lambda: next(tile for tile in self.shown() if tile[0] == name)[3], "it has its picture")
        self.assertEqual([], self.browser.complaints())

    def test_a_camera_that_is_silent_is_marked_and_one_that_is_broken(self):
        owner = self.cameras.owner
        owner.name("broken", "silent")
        self.addCleanup(owner, "SREM", "inferpool:cameras", "broken", "silent")
        owner.answer("silent", age_ms=60_000)
        owner.answer("broken", {"detail": "damaged JPEG", "status": 422}, status=422)
        self.open()
        self.browser.wait(lambda: ("silent, 1 min ago" in str(self.shown())), "the silent one is told")
        owner.answer("broken", {"detail": "damaged JPEG", "status": 422}, status=422)
        self.browser.wait(lambda: "cannot be used" in str(self.shown()), "the broken one is told")


class StatesTest(PageTest):
    def start_with(self, **more):
        self.redis = start_redis(self.addCleanup)
        self.instance = self.start(settings(self.redis, **more), cleanup=self.addCleanup)

    def test_there_is_no_camera(self):
        self.start_with()
        self.open(width=390, height=844)
        self.browser.wait(lambda: self.browser.text("none-title") == "There is no camera yet", "it says so")
        self.assertIn("inferpool-feed", self.browser.text("none-code"))
        self.assert_fits()
        self.browser.screenshot(self.shots / "empty.png")
        cameras = Cameras(self.redis, ["yard"])
        self.addCleanup(cameras.stop)
        self.await_wall(["yard"])
        self.assertFalse(self.browser.one("none").is_displayed())

    def test_streams_are_off(self):
        self.instance = self.start({"workers": 1}, cleanup=self.addCleanup)
        self.open()
        self.browser.wait(lambda: self.browser.text("none-title") == "Cameras are switched off here", "it says so")
        self.assertIn("streams.workers", self.browser.text("none-detail"))
        self.assert_fits()
        self.browser.screenshot(self.shots / "off.png")

    def test_redis_goes_and_comes_back(self):
        self.start_with()
        cameras = Cameras(self.redis, ["yard", "hall"])
        self.addCleanup(cameras.stop)
        self.open()
        self.await_wall(["hall", "yard"])
        self.redis.kill()
        self.summary("Redis", "away")
        self.browser.wait(lambda: [tile[1] for tile in self.shown()] == ["old", "old"], "what was shown stays, as old")
        self.assert_fits()
        self.browser.screenshot(self.shots / "away.png")
        self.redis.start()
        self.summary("2 cameras")

    def test_the_server_goes_and_comes_back(self):
        self.start_with()
        cameras = Cameras(self.redis, ["yard"])
        self.addCleanup(cameras.stop)
        self.open()
        self.await_wall(["yard"])
        self.instance.stop_nginx()
        self.browser.wait(lambda: self.browser.text("problem-title") == "The server cannot be reached", "it says so")
        self.assertEqual(1, len(self.shown()), "what was shown stays")
        self.browser.screenshot(self.shots / "gone.png")
        self.instance.start_nginx()
        self.browser.wait(lambda: not self.browser.one("problem").is_displayed(), "it goes on by itself")
        self.summary("1 camera")

    def test_a_key_is_asked_for(self):
        folder = tempfile.TemporaryDirectory(prefix="ipkeys", dir="/tmp")
        self.addCleanup(folder.cleanup)
        keys = Path(folder.name) / "keys.json"
        keys.write_text(json.dumps({"keys": [{"name": "doors", "cameras": ["door-*"],
                                              "sha256": hashlib.sha256(b"secret").hexdigest()}]}))
        keys.chmod(0o644)
        self.start_with(**{"auth.keys_file": str(keys)})
        cameras = Cameras(self.redis, CAMERAS)
        self.addCleanup(cameras.stop)
        self.open(width=390, height=844)
        self.browser.wait(lambda: self.browser.one("key-form").is_displayed(), "a key is asked for")
        self.assert_fits()
        self.browser.screenshot(self.shots / "key.png")
        self.browser.one("key").send_keys("wrong", Keys.ENTER)
        self.browser.wait(lambda: self.browser.one("problem").is_displayed(), "a wrong one is refused")
        self.browser.one("key").clear()
        self.browser.one("key").send_keys("secret", Keys.ENTER)
        self.await_wall(["door-3"])
        self.browser.all(".tile")[0].click()
        self.browser.wait(lambda: "1 thing" in self.browser.text("found-text"), "events come with the key")
        self.assertTrue(self.browser.run("return document.getElementById('before').disabled"))

    def test_many_cameras_are_shown_in_parts_and_found_by_name(self):
        self.start_with()
        Owner(self.redis).name(*(f"camera {i:03}" for i in range(150)))
        self.open()
        self.browser.wait(lambda: len(self.shown()) == 60, "a part is shown")
        self.assertIn("60 of 150", self.browser.text("rest-text"))
        self.browser.one("more").click()
        self.browser.wait(lambda: len(self.shown()) == 120, "more are shown")
        self.browser.one("filter").send_keys("A 07")
        self.browser.wait(lambda: [tile[0] for tile in self.shown()] == [f"camera {i:03}" for i in range(70, 80)],
                          "those are found")
        self.browser.one("filter").send_keys("x")
        self.browser.wait(lambda: self.browser.text("rest-text") == "No camera has such a name.", "none is found")
        self.assert_fits()
        self.browser.screenshot(self.shots / "filter.png")


if __name__ == "__main__":
    unittest.main()

"""The pages for people, as a person uses them, in a real Chromium."""

import json
import unittest

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

import pictures
from page import PALE, SMALL, WIDE, PageTest, same
from pictures import ASTRONAUT, ASTRONAUT_FACE

DAMAGED = ASTRONAUT[:20_000]  # which browsers show as far as it goes, and the server refuses
BMP = pictures.plain(40, 30, "BMP")  # which browsers show, and the server does not take


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
        shown = {row.find_element(By.TAG_NAME, "dt").get_attribute("class"): row.find_element(By.TAG_NAME, "dd").text
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
                self.bring(kind, ("face.jpg", "image/jpeg", ASTRONAUT))
                answer = self.shown()
                self.assertEqual(1, len(answer["detections"]))
                self.assert_boxes_lie_where_the_api_says(answer)
                self.assertIn("face.jpg", self.browser.text("snippet"))

    def test_while_something_is_dragged_the_page_says_where_to_drop_it(self):
        self.open()
        self.bring("dragenter")
        self.assertTrue(self.browser.all(".drop-here")[0].is_displayed())
        self.bring("drop")  # a text, for one
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
        self.assertEqual(["colours", "faces_cascade", "fingerprint", "letter", "people", "shapes",
                          "unusable: cannot be used here", "faces_in_people", "everything"], options)
        self.sample()
        self.pick("shapes")
        self.browser.wait(lambda: self.shown()["model"]["name"] == "shapes", "shapes is asked")
        self.assertIn("circle, square, triangle and star", self.browser.text("about"))
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
        self.browser.wait(lambda: len(self.browser.all("#model option")) == 4, "the models are there")
        self.assertEqual("objects", self.browser.one("model").get_property("value"))

    def test_everything_asks_several_models_and_draws_what_all_find(self):
        self.open()
        self.pick("everything")
        results = self.sample()["results"]
        self.assertEqual(["faces_in_people", "faces_cascade", "colours", "fingerprint"], list(results))
        self.assertIn("all that they find", self.browser.text("about"))
        faces = results["faces_cascade"]["detections"]
        people = results["faces_in_people"]["detections"]
        inner = [face for person in people for face in person["found"]["faces_cascade"]["detections"]]
        found = [one for one in faces + people + inner if one["confidence"] >= 0.25]
        self.assertGreater(len(faces), 0)
        self.assertEqual(len(found), len(self.browser.all("#rows tr")))
        self.assertEqual(len(found), len(self.browser.all(".found")))
        summary = self.browser.text("summary")
        self.assertIn("face", summary)
        self.assertIn(f"colours: {results['colours']['classes'][0]['class_name']}.", summary)
        self.assertIn("fingerprint: 3 numbers.", summary)
        self.assertIn("/v1/analyze?confidence=0.25", self.browser.text("snippet"))
        self.pick("faces_in_people")
        self.browser.wait(lambda: self.shown().get("model", {}).get("name") == "faces_in_people", "the pipeline is asked")
        self.assertIn("Asks people and faces_cascade", self.browser.text("about"))

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
        self.choose(self.file("damaged.jpg", DAMAGED))
        title, detail = self.problem()
        expected = self.instance.predict("faces_cascade", DAMAGED).json()
        self.assertEqual((expected["title"], expected["detail"]), (title, detail))
        self.assertRegex(self.browser.text("problem-id"), r"^Status 422, request \w+$")
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

    def test_what_only_the_browser_can_read_is_sent_as_a_jpeg(self):
        """As a HEIC picture is in Safari."""
        self.open()
        self.choose(self.file("photo.heic", BMP))
        self.assertEqual({"width": 40, "height": 30}, self.shown()["image"])
        self.assertFalse(self.browser.one("problem").is_displayed())

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
        self.assertIn("node:https", self.browser.text("snippet"))
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
                    self.choose(self.file("damaged.jpg", DAMAGED))
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

    # ------------------------------------------------------------ for those who see it for the first time

    def test_the_picker_offers_what_the_server_takes_jpeg_first(self):
        self.open()
        file = self.browser.one("file")
        # Of a HEIC picture Safari makes the first type that is listed, if HEIC is not.
        self.assertEqual("image/jpeg,image/png,image/webp,image/gif", file.get_attribute("accept"))
        self.assertEqual("true", file.get_attribute("multiple"))
        self.assertIn("HEIC", self.browser.text("formats"))

    def test_what_was_found_stands_before_the_settings_and_buttons_above_the_picture(self):
        for width, height in ((360, 740), (768, 1024), (1280, 800), (1920, 1080)):
            with self.subTest(width=width):
                self.open(width=width, height=height)
                self.sample()
                top = lambda name: self.browser.run("return document.getElementById(arguments[0]).getBoundingClientRect().top", name)
                order = [top(name) for name in ("results", "model", "timing", "snippet")]
                self.assertEqual(sorted(order), order)
                for name in ("file", "sample", "camera", "save"):
                    self.assertLess(top(name), top("frame"))
                self.assertLess(top("frame"), height)
                if width == 360:
                    self.assertLess(top("frame"), top("results"))

    def test_nothing_is_said_in_the_words_of_programs(self):
        self.open()
        for model in ("faces_cascade", "shapes", "colours", "fingerprint", "letter"):
            self.pick(model)
            answer = self.sample()
            family = self.instance.request("GET", f"/v1/models/{model}").json()["family"]
            with self.subTest(model, family=family):
                words = self.browser.text("about")
                self.assertGreater(len(words), 30)
                self.assertNotRegex(words, r"(?i)family|_|tensor|yolo|infer")
                self.assertNotIn(family, " ".join(self.browser.text(name) for name in ("summary", "results"))
                                 if family != "embedding" else "")
                self.assertEqual(model, answer["model"]["name"])

    def test_a_model_that_cannot_be_chosen_says_why(self):
        self.open()
        why = self.instance.request("GET", "/v1/models/unusable").json()["unusable"]
        (option,) = [one for one in self.browser.all("#model option") if one.text.startswith("unusable")]
        self.assertEqual(("unusable: cannot be used here", False), (option.text, option.is_enabled()))
        self.assertTrue(self.browser.one("unusable").is_displayed())
        self.assertIn(why, self.browser.text("unusable"))
        self.assertIn("unusable", self.browser.one("model").get_attribute("aria-describedby").split())

    def test_without_a_model_it_says_what_to_do_and_shows_the_picture(self):
        self.open()
        script = self.browser.command("Page.addScriptToEvaluateOnNewDocument", source="""
            window.models = []; const real = window.fetch;
            window.fetch = (path, options) => path.endsWith("v1/models") && window.models
              ? Promise.resolve(new Response(JSON.stringify({ models: window.models }))) : real(path, options);""")
        self.addCleanup(self.browser.command, "Page.removeScriptToEvaluateOnNewDocument", **script)
        self.browser.driver.refresh()
        title, detail = self.problem()
        self.assertEqual("No model is ready", title)
        self.assertIn("try again", detail)
        self.choose(self.file("early.jpg", ASTRONAUT))
        self.browser.wait(lambda: "early.jpg, 512 × 512" in self.browser.text("caption"), "it is shown")
        self.assertEqual("No model is ready", self.problem()[0])
        self.browser.screenshot(self.shots / "no-model.png")
        self.browser.run("window.models = null")
        self.browser.one("again").click()
        self.assertEqual("faces_cascade", self.shown()["model"]["name"])

    def test_text_can_be_read_buttons_can_be_hit_and_nothing_is_too_wide(self):
        for width, height in ((360, 740), (768, 1024), (1280, 800), (1920, 1080), (2560, 1440)):
            self.open(width=width, height=height, model="shapes")
            self.choose(self.file("one.jpg", ASTRONAUT), self.file("a_long_name_" + 60 * "x" + ".jpg", ASTRONAUT[:20_000]))
            self.all_done(2)
            with self.subTest(width=width):
                self.assertEqual([], self.browser.run(SMALL))
                self.assertEqual([], self.browser.run(WIDE))
                self.assertEqual([], self.browser.run("""
                    return [...document.querySelectorAll("button, .button, select, input, .top a")]
                      .filter((one) => one.checkVisibility() && !one.matches(".hidden-input") && one.getBoundingClientRect().height < 44)
                      .map((one) => one.id || one.textContent);"""))


if __name__ == "__main__":
    unittest.main()

"""Answers that are given again: the same ones, from any worker, and never another's."""

import os
import random
import signal
import time
import unittest

import pictures
from harness import SystemTest, inferpool
from pictures import ASTRONAUT
from processes import eventually


def different(number):
    """Pictures that are quick to search, each with its own bytes."""
    return pictures.plain(64 + number % 32, 64 + number // 32)


class CacheTest(SystemTest):
    SETTINGS = {"cache.entries": 64, "workers": 3, "nginx.rate_per_s": 0, "log.access": True}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.instance.wait_workers()

    def ask(self, picture, outcome=None, query="", model="faces_cascade", headers=None):
        answer = self.instance.predict(model, picture, query, headers=headers)
        self.assertEqual(200, answer.status, answer.body[:300])
        if outcome is not None:
            self.assertEqual(outcome, answer.header("X-Cache"))
        return answer

    def counted(self, outcome):
        return self.instance.metrics().value("inferpool_cache_requests_total", outcome=outcome)

    def test_the_second_answer_is_the_first_but_for_what_is_its_own(self):
        hits, misses = self.counted("hit"), self.counted("miss")
        first = self.assert_good(self.ask(ASTRONAUT, "MISS", "confidence=0.4"))
        answer = self.ask(ASTRONAUT, "HIT", "confidence=0.4")
        second = self.assert_good(answer)
        self.assertNotEqual(first.pop("request_id"), second.pop("request_id"))
        self.assertEqual(0, second.pop("timing_ms")["infer"])
        self.assertGreater(first.pop("timing_ms")["infer"], 0)
        self.assertEqual(first, second)
        self.assertEqual(1, len(second["detections"]))
        self.assertEqual((hits + 1, misses + 1), (self.counted("hit"), self.counted("miss")))

    def test_another_question_is_another_answer(self):
        self.ask(ASTRONAUT, None)
        for query, model, picture in (("iou=0.3", "faces_cascade", ASTRONAUT),
                                      ("max_detections=1", "faces_cascade", ASTRONAUT),
                                      ("coordinates=normalized", "faces_cascade", ASTRONAUT),
                                      ("confidence=0.99", "faces_cascade", ASTRONAUT), ("", "people", ASTRONAUT),
                                      ("", "faces_cascade", ASTRONAUT + b"\0")):
            with self.subTest(query=query, model=model):
                first = self.ask(picture, "MISS", query, model)
                self.assertEqual(first.detections, self.ask(picture, "HIT", query, model).detections)

    def test_a_default_that_is_written_out_is_the_same_question(self):
        picture = different(900)
        self.ask(picture, "MISS")
        self.ask(picture, "HIT", "confidence=0.25&iou=0.45")

    def test_drawn_pictures_are_kept_too(self):
        first = self.ask(ASTRONAUT, "MISS", "render=png")
        second = self.ask(ASTRONAUT, "HIT", "render=png")
        self.assertEqual(first.body, second.body)
        self.assertEqual("image/png", second.header("Content-Type"))
        jpeg = self.ask(ASTRONAUT, "MISS", headers={"Accept": "image/jpeg"})
        self.assertEqual("image/jpeg", jpeg.header("Content-Type"))
        self.ask(ASTRONAUT, "HIT", "render=jpeg")

    def test_problems_are_not_kept(self):
        for _ in range(3):
            answer = self.instance.predict("faces_cascade", ASTRONAUT[:2000])
            self.assert_problem(answer, 422)
            self.assertEqual("MISS", answer.header("X-Cache"))
        for _ in range(2):
            answer = self.instance.predict("nothing", ASTRONAUT)
            self.assert_problem(answer, 404, "unknown-model")
            self.assertNotEqual("HIT", answer.header("X-Cache"))

    def test_all_workers_have_the_same_answers(self):
        picture = different(700)
        self.ask(picture, "MISS")

        def all_have_answered():
            for _ in range(10):
                self.ask(picture, "HIT")
            served = {line["role"] for line in self.instance.log()
                      if line.get("event") == "request" and "infer" not in line["stages"]
                      and line["status"] == 200}
            return len(served) >= 2
        eventually(all_have_answered, "several workers gave it")

    def test_there_are_never_more_than_entries(self):
        for number in range(200):
            self.ask(different(number))
        files = [path for path in (self.instance.state / "children/cache").rglob("*") if path.is_file()]
        self.assertLessEqual(len(files), 64)
        self.assertGreater(len(files), 32)

    def test_the_cache_outlives_workers_that_are_killed_in_the_middle(self):
        expected = {number: self.ask(different(300 + number)).json()["image"] for number in range(30)}
        randomly = random.Random(1)
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            os.kill(randomly.choice(self.instance.wait_workers()), signal.SIGKILL)
            for _ in range(20):
                number = randomly.randrange(30)
                self.assertEqual(expected[number], self.ask(different(300 + number)).json()["image"])
        self.instance.wait_workers()
        self.ask(different(300))
        self.ask(different(300), "HIT")


class OtherCachesTest(SystemTest):
    def test_an_answer_ends_with_its_time(self):
        self.instance = self.start({"cache.entries": 8, "cache.ttl_s": 2}, cleanup=self.addCleanup)
        self.assertEqual("MISS", self.instance.predict("faces_cascade", different(0)).header("X-Cache"))
        eventually(lambda: self.instance.predict("faces_cascade", different(0)).header("X-Cache") == "MISS",
                   "it is forgotten")

    def test_without_a_cache_nothing_is_said_and_nothing_kept(self):
        self.instance = self.start({"cache.entries": 4}, cleanup=self.addCleanup)
        folder = self.instance.state / "children/cache"
        self.instance.predict("faces_cascade", different(0))
        self.assertEqual(1, sum(path.is_file() for path in folder.rglob("*")))
        config = self.instance.config_file
        config.write_text(config.read_text().replace('"entries": 4', '"entries": 0'))
        done = inferpool("reload", "--state", self.instance.state)
        self.assertEqual(0, done.returncode, done.stderr)
        for _ in range(4):
            answer = self.instance.predict("faces_cascade", different(0))
            self.assert_good(answer)
            self.assertIsNone(answer.header("X-Cache"))
        self.assertEqual([], [path for path in folder.rglob("*") if path.is_file()])


if __name__ == "__main__":
    unittest.main()

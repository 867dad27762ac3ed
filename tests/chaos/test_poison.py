"""A poisonous picture costs one worker, once; whoever shares the worker with it is answered."""

import concurrent.futures
import json
import signal
import unittest

from chaos import QUERY, ChaosTest  # it knows where the helpers are
import harness
import pictures
from http_client import multipart
from processes import eventually


def poison(fault, side):
    """A picture of its own for each `side`."""
    whole = pictures.astronaut().resize((side, side))
    return pictures.encode(whole, "JPEG") + b"inferpool-fault:" + fault


class PoisonTest(ChaosTest):
    def send(self, picture, request_id="poison"):
        return self.pool.predict("faces_cascade", picture, headers={"X-Request-ID": request_id})

    def assert_refused(self, answer):
        problem = self.assert_problem(answer, 422, "quarantined")
        self.assertEqual("this input crashed a worker", problem["title"].lower())

    def wait_crashes(self, count):
        """The answer comes when the worker has died, the count when the master has noticed."""
        eventually(lambda: self.pool.crashes() == count, f"{count} workers have crashed")

    def assert_repeats_cost_nothing(self, picture):
        """One by one, many at once, and as a form's field."""
        for _ in range(5):
            answer = self.send(picture)
            self.assert_refused(answer)
            self.assertLess(answer.seconds, 2)
        with concurrent.futures.ThreadPoolExecutor(10) as clients:
            for answer in clients.map(self.send, [picture] * 20):
                self.assert_refused(answer)
        body, content_type = multipart([("image", picture, "x.jpg")])
        self.assert_refused(self.pool.predict("faces_cascade", body, content_type=content_type))

    def reports(self):
        return {report["request_id"]: report for report in
                (json.loads(path.read_text()) for path in (self.pool.state / "crashes").glob("*.json"))}

    def assert_reported(self, name, signal_name, frame, stuck=False):
        """The crash report says who it was, and the quarantine holds what it was."""
        report = eventually(lambda: self.reports().get(name), "the crash report")
        self.assertEqual((signal_name, "faces_cascade", stuck),
                         (report["signal"], report["model"], report["stuck"]))
        self.assertRegex(report["digest"], "^[0-9a-f]{32}$")
        self.assertGreaterEqual(report["served"], 0)
        self.assertGreater(report["age_s"], 0)
        [culprit] = [thread for thread in report["threads"]
                     if thread["thread"] == report["crashed_thread"]]
        self.assertEqual((name, report["digest"]), (culprit["request_id"], culprit["digest"]))
        self.assertTrue(any(frame in line for line in culprit["backtrace"]), culprit["backtrace"])
        held = {entry["request_id"]: entry for entry in self.pool.status()["quarantine"]}
        self.assertEqual((report["digest"], "faces_cascade"), (held[name]["digest"], held[name]["model"]))
        return report

    def test_poison_among_innocents(self):
        self.begin({"workers": 3})
        kinds = ((b"crash", "SIGSEGV", "InjectFault"), (b"abort", "SIGABRT", "InjectFault"))
        with self.chaos(lossy=True, clients=8) as (load, _):
            for number, (fault, signal_name, frame) in enumerate(kinds):
                picture = poison(fault, 100 + number)
                name = f"first-{number}"
                # nginx sends it again when its worker has died: the next one knows it.
                self.assert_refused(self.send(picture, name))
                self.wait_crashes(number + 1)
                self.assert_repeats_cost_nothing(picture)
                self.assert_reported(name, signal_name, frame)
                load.wait_right()
        self.assertEqual(len(kinds), self.pool.crashes())
        self.assertEqual(len(kinds), len(self.reports()))

    def test_a_picture_that_hangs(self):
        self.begin({"workers": 2, "timeouts.request_s": 2})
        picture = poison(b"hang", 110)
        with self.chaos(lossy=True, clients=8) as (load, watch):
            self.assert_refused(self.send(picture, "hanging"))
            self.assert_repeats_cost_nothing(picture)
            report = self.assert_reported("hanging", "SIGABRT", "nanosleep", stuck=True)
            # So did every other thread that was still there: the others have drained.
            self.assertTrue(all(thread["backtrace"] for thread in report["threads"]))
            logged = self.pool.events("backtrace", worker=report["worker"])
            self.assertEqual(len(report["threads"]), len(logged))
        self.assertEqual(1, self.pool.crashes())
        self.assertEqual(1, len(self.reports()))
        self.assert_never(watch, lambda gauges: gauges["ready"] < 2, "a worker missing")

    def test_a_batch_with_a_picture_that_hangs(self):
        """Whichever of the batch's threads has it."""
        self.begin({"workers": 2, "timeouts.request_s": 2})
        good = self.album.pictures[0]
        form, form_type = multipart([("images", picture, "x.jpg")
                                     for picture in [good] * 3 + [poison(b"hang", 140)] + [good] * 3])
        answer = self.pool.request("POST", f"/v1/predict/faces_cascade/batch?{QUERY}", form,
                                   {"Content-Type": form_type, "X-Request-ID": "hanging-batch"})
        self.assertEqual(200, answer.status, answer.body)
        results = answer.json()["results"]
        self.assertEqual([200] * 3 + [422] + [200] * 3, [result["status"] for result in results])
        self.assertEqual("quarantined", results[3]["problem"]["code"])
        expected = self.album.answers[0]["detections"]
        self.assertEqual([expected] * 6, [result["detections"] for result in results[:3] + results[4:]])
        self.wait_crashes(1)
        report = eventually(lambda: self.reports().get("hanging-batch"), "the crash report")
        self.assertTrue(report["stuck"])
        [held] = self.pool.status()["quarantine"]
        self.assertEqual(report["digest"], held["digest"])

    def test_innocents_in_the_worker_that_dies_are_answered(self):
        """They wait in the same worker, for a frozen model server, when it crashes."""
        self.begin({"workers": 1, "threads": 8})
        frozen = self.pool.stop_modelserver()
        with concurrent.futures.ThreadPoolExecutor(6) as clients:
            innocents = [clients.submit(self.pool.predict, "faces_cascade", picture, QUERY)
                         for picture in self.album.pictures[:6]]
            self.pool.wait_in_work(6)
            self.assert_refused(self.send(poison(b"crash", 120)))
            self.pool.kill(frozen, signal.SIGCONT)
            for expected, innocent in zip(self.album.answers, innocents):
                self.assertEqual(expected["detections"],
                                 self.assert_good(innocent.result())["detections"])
        self.wait_crashes(1)

    def test_the_quarantine_is_cleared_or_ends(self):
        self.begin({"workers": 2})
        picture = poison(b"abort", 130)
        with self.chaos(lossy=True):
            self.assert_refused(self.send(picture, "once"))
            self.assertIn("once", harness.inferpool("quarantine", "list", "--state",
                                                    self.pool.state).stdout)
            self.assertTrue(self.pool.command("quarantine clear")["ok"])
            self.assertTrue(self.pool.reload(quarantine__ttl_s=2)["ok"])
            self.assert_refused(self.send(picture, "twice"))
            self.wait_crashes(2)
            eventually(lambda: not self.pool.status()["quarantine"], "its time is over")
            self.assert_refused(self.send(picture, "thrice"))
        self.wait_crashes(3)


if __name__ == "__main__":
    unittest.main()

"""Cameras' frames in by Redis Streams and answers out, with a real Redis and a real pool."""

import json
import os
import signal
import time
import unittest

from PIL import Image

import drawn_shapes
import pictures
import processes
from harness import SystemTest, inferpool
from model_servers import ModelServer, outside
from processes import eventually
from redis_server import (Camera, RedisServer, frames_key, ledger, results, shard_of, tag, unbalanced, wait_answers)

# A cascade that is done with a small picture at once.
FAST = {"streams.model": "faces_cascade", "streams.workers": 2, "workers": 1, "threads": 4}
SMALL = pictures.plain(64, 64, "JPEG")


class StreamsTest(SystemTest):
    OPTIONS = ()
    MORE = {}

    def setUp(self):
        self.redis = RedisServer(*self.OPTIONS)
        self.addCleanup(self.redis.destroy)
        self.client = self.redis.connect()
        self.addCleanup(self.client.close)

    def begin(self, settings=None, cameras=()):
        for camera in cameras:
            self.client("SADD", "inferpool:cameras", camera.name)
        self.instance = self.start({**FAST, "streams.redis": self.redis.address, **(settings or {})},
                                   cleanup=self.addCleanup, nginx=False)
        return cameras

    def ingest_pids(self):
        alive = processes.children(self.instance.serve.pid)
        return [line["pid"] for line in self.instance.log()
                if line.get("event") == "ingest ready" and line["pid"] in alive]

    def events(self, event):
        """Of all shards."""
        return self.instance.metrics().sum("inferpool_stream_events_total", event=event)

    def wait_answers(self, cameras):
        return wait_answers(self, self.client, cameras)

    def assert_ledger(self, cameras, **ends):
        self.assertEqual({}, unbalanced(self.client))
        found = ledger(self.client)
        for camera in cameras:
            for end, count in ends.items():
                self.assertEqual(count, found[camera.name][end], (camera.name, end))


class AnswersTest(StreamsTest):
    def test_a_frame_is_answered_as_a_picture_by_http_is(self):
        camera, = self.begin(cameras=[Camera("door-3")])
        before = int(time.time() * 1000)
        entry = camera.put(self.client, pictures.ASTRONAUT)
        answer, = self.wait_answers([camera])["door-3"]
        self.assertEqual(("200", entry.decode()), (answer["status"], answer["frame"]))
        told = json.loads(answer["json"])
        face = told["detections"][0]
        box = face.get("box") or face.get("bbox") or face
        self.assertGreater(pictures.intersection_over_union(box, pictures.ASTRONAUT_FACE), 0.4)
        times = [int(answer[name]) for name in ("captured", "read", "answered")]
        self.assertEqual(times, sorted(times))
        self.assertGreaterEqual(times[0], before)
        self.assertEqual(0, self.client("XLEN", frames_key("door-3")), "the frame is gone")
        self.assert_ledger([camera], produced=1, published=1, pending=0)

    def test_what_is_no_picture_is_answered_and_the_next_frame_comes(self):
        camera, = self.begin({"streams.policy": "all"}, [Camera("a")])
        camera.put(self.client, b"no picture")
        camera.put(self.client, b"")
        camera.put(self.client, SMALL, model="nobody")
        camera.put(self.client, SMALL, parameters="confidence=2")
        camera.put(self.client, SMALL)
        found = self.wait_answers([camera])["a"]
        self.assertEqual(["415", "400", "404", "400", "200"], [answer["status"] for answer in found])
        self.assertEqual("bad-parameter", json.loads(found[3]["json"])["code"])

    def test_pipelines_routes_and_versions_are_asked_as_over_http(self):
        camera, = self.begin(
            {"streams.policy": "all", "routes": {"front": {"model": "faces_cascade"}},
             "pipelines": {"twice": {"model": "faces_cascade", "each": [{"model": "faces_cascade"}]}}},
            [Camera("a")])
        for model in ("twice", "front", "faces_cascade@1", "front@1", "faces_cascade@7"):
            camera.put(self.client, pictures.ASTRONAUT, model=model)
        answers = self.wait_answers([camera])["a"]
        self.assertEqual(["200", "200", "200", "404", "404"], [answer["status"] for answer in answers])
        twice, front, version = (json.loads(answer["json"]) for answer in answers[:3])
        self.assertEqual(["faces_cascade"], list(twice["detections"][0]["found"]))
        self.assertEqual("twice", twice["model"]["name"])
        for answer in (front, version):
            self.assertEqual(("faces_cascade", "1"), (answer["model"]["name"], answer["model"]["version"]))
        self.assertEqual(1, self.instance.metrics().sum("inferpool_route_requests_total", route="front"))

    def test_cameras_come_and_go_without_a_reload(self):
        first, = self.begin(cameras=[Camera("first")])
        first.put(self.client, SMALL)
        self.wait_answers([first])
        second = Camera("second")
        second.put(self.client, SMALL)
        self.client("SADD", "inferpool:cameras", "second")
        self.wait_answers([first, second])
        self.client("SREM", "inferpool:cameras", "first")
        time.sleep(3)
        first.put(self.client, SMALL)
        second.put(self.client, SMALL)
        eventually(lambda: len(results(self.client)["second"]) == 2, "the second has its answer")
        self.assertEqual(1, len(results(self.client)["first"]))

    def test_cameras_and_fields_of_the_configuration(self):
        self.begin({"streams.camera_set": "", "streams.model": "",
                    "streams.cameras": {"a": {"model": "faces_cascade", "policy": "fifo"}},
                    "streams.fields": {"picture": "image", "seq": "number"}})
        for number in range(1, 6):
            self.client("XADD", frames_key("a"), "*", "image", SMALL, "number", number)
        eventually(lambda: len(results(self.client).get("a", ())) == 5, "all are answered")
        self.assertEqual(["1", "2", "3", "4", "5"],
                         [answer["seq"] for answer in results(self.client)["a"]])


class FindingsTest(StreamsTest):
    """A face is found, and nothing is in a plain picture."""

    FACE = pictures.encode(pictures.astronaut().crop((140, 40, 310, 210)), "JPEG")

    def test_only_answers_with_findings_are_stored(self):
        camera, = self.begin({"streams.policy": "all", "streams.results": "findings"}, [Camera("a")])
        for picture in (SMALL, self.FACE, SMALL, b"no picture", SMALL, self.FACE, SMALL):
            camera.put(self.client, picture)
        eventually(lambda: ledger(self.client).get("a", {}).get("published") == 7, "all are published")
        found = results(self.client)["a"]
        self.assertEqual([("2", "200"), ("4", "415"), ("6", "200")],
                         [(answer["seq"], answer["status"]) for answer in found])
        self.assertTrue(json.loads(found[0]["json"])["detections"])
        self.assert_ledger([camera], produced=7, published=7, pending=0)
        self.assertEqual(0, self.client("XLEN", frames_key("a")), "the frames are gone")
        eventually(lambda: self.events("not_stored") == 4 and self.events("answered") == 7, "they are counted")

    def test_a_camera_may_say_so_for_itself(self):
        self.begin({"streams.camera_set": "", "streams.policy": "all",
                    "streams.cameras": {"a": {"results": "findings"}, "b": {}}})
        for camera in (Camera("a"), Camera("b")):
            camera.put(self.client, SMALL)
            camera.put(self.client, self.FACE)
        eventually(lambda: len(results(self.client).get("b", ())) == 2 and "a" in results(self.client),
                   "they are answered")
        self.assertEqual(["2"], [answer["seq"] for answer in results(self.client)["a"]])


class MetricsTest(StreamsTest):
    def test_what_a_slow_group_lost_is_counted(self):
        camera = Camera("a")
        stream = f"{tag(shard_of('a'))}:results"
        self.client("XGROUP", "CREATE", stream, "slow", "0", "MKSTREAM")
        self.begin({"streams.policy": "all", "streams.results_max": 50}, [camera])
        for _ in range(150):
            camera.put(self.client, SMALL)
        eventually(lambda: ledger(self.client).get("a", {}).get("published") == 150, "all are published")
        losses = self.client("HGETALL", f"{tag(shard_of('a'))}:losses")
        self.assertEqual({b"all": b"100", b"group:slow": b"100"}, dict(zip(losses[::2], losses[1::2])))
        eventually(lambda: self.instance.metrics().sum("inferpool_stream_results_lost_total") == 100,
                   "the metric has it")
        status = inferpool("status", "-c", self.instance.config_file).stdout
        self.assertRegex(status, "100 answers lost to slow readers")

    def test_the_lag_and_the_busiest_cameras_are_told(self):
        cameras = [Camera(name) for name in ("busy", "calm", "quiet")]
        self.begin({"streams.policy": "all", "streams.metrics_cameras": 2}, cameras)
        for camera, count in zip(cameras, (30, 20, 10)):
            for _ in range(count):
                camera.put(self.client, SMALL)

        def told():
            metrics = self.instance.metrics()
            return metrics.sum("inferpool_camera_frames", state="published") == 50 and metrics
        metrics = eventually(told, "two are named")
        self.assertEqual(30, metrics.value("inferpool_camera_frames", camera="busy", state="produced"))
        self.assertEqual(0, metrics.sum("inferpool_camera_frames", camera="quiet"))
        self.assertEqual(0, metrics.value("inferpool_camera_waiting", camera="busy"))
        self.assertEqual(0, metrics.sum("inferpool_stream_lag_seconds"))
        self.assertEqual(60, metrics.sum("inferpool_stream_trip_frames_total", way="out"))
        self.assertEqual(60, metrics.sum("inferpool_stream_batch_frames_sum", way="in"))
        self.assertGreaterEqual(metrics.value("inferpool_stream_model_calls_total", event="made"), 1)
        # One waits for a model server that does not answer.
        frozen = self.instance.stop_modelserver()
        cameras[1].put(self.client, SMALL)

        def lags():
            metrics = self.instance.metrics()
            return (metrics.value("inferpool_camera_lag_seconds", camera="calm") > 3
                    and metrics.sum("inferpool_stream_lag_seconds") > 3 and metrics)
        metrics = eventually(lags, "the lag grows")
        self.assertEqual(1, metrics.sum("inferpool_stream_waiting"))
        self.assertEqual(1, metrics.value("inferpool_camera_waiting", camera="calm"))
        os.kill(frozen, signal.SIGCONT)
        eventually(lambda: self.instance.metrics().sum("inferpool_stream_lag_seconds") == 0, "it is answered")


class OwnersTest(StreamsTest):
    def test_eight_cameras_and_two_processes_answer_all_in_order_and_once(self):
        cameras = self.begin({"streams.policy": "all"}, [Camera(f"cam{i}") for i in range(8)])
        for _ in range(50):
            for camera in cameras:
                camera.put(self.client, SMALL)
        self.wait_answers(cameras)
        self.assert_ledger(cameras, produced=50, published=50)
        metrics = self.instance.metrics()
        self.assertEqual(400, sum(value for (name, labels), value in metrics.samples.items()
                                  if name == "inferpool_stream_events_total"
                                  and ("event", "answered") in labels))
        self.assertEqual(2, metrics.value("inferpool_stream_redis_up"))
        self.assertEqual(32, metrics.sum("inferpool_stream_owned"))
        self.assertEqual(2, metrics.value("inferpool_processes", role="ingest", state="ready"))
        status = inferpool("status", "-c", self.instance.config_file).stdout
        self.assertRegex(status, r"ingest +2 of 2 ready")
        self.assertRegex(status, r"streams +2 with Redis, 32 shards, 8 cameras")

    def test_a_killed_process_loses_and_repeats_nothing(self):
        cameras = self.begin({"streams.policy": "all"}, [Camera(f"cam{i}") for i in range(8)])
        eventually(lambda: len(self.ingest_pids()) == 2, "both are there")
        for turn in range(40):
            for camera in cameras:
                camera.put(self.client, SMALL)
            if turn == 20:
                killed_at = time.monotonic()
                os.kill(self.ingest_pids()[0], signal.SIGKILL)
            self.assertEqual({}, unbalanced(self.client))
        self.wait_answers(cameras)
        self.assertLess(time.monotonic() - killed_at, 20)
        self.assert_ledger(cameras, produced=40, published=40)

    def test_a_process_that_was_stopped_publishes_nothing_when_it_goes_on(self):
        cameras = self.begin({"streams.policy": "all"}, [Camera(f"cam{i}") for i in range(8)])
        eventually(lambda: len(self.ingest_pids()) == 2, "both are there")
        victim = self.ingest_pids()[0]
        for turn in range(30):
            for camera in cameras:
                camera.put(self.client, SMALL)
            if turn == 10:
                os.kill(victim, signal.SIGSTOP)
        self.wait_answers(cameras)
        os.kill(victim, signal.SIGCONT)
        for camera in cameras:
            camera.put(self.client, SMALL)
        self.wait_answers(cameras)
        self.assert_ledger(cameras, produced=31, published=31)

    def test_a_reload_hands_over_at_once(self):
        cameras = self.begin({"streams.policy": "all"}, [Camera(f"cam{i}") for i in range(8)])
        for camera in cameras:
            camera.put(self.client, SMALL)
        self.wait_answers(cameras)
        before = set(self.ingest_pids())
        answer = self.instance.reload(**{"predict.confidence": 0.5})
        self.assertEqual(0, answer.returncode, answer.stderr)

        def renewed():
            for camera in cameras:
                camera.put(self.client, SMALL)
            time.sleep(0.05)
            return len(pids := set(self.ingest_pids())) == 2 and not pids & before
        eventually(renewed, "both were replaced")
        found = self.wait_answers(cameras)
        self.assertLess(max(int(answer["answered"]) - int(answer["captured"])
                            for answers in found.values() for answer in answers), 2_900,
                        "no lease had to run out")


class GroupsTest(StreamsTest):
    """Frames that one call of the model is about."""

    def test_frames_that_are_asked_about_together_are_answered_as_alone(self):
        shown = Image.new("RGB", (640, 480), drawn_shapes.GROUND)
        drawn_shapes.draw(shown, "square", (200, 240), 120)
        picture = pictures.encode(shown, "JPEG", quality=90)
        small = pictures.encode(shown.resize((320, 240)), "PNG")
        kinds = [picture, small, b"no picture", picture[:len(picture) // 2], picture]
        cameras = self.begin({"streams.model": "shapes", "streams.mode": "async", "streams.workers": 1,
                              "streams.policy": "all", "threads": 1},
                             [Camera(f"cam{i}") for i in range(20)])
        alone = [Camera(name) for name in ("alone0", "alone1", "alone2", "alone3", "alone4")]
        for camera, shows in zip(alone, kinds):
            self.client("SADD", "inferpool:cameras", camera.name)
            camera.put(self.client, shows)
            self.wait_answers([camera])
        before = self.calls()
        pid, = self.ingest_pids()
        os.kill(pid, signal.SIGSTOP)
        for i, camera in enumerate(cameras):
            camera.put(self.client, kinds[i % 5])
        os.kill(pid, signal.SIGCONT)
        found = self.wait_answers([*cameras, *alone])
        for i, camera in enumerate(cameras):
            expected, = found[f"alone{i % 5}"]
            answer, = found[camera.name]
            self.assertEqual(expected["status"], answer["status"], camera.name)
            told, as_told = json.loads(answer["json"]), json.loads(expected["json"])
            for member in ("detections", "code", "model", "image"):
                self.assertEqual(as_told.get(member), told.get(member), (camera.name, member))
        self.assertEqual("square", json.loads(found["cam0"][0]["json"])["detections"][0]["class_name"])
        self.assertLess(self.calls() - before, 10, "calls for twelve pictures and more")

    def calls(self):
        return self.instance.metrics().value("inferpool_stream_model_calls_total", event="made")


class RedisAwayTest(StreamsTest):
    OPTIONS = ("--appendonly", "yes", "--appendfsync", "always")

    def test_a_redis_that_is_killed_and_comes_back_loses_nothing(self):
        cameras = self.begin({"streams.policy": "all"}, [Camera(f"cam{i}") for i in range(8)])
        for _ in range(20):
            for camera in cameras:
                camera.put(self.client, SMALL)
        self.redis.kill()
        eventually(lambda: self.instance.metrics().value("inferpool_stream_redis_up") == 0,
                   "it is noticed")
        self.assertEqual(200, self.instance.probe("/readyz").status, "HTTP goes on")
        self.assertEqual(2, len(self.ingest_pids()))
        time.sleep(2)
        self.redis.start()
        back = time.monotonic()
        self.client.close()
        self.client = self.redis.connect()
        eventually(lambda: self.instance.metrics().value("inferpool_stream_redis_up") == 2,
                   "they are back")
        self.assertLess(time.monotonic() - back, 3)
        for camera in cameras:
            camera.put(self.client, SMALL)
        self.wait_answers(cameras)
        self.assert_ledger(cameras, produced=21, published=21)

    def test_a_redis_that_is_not_there_yet_keeps_nobody_from_starting(self):
        self.redis.kill()
        camera = Camera("a")
        self.begin()
        eventually(lambda: len(self.ingest_pids()) == 2, "they are ready")
        self.redis.start()
        client = self.redis.connect()
        self.addCleanup(client.close)
        client("SADD", "inferpool:cameras", "a")
        camera.put(client, SMALL)
        eventually(lambda: len(results(client).get("a", ())) == 1, "it is answered")


class LargeTest(StreamsTest):
    def test_a_process_holds_64_mb_at_most_whatever_grows(self):
        cameras = self.begin({"streams.policy": "all", "streams.workers": 1, "streams.mode": "async",
                              "threads": 32}, [Camera(f"cam{i}") for i in range(20)])
        for camera in cameras:
            camera.put(self.client, SMALL)
        self.wait_answers(cameras)
        process, = self.ingest_pids()
        before = processes.peak_memory_kib(process)
        frozen = self.instance.stop_modelserver()
        for camera in cameras:
            camera.put(self.client, SMALL + bytes(8 << 20))
        time.sleep(3)
        os.kill(frozen, signal.SIGCONT)
        self.wait_answers(cameras)
        self.assert_ledger(cameras, produced=2, published=2)
        grown = processes.peak_memory_kib(process) - before
        self.assertLess(grown, 140 << 10, "of 160 MB, and copies while they are taken")
        self.assertNotIn("Redis is away", [line.get("event") for line in self.instance.log()])

    def test_what_is_too_large_has_failed_however_it_comes(self):
        camera, = self.begin({"limits.body_mb": 1}, [Camera("a")])
        for picture in (SMALL, bytes(2 << 20), SMALL, bytes(70 << 20), SMALL):
            camera.put(self.client, picture)
            ended = camera.seq
            eventually(lambda: sum(ledger(self.client).get("a", {}).get(end, 0)
                                   for end in ("published", "failed")) == ended, "it has ended")
        self.assert_ledger([camera], produced=5, published=3, failed=2)


class TooMuchTest(StreamsTest):
    def test_latest_answers_the_newest_and_counts_the_rest(self):
        cameras = [Camera(f"cam{i}") for i in range(4)]
        for _ in range(30):
            for camera in cameras:
                camera.put(self.client, SMALL)
        self.begin(cameras=cameras)
        eventually(lambda: len(results(self.client)) == 4, "each has an answer")
        for camera in cameras:
            self.assertEqual("30", results(self.client)[camera.name][-1]["seq"])
        self.assert_ledger(cameras, produced=30, published=1, superseded=29)

    def test_frames_that_are_too_old_are_not_answered(self):
        camera, = self.begin({"streams.max_age_ms": 5_000}, [Camera("a")])
        camera.put(self.client, SMALL, time=int(time.time() * 1000) - 60_000)
        eventually(lambda: ledger(self.client).get("a", {}).get("stale") == 1, "it is dropped")
        camera.put(self.client, SMALL)
        eventually(lambda: len(results(self.client).get("a", ())) == 1, "the next is answered")
        self.assertEqual({}, unbalanced(self.client))

    def test_a_rate_is_kept(self):
        self.begin({"streams.camera_set": "", "streams.cameras": {"a": {"rate": 5}}})
        camera = Camera("a")
        until = time.monotonic() + 3
        while time.monotonic() < until:
            camera.put(self.client, SMALL)
            time.sleep(0.02)
        answers = len(results(self.client)["a"])
        self.assertGreaterEqual(answers, 8)
        self.assertLessEqual(answers, 18)


class TroubleTest(StreamsTest):
    """What is wrong with some cameras holds no others up."""

    GOOD = [f"good{i}" for i in range(10)]

    def wait_good(self, cameras, count):
        eventually(lambda: all(ledger(self.client).get(camera.name, {}).get("published") == count
                               for camera in cameras), "the good ones are answered", timeout_s=10)

    def test_results_that_are_no_stream_hold_up_their_shard_alone(self):
        bad_shard = (shard_of("good0") + 1) % 32
        good = [Camera(name) for name in self.GOOD if shard_of(name) != bad_shard]
        bad = [camera for i in range(1000) if shard_of((camera := Camera(f"bad{i}")).name) == bad_shard][:12]
        self.client("SET", f"{tag(bad_shard)}:results", "x")
        self.begin({"streams.policy": "all", "streams.workers": 1, "threads": 2}, [*good, *bad])
        for camera in bad:
            camera.put(self.client, SMALL)
        time.sleep(2)
        for count in (1, 2):
            for camera in good:
                camera.put(self.client, SMALL)
            self.wait_good(good, count)
        refused = [line for line in self.instance.log() if line.get("event") == "answers cannot be stored"]
        self.assertEqual(1, len(refused), "it is said once")
        self.client("DEL", f"{tag(bad_shard)}:results")
        eventually(lambda: all(ledger(self.client).get(camera.name, {}).get("published") == 1 for camera in bad),
                   "they are answered, too")
        self.assert_ledger(bad, produced=1, published=1, pending=0)
        found = results(self.client)
        self.assertEqual([1] * len(bad), [len(found[camera.name]) for camera in bad])

    def test_a_set_of_processes_that_is_none_takes_no_shard_away(self):
        cameras = self.begin({"streams.policy": "all"}, [Camera(name) for name in self.GOOD])
        for camera in cameras:
            camera.put(self.client, SMALL)
        self.wait_answers(cameras)
        self.client("DEL", "inferpool:consumers")
        self.client("SET", "inferpool:consumers", "x")
        time.sleep(4)
        for camera in cameras:
            camera.put(self.client, SMALL)
        self.wait_good(cameras, 2)
        self.client("DEL", "inferpool:consumers")
        eventually(lambda: self.client("ZCARD", "inferpool:consumers") == 2, "they are told of again")

    def test_pools_of_other_cameras_at_one_redis_are_told_of(self):
        settings = {"streams.workers": 1, "streams.cameras": {"a": {}}}
        self.begin(settings)
        other = self.start({**FAST, "streams.redis": self.redis.address, **settings,
                            "streams.cameras": {"b": {}}}, cleanup=self.addCleanup, nginx=False)
        said = [eventually(lambda: [line for line in instance.log()
                                    if line.get("event", "").startswith("another pool at this Redis")],
                           "it is said") for instance in (self.instance, other)]
        self.assertEqual([1, 1], [len(lines) for lines in said])

    def test_a_model_that_is_away_holds_up_its_cameras_alone(self):
        here, away = ModelServer(), ModelServer(models=("shapes",))
        self.addCleanup(here.destroy)
        self.addCleanup(away.destroy)
        bad = [Camera(f"bad{i}") for i in range(40)]
        good = [Camera(name) for name in self.GOOD]
        self.begin({**outside(here, away), "streams.policy": "all", "streams.workers": 1, "threads": 2,
                    "streams.cameras": {camera.name: {"model": "shapes"} for camera in bad}}, good)
        for camera in (bad[0], good[0]):
            camera.put(self.client, SMALL)
        self.wait_good((bad[0], good[0]), 1)
        away.kill()
        for camera in bad:
            camera.put(self.client, SMALL)
        time.sleep(2)
        for camera in good[1:]:
            camera.put(self.client, SMALL)
        self.wait_good(good, 1)
        away.start()
        eventually(lambda: all(ledger(self.client).get(camera.name, {}).get("published") == camera.seq
                               for camera in bad), "they are answered when it is back")
        self.assertEqual({}, unbalanced(self.client))


class PoisonTest(StreamsTest):
    POISON = SMALL + b"inferpool-fault:crash"

    def test_a_frame_that_crashes_a_process_ends_among_the_dead_letters(self):
        bad, good = self.begin({"streams.policy": "all"}, [Camera("bad"), Camera("good")])
        bad.put(self.client, self.POISON)
        for _ in range(5):
            good.put(self.client, SMALL)
            bad.put(self.client, SMALL)
        dead = f"{tag(shard_of('bad'))}:dead"
        eventually(lambda: self.client("XLEN", dead) == 1, "it is given up")
        fields = self.client("XRANGE", dead, "-", "+")[0][1]
        self.assertIn(b"crashed", fields[fields.index(b"reason") + 1])
        self.assertEqual(self.POISON, fields[fields.index(b"picture") + 1])
        eventually(lambda: len(results(self.client).get("bad", ())) == 5
                   and len(results(self.client).get("good", ())) == 5, "all others are answered")
        self.assert_ledger([bad], produced=6, published=5, failed=1)
        status = inferpool("status", "-c", self.instance.config_file).stdout
        self.assertRegex(status, r"crash .* ingest \d \(pid \d+\): SIGSEGV, request \d+-\d+@bad, model faces_cascade")
        reports = [path.name for path in (self.instance.state / "crashes").iterdir()]
        self.assertTrue(reports and all("-ingest-" in name for name in reports), reports)
        self.assert_ledger([good], produced=5, published=5)

    def test_without_a_quarantine_it_may_crash_three(self):
        bad, = self.begin({"streams.policy": "all", "quarantine.ttl_s": 0}, [Camera("bad")])
        bad.put(self.client, self.POISON)
        bad.put(self.client, SMALL)
        eventually(lambda: len(results(self.client).get("bad", ())) == 1, "the next is answered")
        self.assert_ledger([bad], produced=2, published=1, failed=1)
        self.assertEqual(3, self.instance.metrics().value("inferpool_process_ends_total",
                                                          role="ingest", reason="crash"))


if __name__ == "__main__":
    unittest.main()

"""Motion first: frames on which nothing moves are answered without the model, and nothing is missed."""

import json
import os
import random
import signal
import sys
import time
import unittest

from PIL import Image

import pictures
from harness import SystemTest
from processes import eventually
from redis_server import (Camera, RedisServer, frames_key, ledger, results, shard_of, tag, wait_answers,
                          unbalanced)

sys.path.insert(0, str(pictures.SOURCE / "shared/frames"))
sys.dont_write_bytecode = True
from inferpool_frames import Ring  # noqa: E402

SIZE = (640, 480)
SMALL = pictures.plain(64, 64, "JPEG")


class Scene:
    """A room with a sensor's noise, and somebody who comes now and then."""

    def __init__(self):
        dice = random.Random(1)
        self.rooms = []
        for _ in range(6):
            noise = Image.frombytes("L", SIZE, dice.randbytes(SIZE[0] * SIZE[1]))
            room = Image.merge("RGB", [Image.linear_gradient("L").resize(SIZE)] * 3)
            self.rooms.append(Image.blend(room, noise.convert("RGB"), 0.06))
        face = pictures.ASTRONAUT_FACE
        self.somebody = pictures.astronaut().crop(
            (face["x1"] - 60, face["y1"] - 60, face["x2"] + 60, face["y2"] + 60))
        self.next = 0

    def frame(self, at=None):
        self.next += 1
        room = self.rooms[self.next % len(self.rooms)].copy()
        if at is not None:
            room.paste(self.somebody, at)
        return pictures.encode(room, "JPEG", quality=80)


class MotionTest(SystemTest):
    def setUp(self):
        self.redis = RedisServer()
        self.addCleanup(self.redis.destroy)
        self.client = self.redis.connect()
        self.addCleanup(self.client.close)

    def begin(self, cameras):
        self.instance = self.start(
            {"streams.model": "faces_cascade", "streams.workers": 1, "workers": 1, "threads": 4,
             "streams.redis": self.redis.address, "streams.camera_set": "", "streams.policy": "all",
             "streams.motion": {"enabled": True, "keyframe_s": 5}, "streams.cameras": cameras},
            cleanup=self.addCleanup, nginx=False)

    def put(self, cameras, picture):
        return [camera.put(self.client, picture) for camera in cameras]

    def answers(self, cameras):
        found = wait_answers(self, self.client, cameras)
        self.assertEqual({}, unbalanced(self.client))
        return [[json.loads(answer["json"]) for answer in found[camera.name]] for camera in cameras]

    def test_of_a_still_clip_the_model_sees_few_frames_and_all_that_appears(self):
        gated, ungated = cameras = Camera("gated"), Camera("ungated")
        self.begin({"gated": {"motion": {"keyframe_s": 10}},
                    "ungated": {"motion": {"enabled": False}}})
        scene = Scene()
        visits = {20 + 50 * turn + i: turn for turn in range(3) for i in range(5)}
        ids = []
        for number in range(150):
            turn = visits.get(number)
            at = None if turn is None else (40 + 150 * turn + 6 * (number % 5), 80)
            ids.append(self.put(cameras, scene.frame(at))[0].decode())
            time.sleep(0.1)
        with_gate, without = self.answers(cameras)
        self.assertFalse(any("still" in answer for answer in without))
        asked = [number for number, answer in enumerate(with_gate) if "still" not in answer]
        self.assertLessEqual(len(asked), 150 * 15 // 100, asked)
        self.assertEqual(0, asked[0])
        for turn in range(3):
            frames = [number for number, at in visits.items() if at == turn]
            self.assertTrue(any(without[number]["detections"] for number in frames), turn)
            self.assertTrue(any(with_gate[number].get("detections") for number in frames), turn)
            self.assertIn(frames[-1] + 1, asked, "nobody is there any more")
        latest = None
        for number, answer in enumerate(with_gate):
            if "still" in answer:
                self.assertEqual((True, ids[latest]), (answer["still"], answer["since"]))
                self.assertNotIn("detections", answer)
                self.assertIn("request_id", answer)
            else:
                latest = number
        metrics = self.instance.metrics()
        self.assertEqual(150 - len(asked), sum(
            value for (name, labels), value in metrics.samples.items()
            if name == "inferpool_stream_events_total" and ("event", "still") in labels))
        self.assertEqual(150, ledger(self.client)["gated"]["published"])

    def test_what_is_no_picture_and_what_is_asked_otherwise(self):
        camera = Camera("a")
        self.begin({"a": {}})
        scene = Scene()
        for _ in range(3):
            camera.put(self.client, scene.frame())
        camera.put(self.client, b"no picture")
        camera.put(self.client, scene.frame())
        camera.put(self.client, scene.frame(), parameters="confidence=0.9")
        camera.put(self.client, scene.frame(), parameters="confidence=0.9")
        answers, = self.answers([camera])
        self.assertEqual([False, True, True, False, True, False, True],
                         ["still" in answer for answer in answers])
        self.assertEqual(415, answers[3]["status"])

    def test_pictures_of_every_format(self):
        camera = Camera("a")
        self.begin({"a": {}})
        for kind in ("PNG", "WEBP", "GIF", "JPEG"):
            for side in (64, 64, 72):
                camera.put(self.client, pictures.plain(side, side, kind))
        answers, = self.answers([camera])
        self.assertEqual([False, True, False] * 4, ["still" in answer for answer in answers])

    def test_a_picture_of_another_size_is_looked_at(self):
        camera = Camera("a")
        self.begin({"a": {"motion": {"keyframe_s": 600}}})
        scene = Image.linear_gradient("L").convert("RGB")
        for size in ((1280, 960), (1280, 960), (2560, 1920), (2560, 1920)):
            camera.put(self.client, pictures.encode(scene.resize(size), "JPEG"))
        answers, = self.answers([camera])
        self.assertEqual([False, True, False, True], ["still" in answer for answer in answers])
        self.assertEqual(2560, answers[2]["image"]["width"])

    def test_frames_in_shared_memory(self):
        camera = Camera("a")
        self.begin({"a": {}})
        ring = Ring(16, 320 * 240 * 3)
        self.addCleanup(ring.close)
        empty, full = (Image.new("RGB", (320, 240), (90, 120, 150)) for _ in range(2))
        full.paste((250, 250, 250), (100, 100, 160, 160))
        for picture in (empty, empty, full):
            for handle in (ring.put(picture.tobytes(), "rgb", 320, 240),
                           ring.put(pictures.encode(picture, "JPEG"), "jpeg")):
                camera.seq += 1
                self.client("XADD", frames_key("a"), "*", "frame", handle,
                            *camera.fields(b"")[2:])
        answers, = self.answers([camera])
        self.assertEqual([False, True, True, True, False, False],
                         ["still" in answer for answer in answers])

    def test_whoever_looks_at_a_camera_sees_what_the_model_sees(self):
        camera = Camera("a")
        self.begin({"a": {"motion": {"keyframe_s": 600}}})
        camera.put(self.client, SMALL)
        camera.put(self.client, SMALL)
        answers, = self.answers([camera])
        self.assertEqual([False, True], ["still" in answer for answer in answers])
        shard = tag(shard_of("a"))
        self.client("SET", f"{shard}:look:a", "1")

        def is_seen():
            camera.put(self.client, SMALL)
            time.sleep(0.1)
            return self.client("EXISTS", f"{shard}:snap:a")
        eventually(is_seen, "there is a picture of the camera")
        answers, = self.answers([camera])
        self.assertTrue(any("still" not in answer for answer in answers[2:]))

    def test_a_model_that_is_away_looks_when_it_is_back(self):
        camera = Camera("a")
        self.begin({"a": {}})
        scene = Scene()
        camera.put(self.client, scene.frame())
        camera.put(self.client, scene.frame())
        answers, = self.answers([camera])
        self.assertEqual([False, True], ["still" in answer for answer in answers])
        os.kill(self.instance.modelserver(), signal.SIGKILL)
        camera.put(self.client, scene.frame((100, 80)))
        answers, = self.answers([camera])
        self.assertTrue(answers[-1]["detections"])


if __name__ == "__main__":
    unittest.main()

"""Frames in shared memory: handles in Redis, a real pool, and producers as docs/streams.md has them."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

import numpy
from PIL import Image

import pictures
from harness import BIN, _DIE_WITH_US
from pictures import ASTRONAUT, SOURCE
from processes import PATIENCE_S, eventually
from redis_server import Camera, frames_key, ledger, results, unbalanced
from test_streams import StreamsTest

sys.path.insert(0, str(SOURCE / "shared/frames"))
sys.dont_write_bytecode = True
from inferpool_frames import DATA_AT, PAGE, Ring  # noqa: E402

EXAMPLE = SOURCE / "shared/frames/inferpool_frames.py"
FEED = str(BIN / "inferpool-feed")
SIZE = (128, 96)


def segments_of(pid):
    return [name for name in os.listdir("/dev/shm") if name.startswith(f"inferpool.{pid}-")]


def astronaut_png():
    return pictures.encode(pictures.astronaut().resize((320, 320)), "PNG")


def rgb_of(png):
    return numpy.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def found(answer):
    """What the answer says of the picture, without its times."""
    told = json.loads(answer["json"])
    return {name: told[name] for name in ("model", "image", "detections")}


class FramesTest(StreamsTest):
    def ring(self, slots=8, frame_bytes=320 * 320 * 3):
        ring = Ring(slots, frame_bytes)
        self.addCleanup(ring.close)
        return ring

    def put(self, camera, handle, **more):
        """An entry with a handle, as a producer writes it."""
        camera.seq += 1
        fields = camera.fields(b"", **more)[2:]
        return self.client("XADD", frames_key(camera.name), "*", "frame", handle, *fields)

    def settled(self, camera, count):
        """Until so many frames have come to an end; its ledger."""
        def done():
            counts = ledger(self.client).get(camera.name, {})
            return sum(counts.get(end, 0) for end in ("published", "overwritten", "failed")) >= count
        eventually(done, f"{count} frames of {camera.name} are done")
        self.assertEqual({}, unbalanced(self.client))
        return ledger(self.client)[camera.name]


class SameAnswerTest(FramesTest):
    def test_files_and_pixels_are_answered_as_the_picture_in_redis_is(self):
        camera, = self.begin({"streams.policy": "all"}, [Camera("door")])
        ring = self.ring()
        png = astronaut_png()
        rgb = rgb_of(png)
        camera.put(self.client, png)
        self.put(camera, ring.put(png, "png"))
        self.put(camera, ring.put(rgb, "rgb", 320, 320))
        self.put(camera, ring.put(rgb[:, :, ::-1].tobytes(), "bgr", 320, 320))
        gaps = numpy.zeros((320, 1000), numpy.uint8)
        gaps[:, :960] = rgb[:, :, ::-1].reshape(320, 960)
        wide = self.ring(2, gaps.size)
        self.put(camera, wide.put(gaps.tobytes(), "bgr", 320, 320, 1000))
        answers = self.wait_answers([camera])["door"]
        self.assertEqual(["200"] * 5, [answer["status"] for answer in answers])
        self.assertEqual(1, len(found(answers[0])["detections"]))
        for answer in answers[1:]:
            self.assertEqual(found(answers[0]), found(answer))
        self.assert_ledger([camera], produced=5, published=5)

    def test_a_jpeg_a_grey_one_and_two_planes_have_the_face(self):
        camera, = self.begin({"streams.policy": "all"}, [Camera("door")])
        ring = self.ring(8, 512 * 512 * 3)
        image = pictures.astronaut()
        width, height = image.size
        luma = numpy.asarray(image.convert("L"))
        chroma = numpy.full((height // 2, width), 128, numpy.uint8)
        self.put(camera, ring.put(ASTRONAUT, "jpeg"))
        self.put(camera, ring.put(luma.tobytes(), "grey", width, height))
        self.put(camera, ring.put(luma.tobytes() + chroma.tobytes(), "nv12", width, height))
        for answer in self.wait_answers([camera])["door"]:
            self.assertEqual("200", answer["status"], answer["json"])
            face = json.loads(answer["json"])["detections"][0]["box"]
            self.assertGreater(pictures.intersection_over_union(face, pictures.ASTRONAUT_FACE), 0.4)

    def test_a_snapshot_of_pixels_is_drawn_beside_them(self):
        camera, = self.begin({"streams.policy": "all"}, [Camera("door")])
        ring = self.ring()
        pixels = rgb_of(astronaut_png())[:, :, ::-1].tobytes()
        self.client("SET", frames_key(camera.name).replace(":cam:", ":look:"), "1")
        for _ in range(2):
            time.sleep(1.2)  # who looks is looked at each second
            self.put(camera, ring.put(pixels, "bgr", 320, 320))
        self.wait_answers([camera])
        snapshot = self.client("GET", frames_key(camera.name).replace(":cam:", ":snap:"))
        self.assertEqual((320, 320), Image.open(io.BytesIO(snapshot)).size)
        self.assertEqual(pixels, ring.memory[DATA_AT:DATA_AT + len(pixels)], "nothing was drawn into the ring")


class OverwrittenTest(FramesTest):
    def test_what_was_overwritten_before_its_turn_is_counted_and_skipped(self):
        camera = Camera("door")
        ring = self.ring(2)
        small = pictures.plain(64, 64)
        for _ in range(5):
            self.put(camera, ring.put(small, "png"))
        self.begin({"streams.policy": "all"}, [camera])
        counts = self.settled(camera, 5)
        self.assertEqual((5, 2, 3), (counts["produced"], counts["published"], counts["overwritten"]))
        self.assertEqual(["4", "5"], [answer["seq"] for answer in results(self.client)["door"]])

    def test_other_machines_and_segments_that_are_gone(self):
        camera, = self.begin({"streams.policy": "all"}, [Camera("door")])
        ring = Ring(2, 10_000)
        words = ring.put(pictures.plain(64, 64), "png").split()
        ring.close()
        self.put(camera, " ".join(words))
        self.put(camera, " ".join([*words[:-1], "00000000-0000-0000-0000-000000000000"]))
        camera.put(self.client, pictures.plain(64, 64))
        counts = self.settled(camera, 3)
        self.assertEqual((1, 2), (counts["published"], counts["overwritten"]))

    def test_a_ring_that_races_with_the_pool(self):
        """A producer of two slots that writes as fast as it can: each frame is answered or counted."""
        camera, = self.begin({"streams.policy": "all"}, [Camera("door")])
        ring = self.ring(2)
        small = pictures.plain(64, 64)
        end = time.monotonic() + 5
        while time.monotonic() < end and camera.seq < 300:
            handle = ring.put(small, "png")
            if handle is not None:
                self.put(camera, handle)
        counts = self.settled(camera, camera.seq)
        self.assertEqual(camera.seq, counts["published"] + counts["overwritten"])
        answers = results(self.client)["door"]
        self.assertEqual({"200"}, {answer["status"] for answer in answers})
        self.assertGreater(counts["overwritten"], 0)


class LetGoTest(FramesTest):
    def open_in_pool(self):
        """The segments that ingest processes have mapped."""
        maps = (Path(f"/proc/{pid}/maps").read_text() for pid in self.ingest_pids())
        return {line.split()[5] for text in maps for line in text.splitlines() if "/dev/shm/inferpool." in line}

    def test_closed_rings_are_let_go_while_nothing_comes(self):
        camera, = self.begin({"streams.policy": "all"}, [Camera("door")])
        before = self.open_in_pool()
        for turn in range(3):
            ring = Ring(2, 64 * 48 * 3)
            self.put(camera, ring.put(bytes(64 * 48 * 3), "bgr", 64, 48))
            self.settled(camera, turn + 1)
            if turn == 0:
                self.assertIn(f"/dev/shm/{ring.name}", str(self.open_in_pool()))
            ring.close()
        eventually(lambda: self.open_in_pool() <= before, "the pool has let go of them")

    def test_a_name_that_comes_again_has_the_new_pictures(self):
        camera, = self.begin({"streams.policy": "all"}, [Camera("door")])
        face = rgb_of(astronaut_png())[:, :, ::-1].tobytes()
        handles = set()
        for seq, pixels in enumerate((face, bytes(len(face))), 1):
            ring = Ring(2, len(face))
            name = f"inferpool.same-{os.getpid()}"
            os.rename(f"/dev/shm/{ring.name}", f"/dev/shm/{name}")
            ring.name = name
            handles.add(ring.put(pixels, "bgr", 320, 320))
            self.put(camera, max(handles))
            self.settled(camera, seq)
            ring.close()
        self.assertEqual(1, len(handles))
        self.assertEqual([1, 0], [len(found(answer)["detections"]) for answer in results(self.client)["door"]])


class RingTest(unittest.TestCase):
    """The Python example alone."""

    def setUp(self):
        self.ring = Ring(1, 64 * 48 * 3)
        self.addCleanup(self.ring.close)

    def generation(self):
        return self.ring.words[PAGE // 8]

    def test_arrays_are_their_bytes(self):
        pixels = numpy.arange(64 * 48 * 3, dtype=numpy.uint8).reshape(48, 64, 3)
        self.assertEqual([self.ring.name, "0", "2", "9216", "bgr", "64", "48", "192"],
                         self.ring.put(pixels, "bgr", 64, 48).split()[:-1])
        self.assertEqual(pixels.tobytes(), self.ring.memory[DATA_AT:DATA_AT + pixels.size])

    def test_a_put_that_fails_spoils_no_slot(self):
        self.ring.put(b"first", "jpeg")
        for data in (numpy.zeros((48, 64, 3), numpy.uint8)[:, ::-1], [1, 2], "text", bytes(100_000)):
            with self.assertRaises((TypeError, ValueError)):
                self.ring.put(data, "jpeg")
            self.assertEqual(2, self.generation())
        with mock.patch.object(self.ring, "is_pinned", side_effect=[False, KeyboardInterrupt]):
            with self.assertRaises(KeyboardInterrupt):
                self.ring.put(b"second", "jpeg")
        self.assertEqual(2, self.generation(), "the first frame is still whole")
        memory = self.ring.memory
        self.ring.memory = bytes(100)  # takes no bytes
        with self.assertRaises(TypeError):
            self.ring.put(b"second", "jpeg")
        self.ring.memory = memory
        self.assertEqual(4, self.generation(), "it may be half written, and no handle names it")
        self.assertEqual("6", self.ring.put(b"third", "jpeg").split()[2])


class HostileTest(FramesTest):
    def test_hostile_handles_are_answered_and_the_pool_goes_on(self):
        camera, = self.begin({"streams.policy": "all"}, [Camera("door")])
        before = self.ingest_pids()
        ring = self.ring(2)
        good = ring.put(pictures.plain(64, 64), "png")
        words = good.split()
        link = Path(f"/dev/shm/inferpool.link-{os.getpid()}")
        link.symlink_to("/etc/passwd")
        self.addCleanup(link.unlink)
        zeros = Path(f"/dev/shm/inferpool.zeros-{os.getpid()}")
        zeros.write_bytes(bytes(100_000))
        self.addCleanup(zeros.unlink)
        hostile = [
            b"\xff\xfe", "a b c", good + " ", "x" * 100_000,
            " ".join(["../../etc/passwd", *words[1:]]), " ".join([link.name, *words[1:]]),
            " ".join([zeros.name, *words[1:]]), " ".join([words[0], "2", *words[2:]]),
            " ".join([words[0], "4294967295", *words[2:]]), " ".join([*words[:3], "99999999", *words[4:]]),
            " ".join([*words[:4], "bgr", "65535", "65535", "196605", words[8]]),
            " ".join([*words[:4], "bgr", "8", "8", "1", words[8]])]
        for handle in hostile:
            self.put(camera, handle)
        self.put(camera, good)
        answers = self.wait_answers([camera])["door"]
        self.assertEqual(["400"] * len(hostile) + ["200"], [answer["status"] for answer in answers])
        self.assertEqual(before, self.ingest_pids())

    def test_a_segment_that_is_cut_off_costs_its_frames_only(self):
        camera, = self.begin({"streams.policy": "all"}, [Camera("door")])
        before = self.ingest_pids()
        ring = self.ring(4)
        healthy = self.ring(4)
        pixels = rgb_of(astronaut_png())[:, :, ::-1].tobytes()
        self.put(camera, ring.put(pixels, "bgr", 320, 320))
        self.settled(camera, 1)  # the pool has it open
        late = [ring.put(pixels, "bgr", 320, 320) for _ in range(2)]
        size = os.fstat(ring.file).st_size
        os.ftruncate(ring.file, 4096)
        for handle in late:
            self.put(camera, handle)
        self.put(camera, healthy.put(pixels, "bgr", 320, 320))
        eventually(lambda: results(self.client)["door"][-1]["seq"] == "4", "the healthy one is answered")
        os.ftruncate(ring.file, size)
        self.assertEqual({}, unbalanced(self.client))
        statuses = [answer["status"] for answer in results(self.client)["door"]]
        self.assertEqual(["200", "200"], [statuses[0], statuses[-1]])
        self.assertNotIn("200", statuses[1:-1])
        self.assertEqual(before, self.ingest_pids())


class ProducersTest(FramesTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="ipfr", dir="/tmp"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        for number in range(40):
            colour = (5 * number, 100, 255 - 5 * number)
            (cls.folder / f"{number:03}.png").write_bytes(pictures.plain(*SIZE, colour=colour))

    def feed(self, *arguments):
        process = subprocess.Popen([*_DIE_WITH_US, FEED, "--redis", self.redis.address, *map(str, arguments)],
                                   stdin=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_the_feeders_pictures_are_all_answered_and_nothing_stays(self):
        for way in ("shm", "raw"):
            with self.subTest(way):
                cameras = [Camera(f"{way}-a"), Camera(f"{way}-b")]
                if way == "shm":
                    self.begin({"streams.policy": "all"})
                feeder = self.feed(*(word for camera in cameras for word in (
                    "--camera", camera.name, "--source", self.folder, "--frames", way, "--wait", 5)))
                eventually(lambda: segments_of(feeder.pid), "there is a segment")
                self.assertEqual(1, len(segments_of(feeder.pid)), "one for both")
                self.assertEqual(0, feeder.wait(PATIENCE_S))
                self.assertEqual([], segments_of(feeder.pid))
                for camera in cameras:
                    counts = self.settled(camera, 40)
                    self.assertEqual((40, 40, 0), (counts["produced"], counts["published"], counts["overwritten"]))
                    answers = results(self.client)[camera.name]
                    self.assertEqual({"200"}, {answer["status"] for answer in answers})
                    sizes = {tuple(json.loads(answer["json"])["image"].values()) for answer in answers}
                    self.assertEqual({SIZE}, sizes)

    def test_a_feeder_that_is_asked_to_end_or_killed_leaves_nothing(self):
        self.begin()
        arguments = ("--camera", "door", "--source", self.folder, "--loop", "--frames", "raw")
        feeder = self.feed(*arguments)
        eventually(lambda: len(results(self.client).get("door", ())) > 3, "there are answers")
        feeder.terminate()
        self.assertEqual(0, feeder.wait(PATIENCE_S))
        self.assertEqual([], segments_of(feeder.pid))
        killed = self.feed(*arguments)
        eventually(lambda: segments_of(killed.pid), "there is a segment")
        killed.kill()
        killed.wait()
        self.assertEqual(1, len(segments_of(killed.pid)))
        after = self.feed(*arguments)
        eventually(lambda: segments_of(after.pid), "the next one has begun")
        self.assertEqual([], segments_of(killed.pid))
        after.terminate()
        self.assertEqual(0, after.wait(PATIENCE_S))
        self.assertEqual({}, unbalanced(self.client))

    def test_a_killed_reader_does_not_stop_the_producer(self):
        self.begin({"streams.policy": "all"}, [Camera("door")])
        camera = Camera("door")
        ring = self.ring(4)
        pixels = rgb_of(astronaut_png())[:, :, ::-1].tobytes()
        for turn in range(60):
            if turn == 20:
                for pid in self.ingest_pids():
                    os.kill(pid, signal.SIGKILL)
            handle = ring.put(pixels, "bgr", 320, 320)
            if handle is not None:
                self.put(camera, handle)
            time.sleep(0.02)
        self.settled(camera, camera.seq)
        eventually(lambda: all(not ring.is_pinned(slot) for slot in range(4)), "all slots are free")
        self.assertTrue(all(ring.put(pixels, "bgr", 320, 320) for _ in range(4)))

    def test_the_example_as_a_program(self):
        self.begin({"streams.policy": "all"})
        files = sorted(self.folder.glob("*.png"))[:6]
        done = subprocess.run(["/usr/bin/python3", "-B", EXAMPLE, "--redis", self.redis.socket, "--camera", "py", *files],
                              capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        counts = self.settled(Camera("py"), 6)
        self.assertEqual(6, counts["published"])


if __name__ == "__main__":
    unittest.main()

"""inferpool-feed: recordings, folders and cameras into a real Redis, which comes and goes."""

import http.server
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import cv2
import numpy
import redis

from harness import BIN, _DIE_WITH_US, free_ports
from pictures import ASTRONAUT, astronaut, encode
from processes import PATIENCE_S, descriptors, eventually, thread_names

FEED = str(BIN / "inferpool-feed")
FPS = 25
# The colours of the bars that the camera shows, from left to right, in BGR.
BARS = [(255, 255, 255), (0, 255, 255), (255, 255, 0), (0, 255, 0), (255, 0, 255), (0, 0, 255), (255, 0, 0)]


def key_of(camera, shards=32):
    """As every producer computes it: FNV-1a of 64 bits."""
    number = 0xcbf29ce484222325
    for byte in camera.encode():
        number = (number ^ byte) * 0x100000001b3 % 2**64
    return f"{{s{number % shards:02}}}:cam:{camera}"


def ffmpeg(*arguments):
    return subprocess.run(["ffmpeg", "-nostdin", "-loglevel", "error", *map(str, arguments)],
                          check=True, capture_output=True, timeout=PATIENCE_S).stdout


def frames_of(path, width=320, height=240):
    """As FFmpeg's own program decodes them, in BGR."""
    raw = ffmpeg("-i", path, "-f", "rawvideo", "-pix_fmt", "bgr24", "-")
    return numpy.frombuffer(raw, numpy.uint8).reshape(-1, height, width, 3)


def decoded(picture):
    return cv2.imdecode(numpy.frombuffer(picture, numpy.uint8), cv2.IMREAD_COLOR)


def as_jpeg(picture):
    return decoded(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


def difference(one, other):
    return float(numpy.abs(one.astype(int) - other.astype(int)).mean())


class Redis:
    """One of a test's own, on a Unix socket, with an append-only file."""

    def __init__(self, *options):
        self.folder = Path(tempfile.mkdtemp(prefix="ipr", dir="/tmp"))
        self.socket = self.folder / "redis.sock"
        self.options = options
        self.process = None
        self.client = redis.Redis(unix_socket_path=str(self.socket))
        self.start()

    @property
    def address(self):
        return f"unix:{self.socket}"

    def start(self):
        self.process = subprocess.Popen(
            [*_DIE_WITH_US, "redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", self.folder,
             "--save", "", "--appendonly", "yes", "--appendfsync", "always", *self.options],
            stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

        def answers():
            try:
                return self.client.ping()
            except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
                return False
            except redis.exceptions.AuthenticationError:
                return True
        eventually(answers, "Redis answers")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.kill()
        self.client.close()
        shutil.rmtree(self.folder)

    def entries(self, camera):
        """[(id in ms, {field: value})] of its stream."""
        return [(int(key.partition(b"-")[0]), {name.decode(): value for name, value in fields.items()})
                for key, fields in self.client.xrange(key_of(camera))]

    def seqs(self, camera):
        return [int(fields["seq"]) for _, fields in self.entries(camera)]


class Feeder:
    def __init__(self, *arguments):
        self.log_file = tempfile.NamedTemporaryFile(prefix="feeder-", suffix=".log")
        self.process = subprocess.Popen([*_DIE_WITH_US, FEED, *map(str, arguments)], stdin=subprocess.DEVNULL,
                                        stdout=self.log_file, stderr=self.log_file)

    @property
    def log(self):
        return Path(self.log_file.name).read_text()

    def events(self, name):
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def end(self, timeout_s=PATIENCE_S):
        """Its exit code when it ends by itself."""
        return self.process.wait(timeout_s)

    def stop(self):
        self.process.terminate()
        return self.end()


class FeederTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="ipf", dir="/tmp"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.clip = cls.folder / "clip.mp4"
        ffmpeg("-f", "lavfi", "-i", f"testsrc=size=320x240:rate={FPS}:duration=1", "-c:v", "libx264", "-bf", 2,
               "-pix_fmt", "yuv420p", "-qp", 5, cls.clip)

    def setUp(self):
        self.redis = Redis()
        self.addCleanup(lambda: self.redis.stop())

    def feed(self, *arguments):
        feeder = Feeder("--redis", self.redis.address, *arguments)
        self.addCleanup(self.clean_up, feeder)
        return feeder

    def clean_up(self, feeder):
        if feeder.process.poll() is None:
            feeder.process.kill()
            feeder.process.wait()
        if self._outcome.result.failures or self._outcome.result.errors:
            print(feeder.log, file=sys.stderr)
        feeder.log_file.close()

    def wait_for(self, camera, count):
        eventually(lambda: self.redis.client.xlen(key_of(camera)) >= count, f"{count} pictures of {camera}")


class RecordingTest(FeederTest):
    def test_all_pictures_of_a_recording_come_as_they_are_at_their_pace(self):
        feeder = self.feed("--max-frames", 100, "--camera", "door", "--source", self.clip)
        self.assertEqual(0, feeder.end())
        entries = self.redis.entries("door")
        expected = frames_of(self.clip)
        self.assertEqual([str(i + 1).encode() for i in range(len(expected))], [fields["seq"] for _, fields in entries])
        self.assertEqual(1, len({fields["epoch"] for _, fields in entries}))
        for picture, (_, fields) in zip(expected, entries):
            self.assertLess(difference(picture, decoded(fields["picture"])), 4)
        times = [int(fields["time"]) for _, fields in entries]
        self.assertLess(abs(times[-1] - time.time() * 1000), 60_000)
        self.assertGreater(times[-1] - times[0], 900)
        self.assertEqual(times, [at for at, _ in entries])
        self.assertEqual({b"door"}, self.redis.client.smembers("inferpool:cameras"))

    def test_fewer_and_smaller_pictures(self):
        feeder = self.feed("--max-frames", 100, "--camera", "door", "--source", self.clip, "--fps", 5, "--width", 160,
                           "--camera", "gate", "--source", self.clip, "--fps", 10, "--quality", 20)
        self.assertEqual(0, feeder.end())
        expected = frames_of(self.clip)
        pictures = [decoded(fields["picture"]) for _, fields in self.redis.entries("door")]
        self.assertEqual(5, len(pictures))
        for i, picture in enumerate(pictures):
            self.assertEqual((120, 160, 3), picture.shape)
            whole = cv2.resize(expected[i * 5], (160, 120), interpolation=cv2.INTER_AREA)
            self.assertLess(difference(as_jpeg(whole), picture), 6)
        self.assertEqual(10, len(self.redis.entries("gate")))
        sizes = [len(fields["picture"]) for _, fields in self.redis.entries("gate")]
        self.assertLess(max(sizes), 6_000)

    def test_pictures_of_motion_jpeg_go_on_unchanged(self):
        clip = self.folder / "clip.avi"
        ffmpeg("-i", self.clip, "-c:v", "mjpeg", "-y", clip)
        ffmpeg("-i", clip, "-c", "copy", "-f", "image2", "-y", self.folder / "packet-%03d.jpg")
        packets = [path.read_bytes() for path in sorted(self.folder.glob("packet-*"))]
        feeder = self.feed("--max-frames", 100, "--camera", "door", "--source", clip,
                           "--camera", "gate", "--source", clip, "--width", 320,
                           "--camera", "yard", "--source", clip, "--width", 100)
        self.assertEqual(0, feeder.end())
        for camera in ("door", "gate"):
            self.assertEqual(packets, [fields["picture"] for _, fields in self.redis.entries(camera)])
        shapes = {decoded(fields["picture"]).shape for _, fields in self.redis.entries("yard")}
        self.assertEqual({(75, 100, 3)}, shapes)

    def test_other_codecs_and_forms(self):
        """Each with what it has of its own: ten bits, no times, a palette, a colour space, one picture."""
        cases = [("mkv", "libx265", "yuv420p10le"), ("avi", "mpeg4", "yuv420p"), ("webm", "libvpx", "yuv420p"),
                 ("gif", "gif", "pal8"), ("mkv", "ffv1", "yuv444p"), ("png", "png", "rgba"), ("bmp", "bmp", "bgr24"),
                 ("h264", "libx264", "yuvj420p")]
        arguments, clips = [], {}
        for number, (container, codec, pixels) in enumerate(cases):
            clip = self.folder / f"form-{number}.{container}"
            once = ["-frames:v", 1] if container in ("png", "bmp") else []
            ffmpeg("-f", "lavfi", "-i", "testsrc=size=320x240:rate=10:duration=0.5", "-pix_fmt", pixels, "-c:v", codec,
                   *(["-b:v", "8M"] if codec in ("mpeg4", "libvpx") else []), *once, "-y", clip)
            clips[f"{codec}-{number}"] = clip
            arguments += ["--camera", f"{codec}-{number}", "--source", clip]
        self.assertEqual(0, self.feed("--max-frames", 100, *arguments).end())
        for camera, clip in clips.items():
            with self.subTest(camera):
                expected = frames_of(clip)
                entries = self.redis.entries(camera)
                self.assertEqual(len(expected), len(entries))
                for picture, (_, fields) in zip(expected, entries):
                    self.assertLess(difference(picture, decoded(fields["picture"])), 6)

    def test_colours_of_high_definition_are_right(self):
        clip = self.folder / "hd.mp4"
        ffmpeg("-f", "lavfi", "-i", "color=red:size=320x240:rate=5:duration=0.2", "-vf", "scale=out_color_matrix=bt709",
               "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-pix_fmt", "yuv420p",
               "-c:v", "libx264", clip)
        self.assertEqual(0, self.feed("--camera", "door", "--source", clip).end())
        colour = decoded(self.redis.entries("door")[0][1]["picture"]).mean(axis=(0, 1))
        for value, expected in zip(colour, (0, 0, 255)):
            self.assertAlmostEqual(expected, value, delta=6)

    def test_a_loop_goes_on_until_it_is_asked_to_end(self):
        feeder = self.feed("--max-frames", 1000, "--remove", "--camera", "door", "--source", self.clip, "--loop",
                           "--fps", 10)
        self.wait_for("door", 25)
        self.assertEqual({b"door"}, self.redis.client.smembers("inferpool:cameras"))
        begin = time.monotonic()
        self.assertEqual(0, feeder.stop())
        self.assertLess(time.monotonic() - begin, 5)
        seqs = self.redis.seqs("door")
        self.assertEqual(list(range(1, len(seqs) + 1)), seqs)
        times = [int(fields["time"]) for _, fields in self.redis.entries("door")]
        self.assertGreater(times[24] - times[0], 2_200)
        self.assertEqual(set(), self.redis.client.smembers("inferpool:cameras"))
        (stopped,) = feeder.events("stopped")
        self.assertEqual(len(seqs), stopped["frames"])

    def test_nobody_reads_and_the_stream_stays_short(self):
        feeder = self.feed("--max-frames", 5, "--camera", "door", "--source", self.clip)
        self.assertEqual(0, feeder.end())
        self.assertEqual([21, 22, 23, 24, 25], self.redis.seqs("door"))

    def test_who_waits_sends_no_more_than_is_read_and_loses_nothing(self):
        feeder = self.feed("--camera", "door", "--source", self.clip, "--wait", 3)
        self.wait_for("door", 4)
        time.sleep(0.3)
        self.assertEqual([1, 2, 3, 4], self.redis.seqs("door"))
        read = []
        begin = time.monotonic()
        while len(read) < FPS:
            self.assertLess(time.monotonic() - begin, PATIENCE_S)
            entries = self.redis.client.xrange(key_of("door"))
            self.assertLessEqual(len(entries), 4)
            for key, fields in entries:
                read.append(int(fields[b"seq"]))
                self.redis.client.xdel(key_of("door"), key)
        self.assertEqual(list(range(1, FPS + 1)), read)
        self.assertEqual(0, feeder.end())

    def test_cameras_that_show_the_same_are_decoded_once(self):
        cameras = [f"camera-{i}" for i in range(300)]
        config = self.folder / "cameras.json"
        config.write_text(json.dumps({
            "redis": self.redis.address, "max_frames": 100,
            "cameras": {camera: {"source": str(self.clip), "fps": 5} for camera in cameras}}))
        feeder = Feeder("--config", config)
        self.addCleanup(self.clean_up, feeder)
        self.wait_for("camera-299", 1)
        self.assertLessEqual(len(thread_names(feeder.process.pid)), 4)
        self.assertEqual(0, feeder.end())
        self.assertEqual({b"%d" % i for i in range(1, 6)},
                         {fields["seq"] for camera in cameras for _, fields in self.redis.entries(camera)})

    def test_a_redis_that_was_killed_gets_each_picture_of_a_recording_once(self):
        feeder = self.feed("--max-frames", 1000, "--camera", "door", "--source", self.clip, "--loop")
        self.wait_for("door", 10)
        for _ in range(3):
            self.redis.kill()
            time.sleep(1)
            self.redis.start()
            before = self.redis.client.xlen(key_of("door"))
            self.wait_for("door", before + 10)
        self.assertEqual(0, feeder.stop())
        seqs = self.redis.seqs("door")
        self.assertEqual(list(range(1, len(seqs) + 1)), seqs)
        self.assertEqual(3, len(feeder.events("redis takes nothing")))
        self.assertEqual(3, len(feeder.events("redis takes pictures again")))

    def test_a_redis_that_comes_later_is_awaited(self):
        self.redis.kill()
        feeder = self.feed("--max-frames", 100, "--camera", "door", "--source", self.clip)
        time.sleep(1.5)
        self.redis.start()
        self.assertEqual(0, feeder.end())
        self.assertEqual(list(range(1, 26)), self.redis.seqs("door"))

    def test_what_is_damaged_is_left_out_or_said(self):
        whole = self.clip.read_bytes()
        cut, noise = self.folder / "cut.mp4", self.folder / "noise.mp4"
        cut.write_bytes(whole[:len(whole) // 2])
        noise.write_bytes(os.urandom(100_000))
        feeder = self.feed("--max-frames", 100, "--camera", "door", "--source", self.clip,
                           "--camera", "noise", "--source", noise, "--camera", "cut", "--source", cut)
        self.assertEqual(1, feeder.end())
        self.assertEqual(25, len(self.redis.entries("door")))
        self.assertLessEqual({"noise"}, {line["camera"] for line in feeder.events("source failed")})
        self.assertEqual([], self.redis.entries("noise"))


class FolderTest(FeederTest):
    def setUp(self):
        super().setUp()
        self.pictures = Path(tempfile.mkdtemp(prefix="pictures", dir=self.folder))
        self.contents = {"1.jpg": ASTRONAUT, "2.PNG": encode(astronaut().resize((200, 100)), "PNG"),
                         "3.webp": encode(astronaut().resize((50, 50)), "WEBP")}
        for name, content in self.contents.items():
            (self.pictures / name).write_bytes(content)
        (self.pictures / "0.jpg").write_text("no picture")
        (self.pictures / "notes.txt").write_text("no picture")
        (self.pictures / "4.jpg").mkdir()

    def test_files_go_on_unchanged_in_the_order_of_their_names(self):
        feeder = self.feed("--camera", "door", "--source", self.pictures, "--fps", 20)
        self.assertEqual(0, feeder.end())
        self.assertEqual(list(self.contents.values()), [fields["picture"] for _, fields in self.redis.entries("door")])
        (left_out,) = feeder.events("picture left out")
        self.assertTrue(left_out["file"].endswith("/0.jpg"))

    def test_wide_files_are_scaled(self):
        self.assertEqual(0, self.feed("--camera", "door", "--source", self.pictures, "--width", 100).end())
        pictures = [decoded(fields["picture"]) for _, fields in self.redis.entries("door")]
        self.assertEqual([(100, 100, 3), (50, 100, 3), (50, 50, 3)], [picture.shape for picture in pictures])
        expected = cv2.resize(decoded(ASTRONAUT), (100, 100), interpolation=cv2.INTER_AREA)
        self.assertLess(difference(as_jpeg(expected), pictures[0]), 6)

    def test_a_loop_sees_what_has_come(self):
        feeder = self.feed("--max-frames", 1000, "--camera", "door", "--source", self.pictures, "--loop", "--fps", 50)
        self.wait_for("door", 6)
        new = encode(astronaut().resize((70, 70)), "JPEG")
        (self.pictures / "9.jpg").write_bytes(new)
        eventually(lambda: any(fields["picture"] == new for _, fields in self.redis.entries("door")), "the new one")
        self.assertEqual(0, feeder.stop())


class CameraTest(FeederTest):
    """A camera on the network."""

    PASSWORD = "se-cret"

    def setUp(self):
        super().setUp()
        (self.port,) = free_ports(1)
        self.camera = None
        self.start_camera()
        self.addCleanup(lambda: self.stop_camera())

    def start_camera(self, *credentials):
        self.camera = subprocess.Popen(
            [*_DIE_WITH_US, "/usr/bin/python3", "-B", Path(__file__).parent / "rtsp_server.py", str(self.port),
             *credentials], stdout=subprocess.PIPE, text=True)
        self.assertEqual("ready\n", self.camera.stdout.readline())

    def stop_camera(self):
        self.camera.kill()
        self.camera.wait()
        self.camera.stdout.close()

    def url(self, path, credentials=""):
        return f"rtsp://{credentials}127.0.0.1:{self.port}/{path}"

    def assert_whole(self, seqs):
        """Nothing is missing. What the camera sends at once in the beginning may be too much."""
        self.assertEqual(list(range(seqs[0], seqs[0] + len(seqs))), seqs)
        self.assertLess(seqs[0], 10)

    def assert_bars(self, picture):
        self.assertEqual((240, 320, 3), picture.shape)
        for i, colour in enumerate(BARS):
            seen = picture[20:60, round((i + 0.3) * 320 / 7):round((i + 0.7) * 320 / 7)].mean(axis=(0, 1))
            for value, expected in zip(seen, colour):
                self.assertAlmostEqual(expected, value, delta=12, msg=f"bar {i}: {seen}, not {colour}")

    def test_pictures_of_a_camera_are_what_it_sees(self):
        feeder = self.feed("--max-frames", 200, "--camera", "door", "--source", self.url("h264"),
                           "--camera", "gate", "--source", self.url("jpeg"), "--fps", 5)
        self.wait_for("door", 30)
        self.wait_for("gate", 6)
        self.assertEqual(0, feeder.stop())
        for camera in ("door", "gate"):
            with self.subTest(camera):
                picture = decoded(self.redis.entries(camera)[-1][1]["picture"])
                if camera == "gate":  # as the camera wrote it
                    picture = numpy.clip((picture.astype(int) - 16) * 255 / 219, 0, 255)
                self.assert_bars(picture)
                self.assert_whole(self.redis.seqs(camera))
        times = [int(fields["time"]) for _, fields in self.redis.entries("gate")]
        self.assertGreater(times[5] - times[0], 900)

    def test_a_camera_that_stops_and_comes_back(self):
        feeder = self.feed("--max-frames", 1000, "--camera", "door", "--source", self.url("h264"))
        for _ in range(2):
            before = self.redis.client.xlen(key_of("door"))
            self.wait_for("door", before + 5)
            self.stop_camera()
            eventually(lambda: feeder.events("source away"), "the feeder has noticed")
            self.start_camera()
            before = self.redis.client.xlen(key_of("door"))
            self.wait_for("door", before + 5)
        self.assert_whole(self.redis.seqs("door"))
        opened = descriptors(feeder.process.pid)
        self.assertLess(opened, 40)
        self.assertEqual(0, feeder.stop())
        self.assertGreaterEqual(len(feeder.events("source back")), 2)

    def test_a_camera_that_falls_silent_is_opened_again(self):
        feeder = self.feed("--max-frames", 1000, "--timeout", 1, "--camera", "door", "--source", self.url("h264"))
        self.wait_for("door", 5)
        self.camera.send_signal(signal.SIGSTOP)
        (away,) = eventually(lambda: feeder.events("source away"), "the feeder has noticed")
        self.assertEqual("nothing came for 1 s", away["reason"])
        self.camera.send_signal(signal.SIGCONT)
        before = self.redis.client.xlen(key_of("door"))
        self.wait_for("door", before + 10)
        self.assertEqual(0, feeder.stop())

    def test_a_silent_camera_does_not_keep_the_feeder_from_ending(self):
        feeder = self.feed("--timeout", 60, "--camera", "door", "--source", self.url("h264"))
        self.wait_for("door", 5)
        self.camera.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        self.assertEqual(0, feeder.stop())
        self.assertLess(time.monotonic() - begin, 5)

    def test_a_password_is_used_and_never_told(self):
        self.stop_camera()
        self.start_camera("admin", self.PASSWORD)
        feeder = self.feed("--camera", "door", "--source", self.url("h264", f"admin:{self.PASSWORD}@"),
                           "--camera", "gate", "--source", self.url("jpeg", "admin:wrong-one@"))
        self.wait_for("door", 5)
        (away,) = eventually(lambda: feeder.events("source away"), "the wrong one is refused")
        self.assertEqual(("gate", self.url("jpeg")), (away["camera"], away["source"]))
        self.assertIn("check the user and the password", away["reason"])
        self.stop_camera()
        eventually(lambda: {line["camera"] for line in feeder.events("source away")} == {"door", "gate"}, "both")
        self.assertEqual(0, feeder.stop())
        for secret in (self.PASSWORD, "wrong-one", "admin"):
            self.assertNotIn(secret, feeder.log)

    def test_a_redis_that_is_away_gets_the_newest_pictures_of_a_camera(self):
        feeder = self.feed("--max-frames", 1000, "--camera", "door", "--source", self.url("h264"))
        self.wait_for("door", 10)
        self.redis.kill()
        time.sleep(3)
        self.redis.start()
        before = self.redis.client.xlen(key_of("door"))
        self.wait_for("door", before + 20)
        self.assertEqual(0, feeder.stop())
        seqs = self.redis.seqs("door")
        self.assertEqual(sorted(set(seqs)), seqs)
        lost = seqs[-1] - len(seqs)
        self.assertGreater(lost, 20)
        (stopped,) = feeder.events("stopped")
        self.assertEqual(lost, stopped["dropped"])
        # Those that were kept are from before the gap's end, not from its beginning.
        gaps = [later - earlier for earlier, later in zip(seqs, seqs[1:])]
        self.assertEqual(1, sum(gap > 1 for gap in gaps), gaps)


class JpegServer(http.server.BaseHTTPRequestHandler):
    """A camera with Motion JPEG over HTTP, 25 pictures a second, whose bytes end in their numbers."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in itertools.count():
            picture = ASTRONAUT + b"%08d" % number
            try:
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n"
                                 % (len(picture), picture))
            except OSError:
                return
            time.sleep(1 / FPS)

    def log_message(self, *_):
        pass


class HttpCameraTest(FeederTest):
    def test_motion_jpeg_over_http(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), JpegServer)
        server.daemon_threads = True
        server.block_on_close = False
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://admin:se-cret@127.0.0.1:{server.server_port}/video?key=se-cret"
        feeder = self.feed("--max-frames", 1000, "--camera", "all", "--source", url, "--camera", "few", "--source", url,
                           "--fps", 5)
        self.wait_for("few", 12)
        self.assertEqual(0, feeder.stop())
        for camera in ("all", "few"):
            pictures = [fields["picture"] for _, fields in self.redis.entries(camera)]
            self.assertTrue(all(picture.startswith(ASTRONAUT) for picture in pictures))
            times = [int(fields["time"]) for _, fields in self.redis.entries(camera)]
        # FFmpeg makes up times for such pictures, by which there would be more or fewer.
        self.assertGreater((times[-1] - times[0]) / (len(times) - 1), 150)
        self.assertLess((times[-1] - times[0]) / (len(times) - 1), 300)
        self.assertGreater(len(self.redis.entries("all")), 30)
        self.assertNotIn("se-cret", feeder.log)


class CommandTest(FeederTest):
    def test_what_is_wrong_is_said_and_what_to_do(self):
        cases = [((), "--redis"),
                 (("--redis", self.redis.address), "--camera"),
                 (("--redis", self.redis.address, "--camera", "door"), "--source"),
                 (("--redis", self.redis.address, "--camera", "door", "--source", "/nowhere.mp4"), "no file"),
                 (("--redis", "nowhere", "--camera", "door", "--source", self.clip), "HOST:PORT"),
                 (("--redis", self.redis.address, "--password-file", "/nowhere", "--camera", "door", "--source", self.clip),
                  "password"),
                 (("--source", "rtsp://u:secret@camera"), "--camera ID"),
                 (("rtsp://u:secret@camera",), "--source")]
        for arguments, words in cases:
            with self.subTest(arguments):
                feeder = Feeder(*arguments)
                self.addCleanup(self.clean_up, feeder)
                self.assertEqual(2, feeder.end())
                self.assertIn(words, feeder.log)
                self.assertNotIn("secret", feeder.log)

    def test_users_of_redis(self):
        self.redis.client.acl_setuser("feeder", enabled=True, passwords=["+se-cret"], keys=["{*}:cam:*", "inferpool:cameras"],
                                      commands=["+xadd", "+xlen", "+xinfo|stream", "+sadd", "+srem", "+ping", "+auth"])
        self.redis.client.config_set("requirepass", "other")
        password = self.folder / "password"
        password.write_text("se-cret\n")
        cameras = ("--camera", "door", "--source", self.clip)
        feeder = self.feed("--user", "feeder", "--password-file", password, "--max-frames", 100, "--remove", *cameras)
        self.assertEqual(0, feeder.end())
        self.assertNotIn("se-cret", feeder.log)
        client = redis.Redis(unix_socket_path=str(self.redis.socket), password="other")
        self.assertEqual(25, client.xlen(key_of("door")))
        for arguments in (cameras, ("--user", "feeder", "--password-file", "/etc/hostname", *cameras)):
            feeder = self.feed(*arguments)
            self.assertEqual(3, feeder.end())
            self.assertIn("--password-file", feeder.log)

    def test_progress_on_a_terminal_is_a_line_a_second(self):
        primary, secondary = os.openpty()
        feeder = subprocess.Popen([*_DIE_WITH_US, FEED, "--redis", self.redis.address, "--camera", "door", "--source",
                                   self.clip, "--loop"], stderr=secondary, stdin=subprocess.DEVNULL)
        os.close(secondary)
        seen = b""
        while seen.count(b"frames/s") < 3:
            seen += os.read(primary, 1000)
        feeder.terminate()
        self.assertEqual(0, feeder.wait(PATIENCE_S))
        os.close(primary)
        lines = re.findall(rb"1 cameras, 0 away, ([\d.]+) frames/s, [\d.]+ MB/s, 0 dropped, 0 reconnects", seen)
        self.assertTrue(any(15 < float(rate) < 35 for rate in lines), lines)


if __name__ == "__main__":
    unittest.main()

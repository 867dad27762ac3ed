"""ops/run --streams: one command, and four cameras can be looked at."""

import json
import os
import shutil
import signal
import subprocess
import time
import unittest
from pathlib import Path

import harness
import processes
from checkout import NOBODY, ROOT, ScriptTest
from harness import inferpool
from hook import Hook
from processes import eventually
from redis_server import RedisServer

CAMERAS = ["door", "gate", "hall", "yard"]
REDIS = Path(shutil.which("redis-server") or "redis-server").resolve().name  # it has several names


class StreamsTest(ScriptTest):
    def get(self, path):
        """What nginx answers, with its certificate checked."""
        return subprocess.run(
            ["curl", "-sS", "--fail", "--max-time", "10", "--cacert", self.state / "tls/certificate.pem",
             f"https://localhost:{self.checkout.ports[0]}{path}"],
            capture_output=True, check=True, text=True, timeout=60).stdout

    def assert_cameras(self):
        def all_have_rates():
            cameras = {camera["id"]: camera for camera in json.loads(self.get("/v1/cameras"))["cameras"]}
            return sorted(cameras) == CAMERAS and \
                all(camera["rate"] > 1 and camera["status"] == 200 for camera in cameras.values())
        eventually(all_have_rates, "four cameras with rates")
        for camera in CAMERAS:
            found = json.loads(self.get(f"/v1/cameras/{camera}/latest"))["detections"]
            self.assertTrue(found, camera)
            self.assertLessEqual({thing["class_name"] for thing in found},
                                 {"circle", "square", "triangle", "star"})

    def assert_page(self):
        self.assertIn("<title>", self.get("/live"))

    def assert_clean(self):
        self.checkout.assert_nothing_runs()
        self.assertEqual([], [path for path in self.state.rglob("*") if path.is_socket()])

    def programs(self):
        return {processes.program(pid) for pid in self.checkout.running()}

    def test_cameras_can_be_looked_at_twice_in_a_row(self):
        for _ in range(2):
            words = self.assert_starts("--streams", "--config", self.config())
            self.assertIn(f"The cameras are on https://localhost:{self.checkout.ports[0]}/live", words)
            self.assert_cameras()
            self.assert_page()
            self.assertLessEqual({REDIS, "inferpool-feed"}, self.programs())
            self.assertIn("already runs", self.checkout.run("--streams").stdout)
            for path in self.state.rglob("*"):
                self.assertFalse(path.stat().st_mode & 0o027 & ~(0o777 if path.is_socket() else 0), path)
            self.assert_stops()
            self.assert_clean()

    def test_ctrl_c_stops_all_of_it(self):
        process = self.foreground("--streams", "--config", self.config(), until="Ctrl-C")
        self.assert_cameras()
        process.send_signal(signal.SIGINT)
        words, _ = process.communicate(timeout=60)
        self.assertEqual(130, process.returncode, words)
        self.assert_clean()

    def test_ctrl_c_during_the_start_leaves_nothing_running(self):
        (self.state / "clips/door").mkdir(parents=True)
        for words in ("Starting Redis", "Starting inferpool"):
            for pause in (0, 0.02, 0.1, 0.3):
                with self.subTest(words, pause=pause):
                    script = self.foreground("--streams", "--config", self.config(), until=words)
                    time.sleep(pause)
                    os.killpg(script.pid, signal.SIGINT)  # as a terminal does
                    words_after, _ = script.communicate(timeout=30)
                    self.assertEqual(130, script.returncode, words_after)
                    self.checkout.assert_nothing_runs()

    def test_it_stops_all_whoever_has_gone_that_reads_its_words(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number):
                script = self.foreground("--streams", "--config", self.config(), until="Ctrl-C")
                script.stdout.close()
                script.send_signal(number)
                self.assertEqual(128 + number, script.wait(60))
                self.assert_clean()

    def test_a_feeder_that_hangs_is_killed_and_the_rest_stops(self):
        self.assert_starts("--streams", "--config", self.config())
        [feeder] = [pid for pid in self.checkout.running() if processes.program(pid) == "inferpool-feed"]
        os.kill(feeder, signal.SIGSTOP)
        result = self.checkout.stop()
        self.assertEqual(1, result.returncode, result.stdout)
        self.assertIn(f"the feeder (pid {feeder}) does not stop", result.stdout)
        self.assertIn("Draining the pool", result.stdout)
        self.assert_clean()

    def test_what_a_kill_left_is_stopped(self):
        self.assert_starts("--streams", "--config", self.config())
        os.kill(self.checkout.pid("nginx"), signal.SIGKILL)
        os.kill(self.checkout.pid("inferpool"), signal.SIGKILL)
        eventually(lambda: "modelserver" not in self.programs(), "the pool has ended")
        self.assertLessEqual({REDIS, "inferpool-feed"}, self.programs())
        self.assertIn("already runs", self.checkout.run("--streams").stdout)
        self.assert_stops()
        self.checkout.assert_nothing_runs()

    def test_a_redis_that_does_not_start_leaves_nothing_running(self):
        self.checkout.stub("redis-server", "echo no memory for that; exit 1")
        result = self.checkout.run("--streams", "--config", self.config())
        self.assertEqual(1, result.returncode)
        self.assertIn("redis has ended", result.stdout)
        self.assertIn("no memory for that", result.stdout)
        self.assert_clean()

    def test_a_configuration_with_cameras_keeps_its_redis(self):
        redis = RedisServer()
        self.addCleanup(redis.destroy)
        client = redis.connect()
        self.addCleanup(client.close)
        client("SADD", "inferpool:cameras", "theirs")
        words = self.assert_starts("--streams", "--config", self.config(
            streams__redis=redis.address, streams__workers=1, streams__model="shapes"))
        self.assertIn("cameras and a Redis of its own", words)
        eventually(lambda: [camera["id"] for camera in json.loads(self.get("/v1/cameras"))["cameras"]] ==
                   ["theirs"], "the camera of the configuration's Redis")
        self.assertFalse({REDIS, "inferpool-feed"} & self.programs())
        self.assert_stops()
        self.assert_clean()

    def test_a_configuration_whose_streams_are_off_tells_its_receivers_nothing(self):
        secret = b"a secret of more than sixteen bytes"
        hook = Hook(secret)
        self.addCleanup(hook.close)
        (self.checkout.folder / "secret").write_bytes(secret)
        rule = {"url": hook.url, "secret_file": str(self.checkout.folder / "secret"), "hold_off_s": 0}
        self.assert_starts("--streams", "--config", self.config(
            streams__redis="127.0.0.1:1", streams__results="findings", streams__rules={"alarm": rule},
            streams__motion={"enabled": True}))
        self.assert_cameras()
        roles = json.loads(inferpool("status", "--json", "--state", self.state).stdout)["roles"]
        self.assertEqual(0, roles["rules"]["wanted"])
        time.sleep(2)  # a receiver hears within one
        self.assertEqual([], hook.deliveries)
        self.assert_stops()

    def test_clips_and_a_socket_that_cannot_be(self):
        clips = self.state / "clips"
        clips.mkdir(parents=True)
        (clips / "notes").touch()
        self.assert_streams_refused(f"{clips} has no folder of pictures")
        (clips / "notes").unlink()  # then they are drawn
        (self.state / "redis.sock").mkdir()
        self.assert_streams_refused(f"cannot remove {self.state}/redis.sock")
        self.assertEqual(CAMERAS, sorted(path.name for path in clips.iterdir()))

    def assert_streams_refused(self, words):
        result = self.checkout.run("--streams", "--config", self.config())
        self.assertEqual(1, result.returncode, result.stdout)
        self.assertIn(f"inferpool: {words}", result.stdout)
        self.checkout.assert_nothing_runs()

    @unittest.skipUnless(ROOT, "only root can change the user")
    def test_roots_pool_with_a_user_reaches_the_redis(self):
        # The source may lie where nobody else may look.
        programs = self.checkout.folder / "build/release/bin"
        programs.unlink()
        programs.mkdir()
        for name in ("inferpool", "modelserver", "inferpool-feed"):
            shutil.copy2(harness.BIN / name, programs)
        if (harness.BIN / "onnxruntime").exists():
            shutil.copytree(harness.BIN / "onnxruntime", programs / "onnxruntime")
        models = shutil.copytree(harness.MODELS, self.checkout.folder / "models")
        self.checkout.folder.chmod(0o755)
        self.assert_starts("--streams", "--config",
                           self.config(user="nobody", modelserver__repository=str(models)))
        self.assertEqual(NOBODY, (self.state / "redis.sock").stat().st_gid)
        self.assert_cameras()
        self.assert_stops()
        self.assert_clean()

    def test_a_folder_whose_name_shells_give_a_meaning(self):
        self.state = self.checkout.state = self.checkout.folder / "-it's (Z\u00fcrich) 100% [1]#~@"
        self.assert_starts("--streams", "--config", self.config())
        self.assert_cameras()
        self.assert_stops()
        self.assert_clean()


if __name__ == "__main__":
    unittest.main()

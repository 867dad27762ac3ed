"""A disk that is full, or fills: a start says why, a pool goes on."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time
import unittest

import harness
import pictures
import processes
from checkout import ROOT, ScriptTest
from harness import SystemTest, inferpool
from PIL import Image
from processes import eventually

def is_json(text):
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@unittest.skipUnless(ROOT, "a small disk is a tmpfs, which only root can mount")
class FullDiskTest(ScriptTest):
    def setUp(self):
        super().setUp()
        self.disk = self.checkout.folder / "disk"
        self.disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs", self.disk],
                                 capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"root cannot mount a tmpfs here: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk], check=True)
        self.state = self.checkout.state = self.disk / "state"

    def fill(self, but_kb=0):
        free = os.statvfs(self.disk)
        size = free.f_bavail * free.f_bsize - but_kb * 1024
        with open(self.disk / f"filler{time.monotonic_ns()}", "wb") as file:
            file.write(bytes(max(size, 0)))

    def waits_in_memory(self):
        """Whether nginx has its temporary files in /dev/shm, as it has where that has 1 GB free."""
        folder = re.search('client_body_temp_path "(.*)/body";', (self.state / "nginx.conf").read_text())[1]
        memory = os.statvfs("/dev/shm")
        self.assertEqual(memory.f_bavail * memory.f_bsize > 1 << 30, folder.startswith("/dev/shm/"))
        return folder != "tmp"

    def test_before_the_start(self):
        for free_kb in (0, 12, 48):
            with self.subTest(free_kb=free_kb):
                shutil.rmtree(self.state, ignore_errors=True)
                for path in self.disk.glob("filler*"):
                    path.unlink()
                self.fill(but_kb=free_kb)
                self.assert_refused("disk", str(self.state), "is full")

    def test_serve_says_so_and_leaves_nothing(self):
        self.state.mkdir()
        self.fill()
        result = inferpool("serve", "-c", self.config())
        self.assertEqual(1, result.returncode, result.stderr)
        self.assertRegex(result.stderr, "^inferpool: cannot write .*inferpool.pid: No space left")
        self.assertEqual([], list(self.state.iterdir()))

    def test_during_the_start(self):
        self.when_there("tls/certificate.pem", self.fill)
        result = self.checkout.run()
        if result.returncode == 0:  # there was enough room
            self.assert_stops()
        else:
            self.assertRegex(result.stdout, "(?m)^inferpool: the disk of the state folder .* is full")
            self.checkout.assert_nothing_runs()

    def test_later_costs_no_answer_and_no_empty_report(self):
        log = self.state / "logs/inferpool.log"
        crashes = self.state / "crashes"
        self.assert_starts("--config", self.config(log__access=True, workers=2))
        face = pictures.encode(pictures.astronaut().crop((140, 40, 310, 210)), "PNG")
        certificate = self.state / "tls/certificate.pem"

        # More than nginx holds in its buffers.
        large = pictures.encode(Image.frombytes("RGB", (1600, 1600), os.urandom(3 * 1600 * 1600)), "PNG")
        self.assertGreater(len(large), 7_000_000)

        def answer(count, picture=face):
            for _ in range(count):
                status = subprocess.run(
                    ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", certificate,
                     "--data-binary", "@-", "-H", "Content-Type: image/png",
                     f"https://localhost:{self.checkout.ports[0]}/v1/predict/faces_cascade"],
                    input=picture, capture_output=True, check=False, timeout=60).stdout
                self.assertEqual(b"200", status)
        self.fill(but_kb=8)
        answer(30)
        size = log.stat().st_size
        answer(5)
        self.assertEqual(size, log.stat().st_size, "the disk was not full")
        if self.waits_in_memory():
            answer(3, large)

        def workers():
            return {pid for pid in processes.children(self.checkout.pid("inferpool"))
                    if "worker" in processes.title(pid)}
        before = workers()
        os.kill(min(before), signal.SIGSEGV)
        eventually(lambda: len(workers()) == 2 and workers() != before, "the worker is replaced")
        answer(5)
        access = self.state / "logs/nginx-access.log"

        def ends_with_a_line():
            return access.read_text().endswith("\n")
        self.fill()
        eventually(ends_with_a_line, "the part of a line that nginx could write is gone")
        for path in self.disk.glob("filler*"):
            path.unlink()
        answer(2)
        answered = access.read_text().count("\n")
        eventually(lambda: access.read_text().count("\n") > answered, "nginx logs again")
        eventually(ends_with_a_line, "a line is whole")
        self.assertEqual([], [line for line in access.read_text().splitlines() if not is_json(line)])
        self.assertIn("log lines dropped", log.read_text())
        torn = []
        for line in log.read_text().splitlines():
            # Lines of the model server's library are no JSON.
            if line and not line.startswith(("WARNING", "I0", "E0")) and not is_json(line):
                torn.append(line)
        self.assertEqual([], torn)
        for report in crashes.glob("*") if crashes.exists() else ():
            json.loads(report.read_text())
        self.assert_stops()


class LimitedFilesTest(ScriptTest):
    """A limit of a file's size is a disk that is full for larger files, and needs no root."""

    @staticmethod
    def limited_to(size):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return {"preexec_fn": limit, "restore_signals": False}

    def test_before_the_start(self):
        self.assert_refused("cannot write", "nginx.conf", how=self.limited_to(4096))

    def test_during_the_start(self):
        """nginx.conf and the certificate are written, and what is larger is not."""
        self.assert_refused("disk", str(self.state), "is full", how=self.limited_to(48 * 1024))
        self.assertTrue((self.state / "nginx.conf").exists())

    def test_serve_says_so_and_leaves_nothing(self):
        self.state.mkdir()
        result = subprocess.run([harness.INFERPOOL, "serve", "-c", self.config()], text=True, check=False,
                                capture_output=True, timeout=60, **self.limited_to(0))
        self.assertEqual(1, result.returncode, result.stderr)
        self.assertRegex(result.stderr, "^inferpool: cannot write .*inferpool.pid: File too large")
        self.assertEqual([], list(self.state.iterdir()))


class FullLogTest(SystemTest):
    """The log alone on a full disk, which needs no root."""

    SETTINGS = {"log.file": "/dev/full", "log.access": True}

    def test_requests_are_answered(self):
        for _ in range(10):
            self.assert_good(self.instance.predict("faces_cascade", pictures.ASTRONAUT))
        self.assertEqual(0, self.instance.crashes())


if __name__ == "__main__":
    unittest.main()

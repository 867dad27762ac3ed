"""ops/run and ops/stop as an operator calls them, on the programs under test: nothing is installed,
built or downloaded."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import harness
import processes
from harness import SystemTest
from pictures import SOURCE
from processes import PATIENCE_S, eventually

ROOT = os.geteuid() == 0
NOBODY = 65534

# What the scripts would install and build with.
_STUBS = {"cmake": "exit 0", "npm": "exit 1", "dpkg-query": "printf installed"}


class Checkout:
    """A tree with the scripts in it. Call remove() at the end."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ipc", dir="/tmp"))
        (self.folder / "ops").mkdir()
        for name in ("run", "stop", "lib.sh", "draw_clips.py", "inferpool.json"):
            shutil.copy(SOURCE / "ops" / name, self.folder / "ops")
        for name in ("swagger-ui", "onnxruntime", "model_packages"):
            shutil.copytree(SOURCE / "ops" / name, self.folder / "ops" / name)
        (self.folder / "ops/pictures").symlink_to(SOURCE / "ops/pictures")
        (self.folder / "ops/models").symlink_to(harness.MODELS)
        (self.folder / "build/release").mkdir(parents=True)
        (self.folder / "build/release/build.ninja").touch()
        (self.folder / "build/release/bin").symlink_to(harness.BIN)
        self.programs = self.folder / "programs"  # first in the scripts' PATH
        self.programs.mkdir()
        for name, text in _STUBS.items():
            self.stub(name, text)
        self.ports = harness.free_ports(3)
        self.state = self.folder / "state"

    def stub(self, name, text):
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def remove(self):
        """Ends what a test has left running; it must not have."""
        for pid in self.running():
            os.kill(pid, 9)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _how(self, **environment):
        path = f"{self.programs}:{os.environ['PATH']}"
        return {"text": True, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                "stderr": subprocess.STDOUT, "env": {**os.environ, "PATH": path, **environment}}

    def _call(self, script, *arguments, how=None, **environment):
        # A terminal's worth of patience: whoever hangs fails.
        return subprocess.run([self.folder / "ops" / script, *map(str, arguments)], check=False,
                              timeout=2 * PATIENCE_S, **self._how(**environment), **(how or {}))

    def _options(self, state):
        names = ("--port", "--http-port", "--sidecar-port")
        ports = [word for pair in zip(names, self.ports) for word in pair]
        return ["--state", state or self.state, *ports]

    def run(self, *options, state=None, how=None):
        """ops/run --detach; its words are in `stdout`. `how`: more for subprocess."""
        return self._call("run", "--detach", *self._options(state), *options, how=how)

    def run_in_foreground(self, *options):
        """ops/run, which runs until it is asked to end, in a process group of its own."""
        return subprocess.Popen([self.folder / "ops/run", *map(str, self._options(None)), *map(str, options)],
                                start_new_session=True, **self._how())

    def stop(self, state=None, how=None, **environment):
        return self._call("stop", "--state", state or self.state, how=how, **environment)

    def running(self, below=None):
        """The programs under test, and the nginxes and Redises that name a path below our folder, or have one open."""
        prefix = str(below or self.folder)
        found = set()
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            if not re.match("inferpool|modelserver|nginx|redis", processes.program(pid)):
                continue
            try:
                names = [Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")]
                names += [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
            except OSError:
                continue  # it has ended
            if processes.is_alive(pid) and any(prefix in name for name in names):
                found.add(pid)
        return found

    def assert_nothing_runs(self):
        eventually(lambda: not self.running(), f"nothing runs in {self.folder}", timeout_s=10)

    def pid(self, name):
        return int((self.state / f"{name}.pid").read_text())


class ScriptTest(SystemTest):
    def setUp(self):
        self.checkout = Checkout()
        self.state = self.checkout.state
        self.addCleanup(self.checkout.remove)

    def stranger(self):
        process = subprocess.Popen(["sleep", "600"])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def assert_starts(self, *options):
        result = self.checkout.run(*options)
        self.assertEqual(0, result.returncode, result.stdout)
        return result.stdout

    def assert_refused(self, *words, **options):
        """Ends with a sentence that has these words, and nothing runs."""
        result = self.checkout.run(**options)
        self.assertNotEqual(0, result.returncode, result.stdout)
        sentence = [line for line in result.stdout.splitlines() if line.startswith("inferpool: ")
                    and all(word in line for word in words)]
        self.assertTrue(sentence, result.stdout)
        self.checkout.assert_nothing_runs()

    def assert_stops(self):
        result = self.checkout.stop()
        self.assertEqual(0, result.returncode, result.stdout)
        self.assertIn("Stopped", result.stdout)
        self.checkout.assert_nothing_runs()

    def foreground(self, *options, until):
        """ops/run in the foreground, which has just said that."""
        script = self.checkout.run_in_foreground(*options)
        self.addCleanup(script.wait)
        self.addCleanup(script.kill)
        self.addCleanup(script.stdout.close)
        words = ""
        for line in script.stdout:
            words += line
            if until in line:
                return script
        self.fail(f"it has never said {until}: {words}")

    def when_there(self, name, do):
        """Calls `do` as soon as that file of the state folder is there."""
        def wait():
            eventually((self.state / name).exists, f"{name} is there", pause_s=0.002)
            do()
        thread = threading.Thread(target=wait)
        thread.start()
        self.addCleanup(thread.join)

    def config(self, **settings):
        """A configuration file with these settings beside."""
        path = self.checkout.folder / "config.json"
        settings = {"workers": 1, "state": str(self.state), "modelserver.repository": str(harness.MODELS),
                    **{key.replace("__", "."): value for key, value in settings.items()}}
        path.write_text(json.dumps(harness.nested(settings)))
        return path

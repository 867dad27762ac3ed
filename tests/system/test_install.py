"""`cmake --install`: everything lies where it belongs, and works without the source and the build."""

import http.client
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import harness
import http_client
import pictures
from edge import run, temporary_folder
from harness import SystemTest
from pictures import SOURCE
from processes import PATIENCE_S, eventually, session

BUILD = harness.BIN.parent
EVERYTHING = (
    "etc/inferpool/inferpool.json", "usr/bin/inferpool", "usr/bin/inferpool-feed", "usr/libexec/inferpool/modelserver",
    "usr/include/inferpool_frames.h", "usr/share/inferpool/examples/inferpool_frames.py",
    "usr/share/inferpool/pages/index.html", "usr/share/inferpool/models/faces_cascade/config.pbtxt",
    "usr/share/inferpool/models/shapes/1/model.onnx", "usr/share/inferpool/pictures/astronaut.jpg",
    "usr/share/doc/inferpool/README.md", "usr/share/doc/inferpool/docs/operations.md",
    "usr/lib/systemd/system/inferpool.service", "usr/lib/systemd/system/inferpool.socket",
    "usr/lib/sysusers.d/inferpool.conf")


def install(destination="", prefix="/usr"):
    done = run("env", f"DESTDIR={destination}", "cmake", "--install", BUILD, "--strip", "--prefix", prefix)
    assert done.returncode == 0, done.stdout + done.stderr


def without_source():
    """A command line under which a program sees an empty folder instead of the source, with the
    build in it; none where a container forbids that."""
    way = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none "{SOURCE}" && exec "$0" "$@"']
    return way if run(*way, "true").returncode == 0 else []


class InstalledTest(SystemTest):
    @classmethod
    def setUpClass(cls):
        folder = temporary_folder(cls)
        install(folder / "staged")
        cls.root = (folder / "staged").rename(folder / "elsewhere")

    def setUp(self):
        self.state = Path(tempfile.mkdtemp(prefix="ip", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.state, ignore_errors=True)
        self.port, self.http_port, sidecar = harness.free_ports(3)
        self.config = self.root / "etc/inferpool/inferpool.json"
        self.settings = [word for setting in (
            f"state={self.state}", "listen.socket=", f"nginx.port={self.port}", "workers=1",
            f"nginx.http_port={self.http_port}", f"sidecar.port={sidecar}") for word in ("--set", setting)]

    def command(self, name):
        return [*without_source(), self.root / "usr/bin/inferpool", name, "-c", self.config, *self.settings]

    def start(self, *command):
        with open(self.state / "log", "ab") as log:
            process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", "--", *command], cwd="/",
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.addCleanup(self.stop, process)
        return process

    def stop(self, process):
        process.terminate()
        process.wait(PATIENCE_S)
        eventually(lambda: not session(process.pid), "nothing of it is left")

    def get(self, target):
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=PATIENCE_S,
                                                 context=harness.tls_context())
        return http_client.request(connection, "GET", target)

    def test_everything_is_there(self):
        for name in EVERYTHING:
            self.assertTrue((self.root / name).is_file(), name)
        self.assertEqual({"etc", "usr"}, set(os.listdir(self.root)))
        unit = (self.root / EVERYTHING[-3]).read_text()
        self.assertIn("ExecStart=/usr/bin/inferpool serve -c /etc/inferpool/inferpool.json", unit)

    def test_all_models_come_along_and_nothing_that_is_for_git(self):
        models = lambda folder: {path.parent.name for path in folder.glob("*/config.pbtxt")}
        installed = self.root / "usr/share/inferpool/models"
        self.assertEqual(models(SOURCE / "ops/models"), models(installed))
        self.assertEqual([], [path for path in installed.rglob(".*")])

    def test_no_file_names_the_source(self):
        naming = [path for path in self.root.rglob("*")
                  if path.is_file() and os.fsencode(SOURCE) + b"/" in path.read_bytes()]
        self.assertEqual([], naming)

    def test_the_installed_configuration_is_good(self):
        done = run(self.root / "usr/bin/inferpool", "check", "-c", self.config)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_it_predicts(self):
        (self.state / "tls").mkdir()
        for name in ("certificate.pem", "key.pem"):
            shutil.copy(harness.certificate() / name, self.state / "tls" / name)
        prepared = run(*self.command("prepare"))
        self.assertEqual(0, prepared.returncode, prepared.stderr)
        self.start(*self.command("serve"))
        self.start(*without_source(), harness.NGINX, "-p", self.state, "-c", "nginx.conf",
                   "-e", "logs/nginx-error.log", "-g", "daemon off;")
        eventually(self.is_ready, "it is ready")
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=PATIENCE_S,
                                                 context=harness.tls_context())
        answer = self.assert_good(http_client.request(
            connection, "POST", "/v1/predict/faces_cascade", pictures.ASTRONAUT, {"Content-Type": "image/jpeg"}))
        self.assertEqual(1, len(answer["detections"]))
        page = self.get("/")
        self.assertEqual((200, (SOURCE / "nginx/pages/index.html").read_bytes()), (page.status, page.body))

    def is_ready(self):
        try:
            return self.get("/readyz").status == 200
        except OSError:
            return False


class AgainTest(unittest.TestCase):
    def test_what_an_operator_has_written_stays(self):
        prefix = temporary_folder(self)
        install(prefix=prefix)
        config = prefix / "etc/inferpool/inferpool.json"
        fresh = config.read_bytes()
        config.write_text("{}")
        install(prefix=prefix)
        self.assertEqual("{}", config.read_text())
        self.assertEqual(fresh, (config.parent / "inferpool.json.new").read_bytes())
        unit = (prefix / "lib/systemd/system/inferpool.service").read_text()
        self.assertIn(f"ExecStart={prefix}/bin/inferpool serve -c {config}", unit)


if __name__ == "__main__":
    unittest.main()

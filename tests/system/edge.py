"""What the tests of nginx have in common."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import harness
import pictures
from harness import inferpool, nested
from processes import PATIENCE_S, eventually

FACE = pictures.encode(pictures.astronaut().crop((140, 40, 310, 210)), "PNG")  # quick to search


def temporary_folder(test):
    """Gone with `test`, which is one or a class of them."""
    folder = tempfile.TemporaryDirectory(prefix="ip", dir="/tmp")
    (test.addClassCleanup if isinstance(test, type) else test.addCleanup)(folder.cleanup)
    return Path(folder.name)


def run(*command, **options):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace",
                          check=False, timeout=PATIENCE_S, **options)


class Front:
    """Somebody's own nginx before ours. `server`: what stands in its server block, PORT for its port
    and CERTIFICATE for a folder with one."""

    def __init__(self, server):
        self.state = Path(tempfile.mkdtemp(prefix="ip", dir="/tmp"))
        self.port, = harness.free_ports(1)
        server = server.replace("PORT", str(self.port)).replace("CERTIFICATE", str(harness.certificate()))
        temporary = "".join(f"{kind}_temp_path tmp_{kind};" for kind in
                            ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""  # ours is the folder for what waits
        (self.state / "nginx.conf").write_text(
            f"{user} pid nginx.pid; error_log stderr; events {{}} http {{ access_log off; {temporary} server {{ {server} }} }}")
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", harness.NGINX, "-p", self.state, "-c", "nginx.conf",
             "-e", "stderr", "-g", "daemon off;"], stdin=subprocess.DEVNULL)
        eventually(lambda: NginxAlone.answers(self), "the front nginx answers")

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        shutil.rmtree(self.state, ignore_errors=True)


class NginxAlone:
    """nginx as rendered, with no pool behind it: enough for TLS, pages and nginx's own errors."""

    def __init__(self, settings):
        self.state = Path(tempfile.mkdtemp(prefix="ip", dir="/tmp"))
        for folder in ("logs", "tmp"):
            (self.state / folder).mkdir()
        self.port, self.http_port, sidecar = harness.free_ports(3)
        certificate = harness.certificate()
        self.settings = {"state": str(self.state), "nginx.port": self.port,
                         "nginx.http_port": self.http_port, "sidecar.port": sidecar,
                         "nginx.certificate": str(certificate / "certificate.pem"),
                         "nginx.certificate_key": str(certificate / "key.pem"), **settings}
        (self.state / "config.json").write_text(json.dumps(nested(self.settings)))
        rendered = inferpool("nginx", "-c", self.state / "config.json")
        assert rendered.returncode == 0, rendered.stderr
        (self.state / "nginx.conf").write_text(rendered.stdout)
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", harness.NGINX, "-p", self.state, "-c", "nginx.conf",
             "-e", "stderr", "-g", "daemon off;"], stdin=subprocess.DEVNULL)
        eventually(self.answers, "nginx answers")

    def answers(self):
        assert self.process.poll() is None, f"nginx ended with {self.process.returncode}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        shutil.rmtree(self.state, ignore_errors=True)

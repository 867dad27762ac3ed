"""One running modelserver with a repository of its own, and the tests' base."""

import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import grpc

import kserve
from kserve import SOURCE, Client, pb

sys.path.append(str(Path(__file__).resolve().parent.parent))
from processes import PATIENCE_S, eventually  # noqa: E402, of the folder above

MODELSERVER = Path(os.environ.get("INFERPOOL_BIN") or SOURCE / "build/debug/bin") / "modelserver"


def identity(datatype="INT32", dims=(-1,), batch=0, delay_ms=0, more=""):
    """config.pbtxt of an identity model."""
    kind = kserve.DATATYPES[datatype][0]
    tensor = f'data_type: {kind} dims: [ {", ".join(map(str, dims))} ]'
    delay = (f'parameters {{ key: "execute_delay_ms" value {{ string_value: "{delay_ms}" }} }}'
             if delay_ms else "")
    return f"""
        backend: "identity"
        max_batch_size: {batch}
        input {{ name: "INPUT0" {tensor} }}
        output {{ name: "OUTPUT0" {tensor} }}
        {delay}
        {more}
        """


def add_sub(datatype="INT32", dims=(16,), batch=8, more=""):
    """Of Triton's "simple" family."""
    tensor = f'data_type: {kserve.DATATYPES[datatype][0]} dims: [ {", ".join(map(str, dims))} ]'
    tensors = "".join(f'{kind} {{ name: "{kind.upper()}{i}" {tensor} }}\n'
                      for kind in ("input", "output") for i in (0, 1))
    return f'backend: "add_sub"\nmax_batch_size: {batch}\n{tensors}{more}'


class Server:
    """`models`: {name: config.pbtxt}, or {name: (config.pbtxt, versions, {file: text})}; version 1
    is there unless something else is said. `options`: of the command line."""

    def __init__(self, models, *options, tcp=False, metrics=False, wait_ready=True,
                 client_shm=True):
        self.folder = Path(tempfile.mkdtemp(prefix="ipms", dir="/tmp"))
        self.repository = self.folder / "models"
        self.repository.mkdir()
        for name, model in models.items():
            self.write(name, *([model] if isinstance(model, str) else model))
        listen = "127.0.0.1:0" if tcp else f"unix:{self.folder}/socket"
        self.process = None
        self.client = None
        try:
            with open(self.folder / "log", "wb") as log:
                self.process = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", "--", MODELSERVER, "--repository",
                     self.repository, "--listen", listen,
                     f"--allow-client-shm={str(client_shm).lower()}",
                     *(["--metrics-listen", "127.0.0.1:0"] if metrics else []), *options],
                    stdin=subprocess.DEVNULL, stderr=log)
            self.address = self.wait_logged("listening")["address"]
            if metrics:
                self.metrics_address = self.wait_logged("metrics")["address"]
            self.client = Client(self.address)
            if wait_ready:
                self.wait_ready()
        except BaseException:
            self.print_log()
            self.destroy()
            raise

    def write(self, name, config, versions=(1,), files=None):
        """Puts a model there, or changes it, as an operator does: whole files appear at once."""
        folder = self.repository / name
        for version in versions:
            (folder / str(version)).mkdir(parents=True, exist_ok=True)
        for file, text in (files or {}).items():
            (folder / file).write_text(text)
        new = self.folder / "config.new"
        new.write_text(config)
        new.replace(folder / "config.pbtxt")

    def log(self):
        lines = []
        for line in (self.folder / "log").read_text(errors="replace").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                pass
        return lines

    def wait_logged(self, event):
        def find():
            assert self.process.poll() is None, f"modelserver ended: {self.process.returncode}"
            return next((line for line in self.log() if line.get("event") == event), None)
        return eventually(find, f"the log says '{event}'")

    def wait_ready(self):
        def ready():
            assert self.process.poll() is None, f"modelserver ended: {self.process.returncode}"
            try:
                return self.client.ServerReady(pb.ServerReadyRequest()).ready
            except grpc.RpcError:
                return False
        eventually(ready, "the server is ready")

    def stop(self):
        """It must still live, and end well."""
        try:
            assert self.process.poll() is None, f"modelserver has ended: {self.process.returncode}"
            self.client.close()
            self.process.terminate()
            assert self.process.wait(PATIENCE_S) == 0, f"it ended with {self.process.returncode}"
        except BaseException:
            self.print_log()
            raise
        finally:
            self.destroy()

    def destroy(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def print_log(self):
        text = (self.folder / "log").read_text(errors="replace")
        print("---- modelserver", *text.splitlines()[-30:], sep="\n", file=sys.stderr)


class ServerTest(unittest.TestCase):
    """A class with MODELS has one server for all of its tests."""

    MODELS = None
    OPTIONS = ()
    server: Server
    client: Client

    @classmethod
    def setUpClass(cls):
        if cls.MODELS is not None:
            cls.server = Server(cls.MODELS, *cls.OPTIONS)
            cls.addClassCleanup(cls.server.stop)
            cls.client = cls.server.client

    def start(self, models, *options, **more):
        server = Server(models, *options, **more)
        self.addCleanup(server.stop)
        return server

    def assert_error(self, code, text, call, *arguments, **options):
        """`text`: a pattern that the message contains."""
        options.setdefault("timeout", PATIENCE_S)
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, **options)
        self.assertEqual((code, caught.exception.details()),
                         (caught.exception.code(), caught.exception.details()))
        self.assertRegex(caught.exception.details(), f"(?i){text}")
        return caught.exception

    def assert_alive(self, client=None):
        request = pb.ServerLiveRequest()
        self.assertTrue((client or self.client).ServerLive(request, timeout=PATIENCE_S).live)


def threads(count):
    """For calls side by side."""
    return concurrent.futures.ThreadPoolExecutor(max_workers=count)

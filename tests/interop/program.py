"""A model server's program, and tritonclient's client of it."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import tritonclient.grpc as triton

PATIENCE_S = 60


def new_folder():
    return Path(tempfile.mkdtemp(prefix="ipprogram", dir="/tmp"))


class Program:
    """One that is there until the end of the block, and then has to end well."""

    def __init__(self, command, folder=None, environment=None):
        self.folder = folder or new_folder()
        self.log = self.folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment)

    def wait_ready(self, target):
        self.client = triton.InferenceServerClient(target)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                if self.client.is_server_ready():
                    return
            except triton.InferenceServerException:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"it did not start:\n{self.log.read_text()[-5000:]}")
            time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.process.terminate()
        status, told = self.process.wait(PATIENCE_S), self.log.read_text()[-5000:]
        shutil.rmtree(self.folder)
        if status != 0:
            raise RuntimeError(f"it ended with {status}:\n{told}")

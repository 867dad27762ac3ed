"""Model servers beside the pool (modelserver.enabled=false), which come, go and hang, and what they
say of themselves over gRPC."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
import processes
from processes import PATIENCE_S, eventually

sys.path.append(str(Path(__file__).resolve().parent / "conformance"))

import kserve  # noqa: E402, of the folder above
from kserve import pb  # noqa: E402


def outside(*servers):
    """The settings of a pool that has these model servers."""
    return {"modelserver.enabled": False, "backend.targets": [server.target for server in servers]}


def regions(client):
    """Names of the shared memory regions that a server knows."""
    status = client.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest(),
                                             timeout=PATIENCE_S)
    return set(status.regions)


def embedded(instance):
    """A client of an instance's own model server."""
    return kserve.Client(f"unix:{instance.state}/modelserver.sock")


class ModelServer:
    """One that can be killed and started anew at its address. `models`: names of the sample
    repository's, or a folder. `wrap`: a command line that the program is started by, such as
    `unshare`. `client_shm`: whether it takes its clients' shared memory; of the next start."""

    def __init__(self, models=("faces_cascade",), tcp=False, wrap=(), client_shm=True):
        self.folder = Path(tempfile.mkdtemp(prefix="ipms", dir="/tmp"))
        self.folder.chmod(0o755)  # `wrap` may be another user
        if isinstance(models, Path):
            self.repository = models
        else:
            self.repository = self.folder / "models"
            for name in models:
                shutil.copytree(harness.MODELS / name, self.repository / name)
        if tcp:
            [port] = harness.free_ports(1)
            self.listen, self.target = f"127.0.0.1:{port}", f"ipv4:127.0.0.1:{port}"
        else:
            self.listen = self.target = f"unix:{self.folder}/socket"
        self.wrap = wrap
        self.client_shm = client_shm
        self.process = self._client = None
        self.starts = 0
        self.start()
        self.wait_ready()

    def start(self):
        self.starts += 1
        with open(self._log_file(), "wb") as log:
            self.process = subprocess.Popen(
                [*self.wrap, "setpriv", "--pdeathsig", "KILL", "--", harness.MODELSERVER,
                 "--repository", self.repository, "--listen", self.listen,
                 *(["--allow-client-shm=true"] if self.client_shm else [])],
                stdin=subprocess.DEVNULL, stderr=log)

    def _log_file(self):
        return self.folder / f"log.{self.starts}"

    def log(self):
        """Of the present process."""
        lines = []
        for line in self._log_file().read_text(errors="replace").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                pass  # not written to its end, or a library's
        return lines

    def wait_ready(self):
        """When it was: by its own log, as time.monotonic() counts."""
        def ready():
            assert self.process.poll() is None, (
                f"modelserver ended with {self.process.returncode}: {self.log()}")
            return any(line.get("event") == "ready" for line in self.log())
        eventually(ready, "the model server is ready", pause_s=0.005)
        return time.monotonic()

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self._forget_client()

    def restart(self):
        self.kill()
        self.start()
        return self.wait_ready()

    def renew(self):
        """A restart that lets it finish what it has in work."""
        self.process.terminate()
        assert self.process.wait(PATIENCE_S) == 0, f"it ended with {self.process.returncode}"
        self._forget_client()
        self.start()
        return self.wait_ready()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)
        eventually(lambda: processes.is_stopped(self.process.pid), "the model server is frozen")

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    @property
    def client(self):
        if self._client is None:
            self._client = kserve.Client(self.target)
        return self._client

    def _forget_client(self):
        if self._client is not None:
            self._client.close()
            self._client = None

    def regions(self):
        return regions(self.client)

    def answered(self, model="faces_cascade"):
        """Requests that this process has answered."""
        return self.client.statistics(model).inference_stats.success.count

    def destroy(self):
        self._forget_client()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(PATIENCE_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def print_log(self):
        text = self._log_file().read_text(errors="replace")
        print(f"---- {self.target}", *text.splitlines()[-20:], sep="\n", file=sys.stderr)


def _works(way):
    return subprocess.run([*way, "true"], capture_output=True, check=False).returncode == 0


def private_shared_memory(size):
    """A command line under which a program has a /dev/shm of its own, of that size; none where a
    container forbids it."""
    mount = ["sh", "-c", f'mount -t tmpfs -o size={size} none /dev/shm && exec "$0" "$@"']
    ways = (["unshare", *namespace, *mount]
            for namespace in (["--mount"], ["--map-root-user", "--mount"]))
    return next(filter(_works, ways), None)


def without_our_shared_memory():
    """A command line under which a program cannot open what is in our /dev/shm."""
    way = private_shared_memory("64k")
    if way is None:
        way = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
        assert _works(way), "no way to keep a program from our shared memory"
    return way

"""A pool under load whose every answer is checked, and who watches it meanwhile.

    INFERPOOL_CHAOS_SECONDS  how long each disturbance goes on (default: 4)
"""

import contextlib
import functools
import http.client
import itertools
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))

import harness
import pictures
import processes
from harness import Instance, SystemTest
from http_client import Answer
from processes import PATIENCE_S, eventually

SECONDS = float(os.environ.get("INFERPOOL_CHAOS_SECONDS") or 4)

# What the answers depend on stands in the request: reloads may change the defaults.
QUERY = "confidence=0.1&iou=0.45&max_detections=300"
CHAOS = {"workers": 4, "threads": 4, "nginx.rate_per_s": 0, "timeouts.request_s": 30}
# A process of our own has them in its state folder when it is gone, and nothing else.
_REMAINS = {"config.json", "nginx.conf", "logs", "tls", "tmp", "crashes"}
_MEMORY_KIB = 1024


def segment_prefix(pid):
    """What the names in /dev/shm of a pool's segments have in common, of one that has one open;
    none when it has none."""
    names = processes.segments_of(pid)
    return min(names).rpartition("-")[0] if names else None


class Pool(Instance):
    """An instance that is reloaded, scaled and given another program. `own_program`: its programs
    lie in a folder of its own, where replace_program() can put another one."""

    def __init__(self, settings=None, own_program=False, **options):
        self.segments = None  # what their names in /dev/shm begin with
        self.stopped = False
        self.bin = None
        if own_program:
            self.bin = Path(tempfile.mkdtemp(prefix="ipbin", dir="/tmp"))
            for name in ("inferpool", "modelserver"):
                shutil.copy2(harness.BIN / name, self.bin / name)
            self.program = str(self.bin / "inferpool")
        super().__init__({**CHAOS, **(settings or {})}, **options)

    def stop(self):
        """Also by a test, before its end."""
        if not self.stopped:
            self.stopped = True
            self.segments = next(filter(None, map(segment_prefix, self.worker_pids())), None)
            super().stop()

    def destroy(self):
        super().destroy()
        if self.bin is not None:
            shutil.rmtree(self.bin, ignore_errors=True)

    def assert_nothing_left(self):
        super().assert_nothing_left()
        names = {path.name for path in self.state.iterdir()}
        assert names <= _REMAINS, f"left in the state folder: {names - _REMAINS}"
        files = [path for path in (self.state / "tmp").rglob("*") if not path.is_dir()]
        assert not files, f"temporary files are left: {files}"
        shared = [name for name in os.listdir("/dev/shm") if self.segments and name.startswith(self.segments)]
        assert not shared, f"shared memory is left: {shared}"

    # ------------------------------------------------------------ what an operator does

    def tell(self, number):
        os.kill(self.serve.pid, number)

    def configure(self, text=None, **settings):
        """Writes the configuration file: changed keys (a__b is a.b), or any text."""
        if text is None:
            self.settings.update({key.replace("__", "."): value for key, value in settings.items()})
            text = json.dumps(harness.nested(self.settings), indent=1)
        fresh = self.config_file.with_suffix(".fresh")
        fresh.write_text(text)
        fresh.rename(self.config_file)

    def command(self, command, **values):
        """Asks the master over its control socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
            control.settimeout(PATIENCE_S)
            control.connect(str(self.state / "control.sock"))
            control.send(json.dumps({"command": command, **values}).encode())
            return json.loads(control.recv(65536))

    def reload(self, **settings):
        self.configure(**settings)
        return self.command("reload")

    def replace_program(self, content=None):
        """Another file takes the program's place in one step: a copy of it, or `content`."""
        fresh = self.bin / "fresh"
        if content is None:
            shutil.copy2(harness.INFERPOOL, fresh)
        else:
            fresh.write_bytes(content)
            fresh.chmod(0o755)
        fresh.rename(self.program)

    def status(self):
        result = harness.inferpool("status", "--json", "--state", self.state)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    # ------------------------------------------------------------ what is to be seen

    def events(self, event, **fields):
        return [line for line in self.log() if line.get("event") == event
                and all(line.get(key) == value for key, value in fields.items())]

    def worker_pids(self):
        """All of them, also those that start or leave."""
        return [pid for pid in processes.children(self.serve.pid)
                if processes.title(pid).startswith("inferpool: worker ")]

    def sidecar_pids(self):
        return [pid for pid in processes.children(self.serve.pid)
                if processes.title(pid) == "inferpool: sidecar"]

    def kill(self, pid, number=signal.SIGKILL):
        """False when it has gone by itself."""
        try:
            os.kill(pid, number)
            return True
        except ProcessLookupError:
            return False

    def kill_random_worker(self):
        pids = self.worker_pids()
        return bool(pids) and self.kill(random.choice(pids))

    def wait_settled(self, workers=None, idle=True):
        """Until the workers wanted are there, and nobody else; their pids. `idle`: with nothing in
        work."""
        def settled():
            try:
                metrics = self.metrics()
            except (OSError, http.client.HTTPException):
                return False
            wanted = metrics.value("inferpool_workers_wanted")
            return (workers in (None, wanted)
                    and (not idle or metrics.value("inferpool_requests_in_work") == 0)
                    and metrics.value("inferpool_workers", state="ready") == wanted
                    and metrics.sum("inferpool_workers") == wanted
                    and len(self.sidecar_pids()) == 1)
        eventually(settled, "the pool has settled")
        return set(self.worker_pids())

    def wait_reloaded(self, generation, outcome="done"):
        return eventually(
            lambda: [line for line in self.events("reload", outcome=outcome)
                     if line["generation"] >= generation], f"a reload is {outcome}")


@functools.cache
def _portraits(count):
    """Little pictures no two of which are alike in size and content; most have a face."""
    choice = random.Random(3)
    whole = pictures.astronaut()
    sizes = itertools.islice(itertools.product(range(96, 112), range(96, 112, 2)), count)
    album = []
    for width, height in sizes:
        left, top, side = (choice.randrange(130, 165), choice.randrange(30, 60),
                           choice.randrange(140, 180))
        crop = whole.crop((left, top, left + side, top + side)).resize((width, height))
        album.append(pictures.encode(crop, "JPEG", quality=choice.randrange(70, 96)))
    return album


def essence(answer):
    """What depends on the picture alone."""
    content = answer.json()
    return {key: content[key] for key in ("model", "image", "detections")}


class Album:
    """Pictures and what the quiet pool says of each."""

    def __init__(self, pool, model="faces_cascade", album=None):
        self.model = model
        self.pictures = album or _portraits(40)
        answers = [pool.predict(model, picture, QUERY) for picture in self.pictures]
        assert all(answer.status == 200 for answer in answers), answers
        self.answers = [essence(answer) for answer in answers]
        count = len(answers)
        assert len({json.dumps(answer) for answer in self.answers}) == count, "pictures are alike"
        assert sum(bool(answer["detections"]) for answer in self.answers) > count / 2, "no faces"


class Client:
    """A connection over HTTPS that is kept as long as the server keeps it."""

    def __init__(self, pool, timeout_s=PATIENCE_S):
        self.connection = http.client.HTTPSConnection(
            "localhost", pool.port, context=pool.context, timeout=timeout_s)

    def predict(self, picture, query=QUERY, headers=None, model="faces_cascade"):
        begin = time.monotonic()
        self.connection.request("POST", f"/v1/predict/{model}?{query}", picture,
                                {"Content-Type": "image/jpeg", **(headers or {})})
        response = self.connection.getresponse()
        return Answer(response.status, response.headers, response.read(),
                      time.monotonic() - begin)

    def close(self):
        self.connection.close()


class Load:
    """Clients that send the album's pictures in any order and compare every answer. No request is
    sent a second time: an error, also one of the connection, is a failure. `excuse(answer, begin)`:
    it is none, though it is no 200. `spoil`: what becomes of the picture before it is sent."""

    def __init__(self, pool, album, clients=6, excuse=None, spoil=lambda picture: picture):
        self.pool, self.album, self.excuse, self.spoil = pool, album, excuse, spoil
        self.sent = self.bytes = 0
        self.right, self.excused, self.failures = [], [], []  # (begin, answer); texts
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True)
                         for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, number):
        choice = random.Random(number)
        client = Client(self.pool)
        while not self._stop.is_set():
            index = choice.randrange(len(self.album.pictures))
            picture = self.spoil(self.album.pictures[index])
            begin = time.monotonic()
            with self._lock:
                self.sent += 1
                self.bytes += len(picture)
            try:
                self._judge(index, begin, client.predict(picture, model=self.album.model))
            except Exception as error:  # each is a lost request
                self._fail(begin, repr(error))
                client.close()
                time.sleep(0.05)
        client.close()

    def _judge(self, index, begin, answer):
        if answer.status == 200:
            if essence(answer) == self.album.answers[index]:
                self.right.append((begin, answer))
            else:
                self._fail(begin, f"another picture's answer: {answer.body[:300]}")
        elif self.excuse is not None and self.excuse(answer, begin):
            self.excused.append((begin, answer))
            time.sleep(0.02)
        else:
            self._fail(begin, f"{answer.status}: {answer.body[:300]}")

    def _fail(self, begin, what):
        self.failures.append(f"sent {time.monotonic() - begin:.3f} s ago: {what}")

    def wait_right(self, count=30):
        """Until so many more right answers have come."""
        target = len(self.right) + count
        eventually(lambda: len(self.right) >= target or self.failures, f"{count} more answers")

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive(), "a request hangs"

    def check(self):
        shown = "\n".join(self.failures[:6])
        assert not self.failures, f"{len(self.failures)} of {self.sent} requests failed:\n{shown}"
        assert self.sent == len(self.right) + len(self.excused)
        assert self.right, "nothing was answered"


class Watch:
    """Scrapes /metrics without pause. Counters must not fall, nor the series become fewer; what the
    gauges were is in `seen`. `blind`: the sidecar may be away."""

    def __init__(self, pool, blind=False):
        self.pool, self.blind = pool, blind
        self.seen, self.problems = [], []  # (time, {gauge: value}); texts
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        latest = {}
        while not self._stop.is_set():
            try:
                metrics = self.pool.metrics()
            except Exception as error:
                if not self.blind:
                    self.problems.append(f"scrape: {error!r}")
                time.sleep(0.02)
                continue
            counters = metrics.counters()
            for key, value in latest.items():
                if counters.get(key, -1) < value:
                    self.problems.append(f"{key} fell from {value} to {counters.get(key)}")
            latest = counters
            workers = {labels[0][1]: value for (name, labels), value in metrics.samples.items()
                       if name == "inferpool_workers"}
            self.seen.append((time.monotonic(), {
                **workers, "wanted": metrics.value("inferpool_workers_wanted"),
                "pool ready": metrics.value("inferpool_ready")}))
            time.sleep(0.01)

    def stop(self):
        self._stop.set()
        self._thread.join(PATIENCE_S)

    def wait_seen(self, count=20):
        """Until so many scrapes have been read, however slow the machine is."""
        eventually(lambda: len(self.seen) >= count or self.problems, f"{count} scrapes")

    def check(self):
        assert not self.problems, "\n".join(self.problems[:6])
        assert self.seen, "nothing was scraped"

    def lasting(self, bad):
        """Gauges that `bad` says are wrong, at two scrapes on end: while one reads, workers may
        change their state, so a single one proves nothing."""
        return [two for (_, one), (_, two) in itertools.pairwise(self.seen) if bad(one) and bad(two)]


class Footprint:
    """What must stay as it is, however long the pool lives. Take it when the pool is quiet."""

    def __init__(self, pool):
        master = pool.serve.pid
        self.metrics = pool.metrics()
        # It has one descriptor for each of its children.
        self.descriptors = processes.descriptors(master) - len(processes.children(master))
        self.memory_kib = processes.private_memory_kib(master)
        self.worker_descriptors = max(map(processes.descriptors, pool.worker_pids()))


class ChaosTest(SystemTest):
    """begin() a pool, then disturb it within chaos()."""

    others_right = 0  # right answers within it to others than its clients

    def begin(self, settings=None, kind=Pool, **options):
        self.pool = self.instance = kind(settings, **options)
        self.addCleanup(self.pool.stop)
        self.pool.wait_settled(self.pool.settings["workers"])
        self.album = Album(self.pool)

    @contextlib.contextmanager
    def chaos(self, lossy=False, blind=False, least=30, **options):
        """Load and watch while the body runs, `least` right answers before and after it; in the end
        all that must hold. `lossy`: workers are killed, so what they had counted of a request is
        counted again at its retry."""
        before = Footprint(self.pool)
        load, watch = Load(self.pool, self.album, **options), Watch(self.pool, blind)
        try:
            load.wait_right(least)
            yield load, watch
            load.wait_right(least)
            watch.wait_seen()
        finally:
            load.stop()
            self.pool.wait_settled()
            watch.stop()
            print(f"\n    {len(load.right)} right, {len(load.excused)} excused, "
                  f"{len(load.failures)} failed; {len(watch.seen)} scrapes ", end="", file=sys.stderr)
        load.check()
        watch.check()
        self.assert_adds_up(before.metrics, load, lossy)
        self.assert_flat(before)

    def assert_adds_up(self, before, load, lossy):
        metrics = self.pool.metrics()

        def grown(name, **labels):
            return metrics.value(name, **labels) - before.value(name, **labels)
        crashes = grown("inferpool_worker_ends_total", reason="crash")
        spare = crashes * self.pool.settings["threads"]
        self.assertTrue(lossy or crashes == 0, f"{crashes} workers crashed")
        answered = grown("inferpool_requests_total", status="200")
        right = len(load.right) + self.others_right
        self.assertLessEqual(right, answered)
        self.assertLessEqual(answered, right + spare)
        counted = metrics.sum("inferpool_requests_total") - before.sum("inferpool_requests_total")
        timed = grown("inferpool_stage_seconds_count", stage="total")
        # Clients that left in the queue took no time.
        dropped = grown("inferpool_requests_total", status="499")
        self.assertLessEqual(timed, counted + spare)
        self.assertLessEqual(counted - dropped, timed + spare)
        alive = grown("inferpool_worker_starts_total") - (
            metrics.sum("inferpool_worker_ends_total") - before.sum("inferpool_worker_ends_total"))
        self.assertEqual(metrics.sum("inferpool_workers") - before.sum("inferpool_workers"), alive)
        self.assertEqual(0, metrics.value("inferpool_requests_in_work"))

    def assert_flat(self, before):
        after = Footprint(self.pool)
        self.assertEqual(before.descriptors, after.descriptors, "the master's descriptors")
        self.assertLessEqual(after.memory_kib, before.memory_kib + _MEMORY_KIB, "its memory")
        self.assertLessEqual(after.worker_descriptors, before.worker_descriptors + 2)

    def assert_never(self, watch, bad, what):
        lasting = watch.lasting(bad)
        self.assertFalse(bool(lasting), f"{what} at {len(lasting)} of {len(watch.seen)} scrapes, "
                                        f"such as {lasting[:1]}")

    def every(self, pause_s, act, seconds=None):
        """Calls `act()` again and again for as long as the chaos shall last."""
        end = time.monotonic() + (seconds or SECONDS)
        for turn in itertools.count(1):
            act()
            if turn >= 3 and time.monotonic() > end:
                return turn
            time.sleep(pause_s)

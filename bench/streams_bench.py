#!/usr/bin/python3
"""What cameras' streams cost: machinery, pictures, objects, fairness. Ratios of one run, not absolutes.

    cmake --preset release -DINFERPOOL_BENCH=ON
    cmake --build --preset release --target inferpool modelserver vision_bench
    bench/streams_bench.py [machinery] [pictures] [python] [objects] [fairness]

Redis, the producer, ingest and the model server share all processors. The null model reads one number of a
picture, so that its server's part is receiving calls. SECONDS, ROUNDS, CAMERAS and THREADS take other amounts.
"""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
os.environ.setdefault("INFERPOOL_BIN", str(SOURCE / "build/release/bin"))
os.environ.setdefault("INFERPOOL_SOURCE_DIR", str(SOURCE))
sys.path.insert(0, str(SOURCE / "tests/system"))
sys.path.insert(0, str(SOURCE / "bench/streams"))
sys.path.insert(0, str(SOURCE / "shared/frames"))

import harness  # noqa: E402
import inferpool_frames  # noqa: E402
import null_model  # noqa: E402
import pictures  # noqa: E402
import processes  # noqa: E402
import redis_server  # noqa: E402
from producer import Flood, Paced, answered  # noqa: E402

BIN = Path(os.environ["INFERPOOL_BIN"])
SECONDS = float(os.environ.get("SECONDS", "10"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
CAMERAS = int(os.environ.get("CAMERAS", "1000"))
THREADS = int(os.environ.get("THREADS", "64"))
WARM_S = 3.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")

QUIET = {"workers": 1, "threads": THREADS, "streams.workers": 1, "streams.mode": "async",
         "batch.max": 32, "recycle.requests": 0}


def photograph(width, height, quality=85):
    return pictures.encode(pictures.astronaut().resize((width, height)), "JPEG", quality=quality)


def cpu_s(pid):
    """Processor time of a process and all its threads, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def machine_cpu_s():
    """(busy, all) of all processors together, in seconds."""
    numbers = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(numbers) - numbers[3] - numbers[4]) * TICK_S, sum(numbers) * TICK_S


class Setup:
    """A Redis with cameras, a pool, and the processes that are watched."""

    def __init__(self, repository, cameras, **settings):
        self.redis = redis_server.RedisServer("--maxmemory-policy", "noeviction")
        self.client = self.redis.connect()
        self.cameras = [f"cam{i}" for i in range(cameras)]
        self.client("SADD", "inferpool:cameras", *self.cameras)
        self.instance = harness.Instance(
            {**QUIET, "modelserver.repository": str(repository), "streams.redis": self.redis.address, **settings},
            nginx=False)
        harness.eventually(lambda: len(self.ingest()) == int(self.instance.settings["streams.workers"]),
                           "all ingest processes are there")

    def ingest(self):
        alive = processes.children(self.instance.serve.pid)
        return [line["pid"] for line in self.instance.log()
                if line.get("event") == "ingest ready" and line["pid"] in alive]

    def watched(self, *others):
        return {"ingest": self.ingest(), "modelserver": [self.instance.modelserver()],
                "redis": [self.redis.process.pid],
                "producer": [process.pid for process in others if process is not None]}

    def trips(self):
        metrics = self.instance.metrics()
        return {way: (metrics.value("inferpool_stream_trips_total", way=way),
                      metrics.value("inferpool_stream_trip_frames_total", way=way)) for way in ("in", "out")}

    def measure(self, *others, seconds=SECONDS):
        """Answers a second, processor time of each for an answer, frames a trip, how busy the machine was."""
        watched = self.watched(*others)
        before = {name: sum(map(cpu_s, pids)) for name, pids in watched.items()}
        trips, count, busy, begun = self.trips(), answered(self.client), machine_cpu_s(), time.monotonic()
        time.sleep(seconds)
        took, count = time.monotonic() - begun, answered(self.client) - count
        after, more = machine_cpu_s(), self.trips()
        used = {name: sum(map(cpu_s, pids)) - before[name] for name, pids in watched.items()}
        ratio = {way: (more[way][1] - trips[way][1]) / max(more[way][0] - trips[way][0], 1) for way in trips}
        return {"per_s": count / took, "us": {name: 1e6 * spent / max(count, 1) for name, spent in used.items()},
                "per_trip": ratio, "busy": (after[0] - busy[0]) / (after[1] - busy[1]),
                "others": 1 - sum(used.values()) / max(after[0] - busy[0], 1e-9)}

    def close(self):
        self.client.close()
        self.instance.destroy()
        self.redis.destroy()


def show(name, result):
    us = ", ".join(f"{who} {spent:.0f}" for who, spent in result["us"].items())
    print(f"  {name}: {result['per_s']:,.0f} frames/s; CPU us a frame: {us}; frames a trip: in "
          f"{result['per_trip']['in']:.1f}, out {result['per_trip']['out']:.1f}; processors "
          f"{100 * result['busy']:.0f} % busy, {100 * result['others']:.0f} % of it others", flush=True)


def median_of(results, *path):
    def value(result):
        for name in path:
            result = result[name]
        return result
    return statistics.median(map(value, results))


def flooded(picture, side, cameras=CAMERAS, seconds=SECONDS, **settings):
    """One round: as many frames as are answered, and each camera always has some more."""
    with null_model.repository(side) as models:
        setup = Setup(models, cameras, **{"streams.model": "null", "streams.policy": "fifo", **settings})
        flood = Flood(setup.redis.socket, setup.cameras, picture)
        try:
            time.sleep(WARM_S)
            return setup.measure(flood.process, seconds=seconds)
        finally:
            flood.stop()
            setup.close()


def xadd_limit(picture):
    """What Redis alone can take: XADDs a second of the same entries, 32 at a time by one connection."""
    redis = redis_server.RedisServer()
    try:
        out = subprocess.run(
            ["redis-benchmark", "-s", redis.socket, "-c", "1", "-P", "32", "-n", "100000", "-r", "1000", "--csv",
             "XADD", "cam:__rand_int__", "MAXLEN", "1", "*", "picture", "x" * len(picture), "epoch", "1", "seq", "1"],
            capture_output=True, text=True, check=True).stdout
        return float(out.strip().splitlines()[-1].split(",")[1].strip('"'))
    finally:
        redis.destroy()


@contextlib.contextmanager
def handle(width, height):
    """A handle to a raw frame that stays what it is."""
    ring = inferpool_frames.Ring(slots=2, frame_bytes=3 * width * height)
    try:
        pixels = pictures.astronaut().resize((width, height)).tobytes()
        yield ring.put(pixels, "bgr", width, height)
    finally:
        with contextlib.suppress(FileNotFoundError):  # the pool's end takes away what it had mapped
            ring.close()


def machinery():
    results = {"handles": [], "pictures": []}
    for _ in range(ROUNDS):
        limit = xadd_limit(photograph(16, 16))
        for name, found in results.items():
            with handle(16, 16) as raw:
                result = flooded(raw if name == "handles" else photograph(16, 16), side=16)
            found.append({**result, "ratio": result["per_s"] / limit})
            show(f"machinery, {name}", result)
    for name, found in results.items():
        print(f"machinery alone, {name} of 16 x 16: {median_of(found, 'per_s'):,.0f} frames/s, "
              f"{median_of(found, 'ratio'):.3f} of the XADDs that Redis alone takes; "
              f"{median_of(found, 'us', 'ingest'):.0f} us of ingest's CPU a frame; "
              f"{median_of(found, 'per_trip', 'in'):.0f} frames a trip in, "
              f"{median_of(found, 'per_trip', 'out'):.0f} out")


def decoding_us():
    """Processor time of decoding and letterboxing 640 x 480, alone, in microseconds."""
    out = subprocess.run([BIN / "vision_bench", "--benchmark_filter=DecodeAndLetterbox/640/480", "--benchmark_format=json",
                          "--benchmark_min_time=1"], capture_output=True, text=True, check=True).stdout
    return 1000 * json.loads(out)["benchmarks"][0]["cpu_time"]


def whole_pictures(rounds=ROUNDS):
    picture = photograph(640, 480, quality=90)  # as vision_bench has it
    results = []
    for _ in range(rounds):
        alone = decoding_us()
        result = flooded(picture, side=640, **{"threads": 16, "batch.max": 16})
        results.append({**result, "share": alone / result["us"]["ingest"]})
        show("pictures", result)
    return results


def pictures_of_cameras():
    results = whole_pictures()
    print(f"JPEG 640 x 480: {median_of(results, 'per_s'):,.0f} frames/s; {median_of(results, 'share'):.2f} of ingest's "
          f"CPU is decoding and letterboxing; processors {100 * median_of(results, 'busy'):.0f} % busy")
    found = []
    for _ in range(ROUNDS):
        with handle(640, 480) as raw:
            found.append(flooded(raw, side=640, **{"threads": 16, "batch.max": 16}))
        show("raw frames", found[-1])
    print(f"raw frames of 640 x 480 by handle: {median_of(found, 'per_s') / median_of(results, 'per_s'):.1f} times as "
          f"many as JPEG; of ingest's CPU a frame {median_of(results, 'us', 'ingest'):.0f} us for JPEG and "
          f"{median_of(found, 'us', 'ingest'):.0f} us raw")


def python():
    """The same cameras and null model with a consumer in Python: as ours, and then theirs, in each round."""
    import consumer  # its libraries are wanted by nobody else
    picture = photograph(640, 480, quality=90)
    rates = {"ours": [], "task": [], "sharded": []}
    for _ in range(ROUNDS):
        for name, found in rates.items():
            if name == "ours":
                [result] = whole_pictures(rounds=1)
                found.append(result["per_s"])
                continue
            with null_model.repository(640) as models:
                setup = Setup(models, CAMERAS, **{"streams.camera_set": "", "streams.model": "null"})
                theirs = consumer.start(name, setup.redis.socket, setup.cameras, setup.instance.state)
                flood = Flood(setup.redis.socket, setup.cameras, picture)
                try:
                    time.sleep(3 * WARM_S)
                    count, begun = answered(setup.client), time.monotonic()
                    time.sleep(SECONDS)
                    found.append((answered(setup.client) - count) / (time.monotonic() - begun))
                    print(f"  python, {name}: {found[-1]:,.0f} frames/s", flush=True)
                finally:
                    flood.stop()
                    for process in theirs:
                        process.kill()
                        process.wait()
                    setup.close()
    ours = statistics.median(rates.pop("ours"))
    for name, found in rates.items():
        print(f"JPEG 640 x 480: {ours / max(statistics.median(found), 0.1):.1f} times the frames of the Python consumer "
              f"({name})")


def window(setup, seconds):
    shards = range(32)
    since = {shard: newest(setup.client, shard) for shard in shards}
    time.sleep(seconds)
    counts, ages = {}, []
    for shard in shards:
        for _, flat in setup.client("XRANGE", f"{redis_server.tag(shard)}:results", f"({since[shard]}", "+"):
            answer = dict(zip(flat[::2], flat[1::2]))
            if answer[b"status"] == b"200":
                name = answer[b"camera"].decode()
                counts[name] = counts.get(name, 0) + 1
                ages.append(int(answer[b"answered"]) - int(answer[b"captured"]))
    return counts, ages


def newest(client, shard):
    found = client("XREVRANGE", f"{redis_server.tag(shard)}:results", "+", "-", "COUNT", "1")
    return found[0][0].decode() if found else "0-0"


def clip_of_a_yard():
    """Ten seconds at 5 frames a second: nothing moves in 45 of them, then somebody walks through."""
    yard = pictures.Image.new("RGB", (640, 480), (90, 110, 90))
    yard.paste(pictures.astronaut().resize((320, 320)).convert("L").convert("RGB"), (300, 100))
    clip = [pictures.encode(yard, "JPEG", quality=85)] * 45
    for step in range(5):
        moved = yard.copy()
        moved.paste(pictures.astronaut().resize((160, 160)), (20 + 50 * step, 200))
        clip.append(pictures.encode(moved, "JPEG", quality=85))
    return clip


def objects():
    """Cameras of 5 frames a second that all processors serve with `objects`, by the processor time that a frame takes of
    everything, without and with a gate for motion."""
    models = Path(os.environ.get("MODELS_FOLDER", SOURCE / "ops/models"))
    clip, most = clip_of_a_yard(), {"without": [], "with": []}
    processors = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="inferpool-objects-") as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(models / "objects", Path(folder) / "objects")
        for _ in range(ROUNDS):
            for name, found in most.items():
                setup = Setup(folder, 2, **{"streams.model": "objects", "streams.mode": "auto", "threads": 4,
                                            "batch.max": 1, "streams.motion": {"enabled": name == "with"}})
                paced = Paced(setup.redis.socket, setup.cameras, dict.fromkeys(setup.cameras, 5), clip)
                try:
                    time.sleep(WARM_S)
                    result = setup.measure(paced.process, seconds=2 * SECONDS)
                finally:
                    paced.stop()
                    setup.close()
                show(f"objects, {name} a gate", result)
                found.append(1e6 * processors / (5 * sum(result["us"].values())))
    without, gated = (statistics.median(found) for found in most.values())
    print(f"objects, 640 x 480, nothing moves in 90 % of the frames: {processors} processors serve {without:.1f} cameras of "
          f"5 frames a second, {gated:.1f} with a gate for motion: {gated / without:.1f} times as many")


def jain(counts):
    return sum(counts) ** 2 / (len(counts) * sum(count * count for count in counts))


def fairness():
    """Twice the capacity, one camera with 100 times the rate of each other, `latest`."""
    picture, max_age_ms = photograph(640, 480, quality=90), 5_000
    settings = {"threads": 16, "batch.max": 16}
    capacity = flooded(picture, side=640, **settings)["per_s"]
    with null_model.repository(640) as models:
        setup = Setup(models, CAMERAS, **{"streams.model": "null", "streams.max_age_ms": max_age_ms, **settings})
        rate = 2 * capacity / (CAMERAS - 1 + 100)
        rates = {name: rate * (100 if name == "cam0" else 1) for name in setup.cameras}
        paced = Paced(setup.redis.socket, setup.cameras, rates, [picture])
        try:
            time.sleep(3 * WARM_S)
            counts, ages = window(setup, 3 * SECONDS)
        finally:
            paced.stop()
            setup.close()
    all_counts = [counts.get(name, 0) for name in setup.cameras]
    ages.sort()
    print(f"fairness: capacity {capacity:,.0f} frames/s, offered twice as much by {CAMERAS} cameras, one at 100 times "
          f"the others' rate: {sum(all_counts) / (3 * SECONDS):,.0f} answers/s, Jain's index {jain(all_counts):.4f}, "
          f"answers a camera {min(all_counts)} to {max(all_counts)} (the loud one {counts.get('cam0', 0)}), age p50 "
          f"{ages[len(ages) // 2]} ms, p99 {ages[99 * len(ages) // 100]} ms (max_age_ms {max_age_ms})")


SIDES = {"machinery": machinery, "pictures": pictures_of_cameras, "python": python, "objects": objects,
         "fairness": fairness}

if __name__ == "__main__":
    for side in sys.argv[1:] or SIDES:
        SIDES[side]()

#!/usr/bin/python3
"""What the pool's promises cost: recycling, starting, overload. Ratios of one run, not absolutes.

    cmake --preset release -DINFERPOOL_BENCH=ON && cmake --build --preset release
    bench/pool_bench.py [start] [recycling] [overload]

Each number is the median of rounds that alternate between the two sides, so that a machine that slows down
slows both.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
os.environ.setdefault("INFERPOOL_BIN", str(SOURCE / "build/release/bin"))
sys.path.insert(0, str(SOURCE / "tests/system"))

import harness  # noqa: E402
import pictures  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = int(os.environ.get("SECONDS", "6"))
QUIET = {"nginx.rate_per_s": 0, "log.level": "warning"}


def small_picture():
    path = Path(tempfile.mkdtemp(prefix="ip-bench-")) / "shape.jpg"
    picture = pictures.astronaut().crop((120, 20, 330, 230)).resize((160, 160))
    path.write_bytes(pictures.encode(picture, "JPEG", quality=85))
    return path


def status(instance):
    return json.loads(harness.inferpool("status", "--state", instance.state, "--json").stdout)


def load(instance, picture, seconds, model="shapes", **options):
    """Answers by status, as bench/load.cc prints them."""
    out = subprocess.run(
        [Path(os.environ["INFERPOOL_BIN"]) / "load", "--picture", picture, "--seconds", str(seconds),
         "--url", f"https://127.0.0.1:{instance.port}/v1/predict/{model}",
         *(f"--{name}={value}" for name, value in options.items())],
        capture_output=True, text=True, check=True).stdout
    return json.loads(out)


def good(result):
    """(answers of 200 a second, p99 in ms, other answers)"""
    ok = result["statuses"].get("200", {"count": 0, "per_s": 0.0, "p99_ms": 0.0})
    return ok["per_s"], ok["p99_ms"], result["sent"] - ok["count"]


def start():
    instance = harness.Instance({**QUIET, "workers": 16, "threads": 8, "log.level": "info"}, nginx=False)
    try:
        harness.eventually(lambda: status(instance)["workers"]["ready"] == 16, "16 workers are ready")
        times = [line["time"] for line in instance.log() if line.get("event") in ("starting", "worker ready")]
        seconds = [time.mktime(time.strptime(t[:19], "%Y-%m-%dT%H:%M:%S")) + float(t[19:23]) for t in times]
        print(f"16 workers ready {max(seconds) - min(seconds):.2f} s after the start")
        proportional, resident = [], []
        for worker in status(instance)["slots"]:
            rollup = Path(f"/proc/{worker['pid']}/smaps_rollup").read_text()
            proportional.append(int(re.search(r"^Pss: +(\d+)", rollup, re.M).group(1)) / 1024)
            resident.append(int(re.search(r"^Rss: +(\d+)", rollup, re.M).group(1)) / 1024)
        print(f"an idle worker: {statistics.median(resident):.1f} MiB resident, of which "
              f"{statistics.median(proportional):.1f} MiB its share (shared pages divided)")
    finally:
        instance.stop()


def recycling():
    picture = small_picture()
    sides = {"none": {"recycle.requests": 0}, "every 200": {"recycle.requests": 200, "recycle.jitter": 20}}
    rates, p99s, bads = ({name: [] for name in sides} for _ in range(3))
    for _ in range(ROUNDS):
        for name, settings in sides.items():
            instance = harness.Instance({**QUIET, "workers": 2, "threads": 4, **settings})
            try:
                load(instance, picture, 2, connections=8)
                rate, p99, bad = good(load(instance, picture, SECONDS, connections=8))
                rates[name].append(rate)
                p99s[name].append(p99)
                bads[name].append(bad)
                replaced = status(instance)["workers"]["replaced"]
                print(f"  recycling {name:9}: {rate:7.1f} answers/s, p99 {p99:6.1f} ms, {bad} bad, {replaced} replaced")
            finally:
                instance.stop()
    none, every = (statistics.median(rates[name]) for name in sides)
    none99, every99 = (statistics.median(p99s[name]) for name in sides)
    print(f"recycling every 200 requests: {every / none:.3f} of the throughput, {every99 / none99:.2f} times the p99, "
          f"{sum(bads['every 200'])} failed requests")


def overload():
    # A request that costs about 100 ms of CPU, so that generating and refusing the rest, on the same
    # cores, is a small part of the work.
    picture = pictures.SOURCE / "ops/pictures/astronaut.jpg"
    instance = harness.Instance({**QUIET, "workers": 2, "threads": 2})
    try:
        load(instance, picture, 2, "faces_cascade", connections=8)
        peak, _, _ = good(load(instance, picture, 2 * SECONDS, "faces_cascade", connections=8))
        result = load(instance, picture, 3 * SECONDS, "faces_cascade", rate=4 * peak)
        goodput, p99, _ = good(result)
        print(f"peak {peak:.1f} answers/s; offered 4 times as much, at random times: {goodput:.1f} good answers/s, "
              f"{goodput / peak:.2f} of the peak, p99 {p99:.0f} ms")
        for code, numbers in result["statuses"].items():
            print(f"  {code}: {numbers['count']:6} p50 {numbers['p50_ms']:7.1f} ms  p99 {numbers['p99_ms']:7.1f} ms")
        print(f"  refused by workers for their age: "
              f"{instance.metrics().value('inferpool_requests_total', status='503'):.0f}")
    finally:
        instance.stop()


if __name__ == "__main__":
    for name in sys.argv[1:] or ["start", "recycling", "overload"]:
        {"start": start, "recycling": recycling, "overload": overload}[name]()

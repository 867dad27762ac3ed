#!/usr/bin/python3
"""What the sample models cost, from upload to answer: time, cores, and the model server's memory.

    cmake --preset release -DINFERPOOL_BENCH=ON && cmake --build --preset release
    bench/models_bench.py [latency] [cores] [memory]

MODELS (names with commas between; default: all that are ready), ROUNDS, SECONDS, REQUESTS and MORE (requests
of each model before the memory is read, and before it is read again, REPEATS times) take other amounts.
"""

import os
import statistics
import sys
import time

import pool_bench
from pool_bench import SOURCE, good, load

import harness  # noqa: E402, of the folder that pool_bench adds
import pictures  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = int(os.environ.get("SECONDS", "6"))
REQUESTS, MORE = int(os.environ.get("REQUESTS", "1000")), int(os.environ.get("MORE", "10000"))
REPEATS = int(os.environ.get("REPEATS", "1"))
SETTINGS = {**pool_bench.QUIET, "modelserver.repository": str(SOURCE / "ops/models")}
MODELS = [name for name in os.environ.get("MODELS", "").split(",") if name]


def photograph(width, height):
    return pictures.encode(pictures.astronaut().resize((width, height)), "JPEG", quality=90)


def models(instance):
    ready = instance.request("GET", "/v1/models").json()["models"]
    return MODELS or sorted(model["name"] for model in ready)


def start(processors, **settings):
    """A pool on so many of the processors, a worker on each; we stay on all of them."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(ours)[:processors]))
    try:
        return harness.Instance({**SETTINGS, "workers": processors, **settings})
    finally:
        os.sched_setaffinity(0, ours)


def latency():
    """From upload to answer, one client, on one core but for the client's own work."""
    picture = photograph(640, 480)
    instance = start(1)
    try:
        print("| model, 640 x 480, one core, one client | ms, median | 90 % |\n| --- | --- | --- |")
        for model in models(instance):
            times = []
            for number in range(55):
                begin = time.perf_counter()
                answer = instance.predict(model, picture)
                if answer.status != 200:
                    print(f"| {model} | {answer.status} | |")
                    break
                if number >= 5:
                    times.append(1000 * (time.perf_counter() - begin))
            else:
                deciles = statistics.quantiles(times, n=10)
                print(f"| {model} | {statistics.median(times):.1f} | {deciles[8]:.1f} |", flush=True)
    finally:
        instance.destroy()


def cores():
    """Answers a second on two cores against one, in rounds that take turns."""
    path = pool_bench.small_picture()
    path.write_bytes(photograph(640, 480))
    print("| model, 640 x 480, 8 connections | 1 core, answers/s | 2 cores | ratio |\n| --- | --- | --- | --- |")
    for model in MODELS or ["objects"]:
        rates = {1: [], 2: []}
        for _ in range(ROUNDS):
            for processors, found in rates.items():
                instance = start(processors)
                try:
                    found.append(good(load(instance, path, SECONDS, model, connections=8))[0])
                finally:
                    instance.destroy()
        one, two = (statistics.median(found) for found in rates.values())
        print(f"| {model} | {one:.1f} | {two:.1f} | {two / one:.2f} |", flush=True)


def memory():
    """The model server's resident memory after so many answers of each model, and after more."""
    sizes = [(640, 480), (1920, 1080), (480, 640), (3000, 2000)]
    shown = [photograph(*size) for size in sizes]
    instance = harness.Instance(SETTINGS)
    try:
        names, server = models(instance), instance.modelserver()
        print(f"| answers of each of {len(names)} models | resident, MB |\n| --- | --- |")
        print(f"| 0 | {resident_mb(server):.0f} |", flush=True)
        total = 0
        for count in (REQUESTS, *[MORE] * REPEATS):
            total += count
            for model in names:
                for number in range(count):
                    instance.predict(model, shown[number % len(shown)])
            print(f"| {total} | {resident_mb(server):.0f} |", flush=True)
    finally:
        instance.destroy()


def resident_mb(pid):
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    for name in sys.argv[1:] or ["latency", "cores", "memory"]:
        print(f"\n## {name}\n")
        globals()[name]()

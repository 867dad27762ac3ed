#!/usr/bin/python3
"""What tiles cost: small things in a 3840 x 2160 picture, against as many pictures of a tile's size.

    cmake --preset release && cmake --build --preset release
    bench/tiles_bench.py

The time of one request with `tiles=auto` as a share of tiles x inference + decode. `inference` is the model's time
for one picture of a tile's size, and `decode` the one of the request itself; all are medians of one run, in which
the two take turns. ROUNDS takes another number of them.
"""

import os
import statistics
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
os.environ.setdefault("INFERPOOL_BIN", str(SOURCE / "build/release/bin"))
sys.path.insert(0, str(SOURCE / "tests/system"))

import drawn_shapes  # noqa: E402
import harness  # noqa: E402
import pictures  # noqa: E402
from pictures import intersection_over_union  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "15"))


def recall(things, detections):
    found = [thing for thing in things if any(
        one["class_name"] == thing["class_name"] and intersection_over_union(one["box"], thing["box"]) >= 0.5
        for one in detections)]
    return len(found) / len(things)


def main():
    image, things = drawn_shapes.scattered(1)
    picture = pictures.encode(image, "JPEG", quality=92)
    tile = pictures.encode(image.crop((0, 0, 468, 432)), "JPEG", quality=92)
    instance = harness.Instance({"nginx.rate_per_s": 0, "log.level": "warning", "workers": 1})
    try:
        def ask(body, query=""):
            answer = instance.predict("shapes", body, query)
            assert answer.status == 200, answer.body
            return answer.json()

        for _ in range(3):
            ask(tile), ask(picture, "tiles=auto")
        rounds = []
        for _ in range(ROUNDS):
            singles = [ask(tile)["timing_ms"] for _ in range(5)]
            rounds.append((statistics.median(one["infer"] for one in singles), ask(picture, "tiles=auto")))
        inference = statistics.median(single for single, _ in rounds)
        stages = {stage: statistics.median(answer["timing_ms"][stage] for _, answer in rounds)
                  for stage in ("decode", "preprocess", "infer", "postprocess", "total")}
        answer = rounds[-1][1]
        columns, rows = map(int, answer["image"]["tiles"].split("x"))
        bound = columns * rows * inference + stages["decode"]
        print(f"tiles {answer['tiles']}, one inference {inference:.2f} ms, "
              + ", ".join(f"{stage} {time:.1f} ms" for stage, time in stages.items()))
        print(f"total / (tiles x inference + decode): {stages['total'] / bound:.3f}")
        print(f"recall of {len(things)} things of 24 pixels: {recall(things, answer['detections']):.3f} with tiles, "
              f"{recall(things, ask(picture)['detections']):.3f} without; {len(answer['detections'])} answers")
    finally:
        instance.destroy()


if __name__ == "__main__":
    main()

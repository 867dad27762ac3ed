#!/usr/bin/python3
"""What tiles cost: small things in a 3840 x 2160 picture, against as many pictures of a tile's size.

    cmake --preset release && cmake --build --preset release
    bench/tiles_bench.py

The time of one request with `tiles=auto` as a share of tiles x inference + decode. `inference` is the mean of the
model's times for as many pictures of a tile's size, one after the other, and `decode` is the request's own. Both are
measured in turns, as long as each other, so that a machine that slows down slows both; the median of ROUNDS counts.
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

        answer = ask(picture, "tiles=auto")
        columns, rows = map(int, answer["tiles"].split("x"))
        tiles = columns * rows
        rounds = []
        for _ in range(ROUNDS):
            inference = statistics.mean(ask(tile)["timing_ms"]["infer"] for _ in range(tiles))
            times = ask(picture, "tiles=auto")["timing_ms"]
            rounds.append({"ratio": times["total"] / (tiles * inference + times["decode"]), "one": inference, **times})
        middle = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        print(f"{tiles} tiles, one inference {middle['one']:.2f} ms; of the request decode {middle['decode']:.1f} ms, "
              f"preprocess {middle['preprocess']:.1f} ms, infer {middle['infer']:.1f} ms, postprocess "
              f"{middle['postprocess']:.1f} ms, total {middle['total']:.1f} ms")
        print(f"total / (tiles x inference + decode): {middle['ratio']:.3f}")
        print(f"recall of {len(things)} things of 24 pixels: {recall(things, answer['detections']):.3f} with tiles, "
              f"{recall(things, ask(picture)['detections']):.3f} without; {len(answer['detections'])} answers")
    finally:
        instance.destroy()


if __name__ == "__main__":
    main()

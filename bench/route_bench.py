#!/usr/bin/env python3
"""What a shadow that hangs costs clients: the times of requests for a route without a shadow, with one
that answers, and with one that hangs.

    INFERPOOL_BIN=build/release/bin bench/route_bench.py [REQUESTS]

The three are asked in turn, round by round, so that what else the machine does hits all of them."""

import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests/system"))

import pictures  # noqa: E402, of the folder above
from harness import Instance  # noqa: E402
from model_servers import outside  # noqa: E402
from plain_server import PROTOCOL, SIDE, Net, PlainServer  # noqa: E402

WITH_INDEX = (*PROTOCOL, "RepositoryIndex")
ROUTES = ("without", "answers", "hangs")


def main():
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    yolo, good, hung = (PlainServer({name: Net()}, WITH_INDEX) for name in ("yolo", "good", "hung"))
    routes = {"without": {"model": "yolo"},
              "answers": {"model": "yolo", "shadow": {"model": "good", "percent": 100}},
              "hangs": {"model": "yolo", "shadow": {"model": "hung", "percent": 100}}}
    instance = Instance({**outside(yolo, good, hung), "workers": 1, "threads": 8, "routes": routes})
    try:
        picture = pictures.plain(SIDE, SIDE, "PNG")

        def ask(route):
            begin = time.monotonic()
            answer = instance.predict(route, picture, content_type="image/png")
            assert answer.status == 200, answer.body
            return (time.monotonic() - begin) * 1e3
        for route in ROUTES:
            for _ in range(20):
                ask(route)
        hung.hangs |= set(PROTOCOL)
        times = {route: [] for route in ROUTES}
        for _ in range(requests):
            for route in ROUTES:
                times[route].append(ask(route))
        print(f"{'shadow':<10} {'p50 ms':>8} {'p90 ms':>8} {'p99 ms':>8} {'max ms':>8}")
        for route, taken in times.items():
            taken.sort()
            shown = [taken[min(len(taken) - 1, int(len(taken) * part))] for part in (0.5, 0.9, 0.99, 1)]
            print(f"{route:<10} " + " ".join(f"{value:8.2f}" for value in shown))
    finally:
        instance.stop()
        for server in (yolo, good, hung):
            server.stop()


if __name__ == "__main__":
    main()

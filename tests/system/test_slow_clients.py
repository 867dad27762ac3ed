"""Clients that send a byte now and then, and those beside them."""

import asyncio
import contextlib
import multiprocessing
import os
import resource
import ssl
import time
import unittest
from pathlib import Path

import harness
from edge import FACE
from harness import SystemTest
from processes import PATIENCE_S

CLIENT_TIMEOUT_S = 6
PAUSE_S = 2  # between two bytes of a slow client
SLOW = 2_000


async def dribble(kind, ports, context, until, lives):
    """One slow client after the other, a byte at a time, until the end. A life: (kind, seconds
    until nginx cut it; none when it was not)."""
    while time.monotonic() < until:
        head = b"POST /v1/predict/faces_cascade HTTP/1.1\r\nHost: localhost\r\nX-Filler: " + b"x" * 10_000
        begin = time.monotonic()
        writer = None
        try:
            tls = {"ssl": context, "server_hostname": "localhost"} if kind != "head" else {}
            reader, writer = await asyncio.open_connection("127.0.0.1", ports[kind != "head"], **tls)
            if kind != "head":
                head = (b"POST /v1/predict/faces_cascade HTTP/1.1\r\nHost: localhost\r\n"
                        b"Content-Length: 100000\r\n\r\n")
                writer.write(head)
                head = b"\xff" * 100_000
            begin = time.monotonic()
            sent = 0
            while time.monotonic() < until:
                if kind != "pause" or sent < 3:
                    writer.write(head[sent:sent + 1])
                    sent += 1
                    begin = begin if kind == "head" else time.monotonic()
                with contextlib.suppress(asyncio.TimeoutError):
                    if not await asyncio.wait_for(reader.read(1000), PAUSE_S):
                        raise ConnectionError
            lives.append((kind, None))
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            lives.append((kind, time.monotonic() - begin))
        if writer is not None:
            writer.transport.abort()


def dribble_all(ports, seconds, ready, results):
    """In a process of its own. `head`s never end, bodies `pause` after a few bytes, or `last`."""
    os.nice(10)  # they would be elsewhere, and not take this machine's time
    context = harness.tls_context()
    lives = []

    async def everybody():
        until = time.monotonic() + seconds
        kinds = ["head"] * (SLOW // 2) + ["pause"] * (SLOW // 4) + ["last"] * (SLOW // 4)
        tasks = []
        for number, kind in enumerate(kinds):
            tasks.append(asyncio.create_task(dribble(kind, ports, context, until, lives)))
            if number % 20 == 0:
                await asyncio.sleep(0.02)
        await asyncio.sleep(2)
        ready.set()
        await asyncio.gather(*tasks)

    asyncio.run(everybody())
    results.put(lives)


class SlowClientsTest(SystemTest):
    SETTINGS = {"workers": 2, "threads": 4, "nginx.rate_per_s": 0, "nginx.connections": 0,
                "nginx.client_timeout_s": CLIENT_TIMEOUT_S}
    HEALTHY = 150

    def p99(self):
        """Of healthy requests, each on a connection of its own, one after the other."""
        seconds = []
        for _ in range(self.HEALTHY):
            begin = time.monotonic()
            self.assert_good(self.instance.predict("faces_cascade", FACE))
            seconds.append(time.monotonic() - begin)
        return sorted(seconds)[int(len(seconds) * 0.99)]

    def connections(self):
        """Of clients that nginx has now."""
        ports = {f"{self.instance.port:04X}", f"{self.instance.http_port:04X}"}
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        return sum(fields[1].split(":")[1] in ports and fields[3] == "01"
                   for fields in map(str.split, lines))

    def test_2000_dribbling_connections_harm_nobody(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 4 * SLOW:
            self.skipTest(f"only {hard} descriptors may be open")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        quiet = self.p99()
        context = multiprocessing.get_context("fork")
        ready, results = context.Event(), context.Queue()
        process = context.Process(target=dribble_all, args=(
            (self.instance.http_port, self.instance.port), 40, ready, results))
        process.start()
        try:
            self.assertTrue(ready.wait(PATIENCE_S), "the slow clients are there")
            most = self.connections()
            besieged = self.p99()
            most = max(most, self.connections())
            lives = results.get(timeout=2 * PATIENCE_S)
        finally:
            process.terminate()
            process.join()
        cut = {kind: [life for of, life in lives if of == kind and life is not None]
               for kind in ("head", "pause", "last")}
        print(f"p99 of healthy requests: {quiet * 1000:.0f} ms alone, {besieged * 1000:.0f} ms beside "
              f"{most} slow connections: {besieged / quiet:.2f} times; cut: "
              + ", ".join(f"{len(times)} {kind}" for kind, times in cut.items()))
        self.assertGreater(most, SLOW / 2)
        # Heads that never end and bodies that pause are cut, in time; the machine may be busy.
        self.assertGreaterEqual(len(cut["head"]), SLOW // 2)
        self.assertGreaterEqual(len(cut["pause"]), SLOW // 4)
        for kind in ("head", "pause"):
            middle = sorted(cut[kind])[len(cut[kind]) // 2]
            self.assertGreater(middle, CLIENT_TIMEOUT_S - PAUSE_S - 1, kind)
            self.assertLess(middle, CLIENT_TIMEOUT_S + 10, kind)
        self.assertLess(besieged, 10 * quiet + 1)


if __name__ == "__main__":
    unittest.main()

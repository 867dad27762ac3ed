"""Model servers die, hang and come back. While one of them serves, no client sees it."""

import sys
import time
import unittest

from chaos import QUERY, SECONDS, Album, ChaosTest  # it knows where the helpers are
import pictures
from model_servers import ModelServer, outside
from processes import eventually

SHAPES = sorted(path for path in (pictures.SOURCE / "tests/data/shapes").iterdir()
                if path.suffix != ".json" and "large" not in path.name)
CALLS = "inferpool_model_calls_total"


def say(text):
    print(f"\n    {text} ", end="", file=sys.stderr)


class ModelServersTest(ChaosTest):
    def start_servers(self, *servers):
        for server in servers:
            self.addCleanup(server.destroy)
        self.servers = servers
        return servers

    def begin_with(self, *servers, **settings):
        self.start_servers(*servers)
        self.begin({**outside(*servers),
                    **{key.replace("__", "."): value for key, value in settings.items()}})

    def calls(self, event):
        return self.pool.metrics().value(CALLS, event=event)


class OneKilledTest(ModelServersTest):
    def disturb_in_turn(self, disturb):
        """One is disturbed a second after the other one was, or a while after that is back."""
        turn = 0

        def act():
            nonlocal turn
            begin = time.monotonic()
            disturb(self.servers[turn % 2])
            turn += 1
            back = time.monotonic()
            time.sleep(max(0, begin + 1 - time.monotonic(), back + 0.6 - time.monotonic()))
        with self.chaos():
            self.every(0, act, 2.5 * SECONDS)
        say(f"{turn} times; {self.calls('retried'):.0f} calls were made again, breakers opened "
            f"{self.calls('breaker_opened'):.0f} times")
        for server in self.servers:
            eventually(lambda: self.sent_to(server), "it is used")

    def kill_in_turn(self, transport, tcp=False):
        self.begin_with(ModelServer(tcp=tcp), ModelServer(tcp=tcp), backend__transport=transport)
        self.disturb_in_turn(ModelServer.restart)

    def sent_to(self, server):
        for picture in self.album.pictures[:8]:
            self.assert_good(self.pool.predict(self.album.model, picture, QUERY))
        return server.answered(self.album.model) > 0

    def test_auto(self):
        self.kill_in_turn("auto")

    def test_inline(self):
        self.kill_in_turn("inline")

    def test_inline_over_tcp(self):
        self.kill_in_turn("inline", tcp=True)

    def test_while_pictures_share_calls(self):
        self.begin_with(ModelServer(["faces_cascade", "shapes"]), ModelServer(["faces_cascade", "shapes"]),
                        workers=2, batch__max=8, batch__wait_us=20_000)
        self.album = Album(self.pool, "shapes", [path.read_bytes() for path in SHAPES])
        self.disturb_in_turn(ModelServer.restart)

    def test_stopped_in_an_orderly_way(self):
        """As an operator renews them."""
        self.begin_with(ModelServer(), ModelServer())
        self.disturb_in_turn(ModelServer.renew)

    def test_pauses_of_a_second(self):
        def pause(server):
            server.freeze()
            time.sleep(1)
            server.thaw()
        self.begin_with(ModelServer(), ModelServer())
        self.disturb_in_turn(pause)

    def test_both_restarted_while_nobody_asks(self):
        """Neither knows the workers' memory any more."""
        self.begin_with(ModelServer(), ModelServer(), backend__transport="shm", workers=1)
        for _ in range(3):
            for server in self.servers:
                server.restart()
            time.sleep(0.6)
            for picture, expected in zip(self.album.pictures[:6], self.album.answers):
                answer = self.assert_good(self.pool.predict("faces_cascade", picture, QUERY))
                self.assertEqual(expected["detections"], answer["detections"])


class HungTest(ModelServersTest):
    def test_a_hung_one_beside_a_live_one(self):
        workers = 2
        self.begin_with(ModelServer(), ModelServer(), workers=workers)
        hung, _ = self.servers
        with self.chaos(clients=8) as (load, _):
            hung.freeze()
            begin = time.monotonic()
            eventually(lambda: self.calls("breaker_opened") >= workers, "the breakers open")
            opened = time.monotonic()
            load.wait_right(100)
            hung.thaw()
            before = hung.answered()
            eventually(lambda: hung.answered() > before + 10 or load.failures, "it is used again")
        slowest = max(answer.seconds for _, answer in load.right)
        after = max(answer.seconds for sent, answer in load.right if sent > opened)
        say(f"breakers open after {opened - begin:.1f} s; the slowest answer took {slowest:.1f} s, "
            f"and {after:.2f} s afterwards")
        self.assertLess(slowest, 15)
        self.assertLess(after, 3)  # nobody waits for a probe's patience


if __name__ == "__main__":
    unittest.main()

"""Model servers die, hang and come back. While one of them serves, no client sees it; while none
does, every client is told so at once, and served as soon as one is back."""

import sys
import time
import unittest

from chaos import QUERY, SECONDS, Album, ChaosTest, Client  # it knows where the helpers are
import pictures
from model_servers import ModelServer, outside
from processes import eventually

SHAPES = sorted(path for path in (pictures.SOURCE / "tests/data/shapes").iterdir()
                if path.suffix != ".json" and "large" not in path.name)
CALLS = "inferpool_model_calls_total"
PROMPT_MS = 5
# The promise is a second; a test machine may be busy with anything.
RECOVERY_S = 3


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
        self.begin_with(ModelServer(["faces", "shapes"]), ModelServer(["faces", "shapes"]),
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
                answer = self.assert_good(self.pool.predict("faces", picture, QUERY))
                self.assertEqual(expected["detections"], answer["detections"])


class AllAwayTest(ModelServersTest):
    def away(self, answer, _):
        self.assert_problem(answer, 503, "model-server-away")  # with Retry-After
        return True

    def test_killed(self):
        def revive(server):
            server.start()
            return server.wait_ready()
        self.answers_are_prompt_and_good_once_one_is_back(ModelServer.kill, revive)

    def test_hung(self):
        def revive(server):
            server.thaw()
            return time.monotonic()
        self.answers_are_prompt_and_good_once_one_is_back(ModelServer.freeze, revive)

    def answers_are_prompt_and_good_once_one_is_back(self, take_away, revive):
        # One worker, since another one might have so few requests that its breakers stay closed;
        # with a thread for each client, so that nobody is behind those who wait for a hung server.
        self.begin_with(ModelServer(), ModelServer(), workers=1, threads=8, breaker__open_s=300)
        with self.chaos(excuse=self.away) as (load, _):
            for server in self.servers:
                take_away(server)
            for server in self.servers:
                eventually(lambda: self.all_refused(), "no call is made any more")
                gone = time.monotonic()
                self.assert_prompt()
                self.assert_recovers(load, gone, revive(server))
                take_away(server)
            for server in self.servers:
                revive(server)
        self.assertTrue(load.excused)

    def all_refused(self):
        """For a while, so both breakers are open."""
        before = self.pool.metrics()
        time.sleep(0.3)
        after = self.pool.metrics()
        made, refused = (after.value(CALLS, event=event) - before.value(CALLS, event=event)
                         for event in ("made", "refused"))
        return made >= 10 and made <= refused + 2

    def assert_prompt(self):
        """By the worker's own clock, however large the picture; and nobody is asked."""
        before, count = self.pool.metrics(), 60
        large = pictures.encode(pictures.astronaut().resize((3072, 3072)), "JPEG", quality=90)
        client = Client(self.pool)
        self.addCleanup(client.close)
        for name, picture in (("small", self.album.pictures[0]), ("large", large)):
            times_ms = sorted(self.worker_ms(client.predict(picture)) for _ in range(count))
            middle, most = times_ms[count // 2], times_ms[int(0.95 * count)]
            say(f"all away: an answer to a {name} picture took {middle:.2f} ms, 95 % of them at "
                f"most {most:.2f} ms")
            self.assertLess(middle, PROMPT_MS, name)
        after = self.pool.metrics()
        made, refused = (after.value(CALLS, event=event) - before.value(CALLS, event=event)
                         for event in ("made", "refused"))
        self.assertGreaterEqual(refused, 2 * count)
        self.assertLessEqual(abs(made - refused), self.pool.settings["threads"] * 4)

    def worker_ms(self, answer):
        """Without the time that the body's way from nginx took."""
        self.assert_problem(answer, 503, "model-server-away")
        stages = dict(stage.split(";dur=") for stage in answer.header("Server-Timing").split(", "))
        return float(stages["total"]) - float(stages["read"])

    def assert_recovers(self, load, gone, ready):
        def first():
            return min((begin + answer.seconds for begin, answer in load.right[-1000:]
                        if begin > gone), default=None)
        took = eventually(first, "a good answer", pause_s=0.005) - ready
        say(f"the first good answer came {took:.3f} s after the server was ready")
        self.assertLess(took, RECOVERY_S)


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

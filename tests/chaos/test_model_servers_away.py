"""All model servers die or hang: every client is told so at once, and served as soon as one is back."""

import time
import unittest

from chaos import Client  # it knows where the helpers are
import pictures
from model_servers import ModelServer
from processes import eventually
from test_model_servers import CALLS, ModelServersTest, say

PROMPT_MS = 5
# The promise is a second; a test machine may be busy with anything.
RECOVERY_S = 3


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


if __name__ == "__main__":
    unittest.main()

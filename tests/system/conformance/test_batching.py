"""The dynamic batcher, as its users can tell: statistics, order of answers, statuses."""

import time
import unittest

import grpc
import numpy as np

from kserve import infer_request
from serving import ServerTest, eventually, identity, threads

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def batching(text="", delay_ms=150, batch=8, more=""):
    return identity("INT32", (-1,), batch, delay_ms, f"dynamic_batching {{ {text} }} {more}")


def policy(text):
    return f"default_queue_policy {{ {text} }}"


class Batching(ServerTest):
    MODELS = {
        "joins": batching(),
        "alone": identity("INT32", (-1,), 8, 30),
        "one": batching(batch=1, delay_ms=5),
        "preferred": batching("preferred_batch_size: [ 4 ] "
                              "max_queue_delay_microseconds: 30000000", delay_ms=0),
        "delays": batching("max_queue_delay_microseconds: 100000", delay_ms=0),
        "small": batching("max_queue_delay_microseconds: 50000", delay_ms=100, batch=4),
        "pair": identity("INT32", (-1,), 1, 300, """
            dynamic_batching {} instance_group { count: 2 }"""),
    }

    def ask(self, model, value, rows=1, width=1, **options):
        """A call under way. Its answer must be its own."""
        array = np.full((rows, width), value, np.int32)
        call = self.client.ModelInfer.future(
            infer_request(model, {"INPUT0": array}, **options), timeout=60)
        return call, array.tobytes()

    def answers(self, calls):
        for call, expected in calls:
            self.assertEqual(expected, call.result(60).raw_output_contents[0])

    def executed(self, model):
        """{rows: executions}, of all time."""
        statistics = self.client.statistics(model)
        batches = {batch.batch_size: batch.compute_infer.count for batch in statistics.batch_stats}
        self.assertEqual(statistics.execution_count, sum(batches.values()))
        self.assertEqual(statistics.inference_count,
                         sum(rows * count for rows, count in batches.items()))
        return batches

    def test_batches_form_while_the_instance_is_busy(self):
        self.answers([self.ask("joins", i) for i in range(17)])
        batches = self.executed("joins")
        self.assertEqual(17, sum(rows * count for rows, count in batches.items()))
        self.assertLessEqual(sum(batches.values()), 8)
        self.assertLessEqual(max(batches), 8)
        self.assertGreater(max(batches), 1)

    def test_without_dynamic_batching_each_runs_alone(self):
        self.answers([self.ask("alone", i, rows=2) for i in range(5)])
        self.assertEqual({2: 5}, self.executed("alone"))

    def test_a_request_is_never_split_and_a_batch_never_over_the_maximum(self):
        self.answers([self.ask("small", i, rows=3) for i in range(6)])
        self.assertEqual({3: 6}, self.executed("small"))

    def test_shapes_are_not_mixed(self):
        self.answers([self.ask("delays", i, width=i + 1) for i in range(12)])
        self.assertEqual({1: 12}, self.executed("delays"))

    def test_the_preferred_size_goes_at_once(self):
        self.answers([self.ask("preferred", i) for i in range(8)])
        self.assertEqual({4: 2}, self.executed("preferred"))

    def test_instances_run_side_by_side(self):
        start = time.monotonic()
        self.answers([self.ask("pair", i) for i in range(8)])
        # One instance would take 2.4 s.
        self.assertLess(time.monotonic() - start, 2.2)

    def test_a_burst_of_callers_each_gets_its_own(self):
        with threads(16) as pool:
            def call(i):
                self.answers([self.ask("one", i)])
            list(pool.map(call, range(100)))
        self.assertEqual({1: 100}, self.executed("one"))


class QueuePolicies(ServerTest):
    OVERRIDE = "allow_timeout_override: true "
    MODELS = {
        "rejects": batching(policy(OVERRIDE), 800, 1),
        "default": batching(policy("default_timeout_microseconds: 50000"), 500, 1),
        "delays": batching(policy(OVERRIDE + "timeout_action: DELAY"), 300, 1),
        "bounded": batching(policy("max_queue_size: 2"), 500, 1),
        "levels": batching("priority_levels: 2 default_priority_level: 2", 200, 1),
    }

    def ask(self, model, order, **parameters):
        """A call that notes its end in `order`."""
        name = parameters.pop("name", "")
        call = self.client.ModelInfer.future(
            infer_request(model, {"INPUT0": np.zeros((1, 1), np.int32)}, parameters=parameters),
            timeout=60)
        call.add_done_callback(lambda done: order.append((name, done.code())))
        return call

    def occupy(self, model, order, **parameters):
        """A first call, and a moment in which it gets the instance."""
        call = self.ask(model, order, name="first", **parameters)
        time.sleep(0.05)
        return call

    @staticmethod
    def finish(calls, order):
        eventually(lambda: len(order) == len(calls), "all calls end")
        return order

    def test_a_timeout_rejects_while_the_instance_is_still_busy(self):
        order = []
        calls = [self.occupy("rejects", order),
                 self.ask("rejects", order, name="hasty", timeout=20_000),
                 self.ask("rejects", order, name="patient")]
        self.assertEqual([("hasty", UNAVAILABLE), ("first", grpc.StatusCode.OK),
                          ("patient", grpc.StatusCode.OK)], self.finish(calls, order))
        self.assertRegex(calls[1].details(), "(?i)timeout")

    def test_timeouts_are_punctual(self):
        first = self.occupy("rejects", [])
        for _ in range(10):
            call = self.ask("rejects", [], timeout=2_000)
            self.assertEqual(UNAVAILABLE, call.code())
        # Those who sweep every half second would not have told two of them by now.
        self.assertFalse(first.done())
        first.result(60)

    def test_the_policys_own_timeout(self):
        order = []
        calls = [self.occupy("default", order),
                 self.ask("default", order, name="late", timeout=30_000_000)]
        self.assertEqual([("late", UNAVAILABLE), ("first", grpc.StatusCode.OK)],
                         self.finish(calls, order))

    def test_delay_serves_the_expired_last(self):
        order = []
        calls = [self.occupy("delays", order), self.ask("delays", order, name="expired", timeout=1)]
        time.sleep(0.02)
        calls.append(self.ask("delays", order, name="patient"))
        self.assertEqual([(name, grpc.StatusCode.OK) for name in ("first", "patient", "expired")],
                         self.finish(calls, order))

    def test_a_full_queue_refuses_at_once(self):
        order = []
        calls = [self.occupy("bounded", order)]
        for name in ("a", "b"):
            calls.append(self.ask("bounded", order, name=name))
            time.sleep(0.02)
        calls.append(self.ask("bounded", order, name="refused"))
        self.assertEqual(UNAVAILABLE, calls[-1].code())
        self.assertRegex(calls[-1].details(), "(?i)queue")
        self.assertEqual(("refused", UNAVAILABLE), self.finish(calls, order)[0])
        self.assertEqual({grpc.StatusCode.OK}, {code for _, code in order[1:]})

    def test_priorities_overtake(self):
        order = []
        calls = [self.occupy("levels", order)]
        for name, priority in (("low", 2), ("default", 0), ("high", 1), ("high too", 1)):
            calls.append(self.ask("levels", order, name=name, priority=priority))
            time.sleep(0.02)
        self.assertEqual(["first", "high", "high too", "low", "default"],
                         [name for name, _ in self.finish(calls, order)])


class Neighbours(ServerTest):
    MODELS = {"slow": batching(delay_ms=3000), "fast": identity("INT32", (-1,), 0, 5)}

    def latencies(self):
        array = {"INPUT0": np.zeros(1, np.int32)}
        times = []
        for _ in range(100):
            start = time.monotonic()
            self.client.infer("fast", array)
            times.append(time.monotonic() - start)
        return sorted(times)

    def test_a_slow_model_adds_nothing_to_a_fast_one(self):
        alone = self.latencies()
        slow = [self.client.ModelInfer.future(
            infer_request("slow", {"INPUT0": np.zeros((1, 1), np.int32)}), timeout=60)
            for _ in range(20)]
        beside = self.latencies()
        self.assertFalse(all(call.done() for call in slow), "the slow ones were there all the time")
        self.assertLess(beside[50], 3 * alone[50] + 0.01)
        self.assertLess(beside[95], 3 * alone[95] + 0.05)
        for call in slow:
            call.cancel()


if __name__ == "__main__":
    unittest.main()

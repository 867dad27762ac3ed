"""More requests and streams than the server has places for: what waits, what is refused, and that the
rest is served as if there were none."""

import os
import queue
import time
import unittest

import grpc
import numpy as np

from kserve import health_pb, infer_request, pb
from serving import Server, ServerTest, eventually, identity

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
PLACES = 4096  # for requests of all models together
STREAMS = 512


def queue_of(size):
    return identity("INT32", (-1,), 1, 60_000, f"""dynamic_batching {{
        default_queue_policy {{ max_queue_size: {size} }} }}""")


class CrowdTest(ServerTest):
    def crowd(self, model, count):
        """Calls that nobody waits for."""
        request = infer_request(model, {"INPUT0": np.zeros((1, 1), np.int32)})
        calls = [self.server.client.ModelInfer.future(request, timeout=60) for _ in range(count)]
        self.addCleanup(lambda: [call.cancel() for call in calls])
        return calls

    def assert_refused(self, calls, count, text):
        """So many of them, and no more."""
        def refused():
            return [call for call in calls if call.done()]
        eventually(lambda: len(refused()) >= count, f"{count} are refused")
        time.sleep(0.2)
        self.assertEqual(count, len(refused()))
        for call in refused():
            self.assertEqual(UNAVAILABLE, call.code())
            self.assertRegex(call.details(), text)

    def assert_small_calls(self):
        client, deadline = self.server.client, {"timeout": 10}
        self.assertTrue(client.ServerLive(pb.ServerLiveRequest(), **deadline).live)
        self.assertTrue(client.ServerReady(pb.ServerReadyRequest(), **deadline).ready)
        for model in self.server_models:
            self.assertTrue(client.ModelReady(pb.ModelReadyRequest(name=model), **deadline).ready)
            client.ModelMetadata(pb.ModelMetadataRequest(name=model), **deadline)
            client.ModelStatistics(pb.ModelStatisticsRequest(name=model), **deadline)
        self.assertEqual(health_pb.HealthCheckResponse.SERVING,
                         client.Check(health_pb.HealthCheckRequest(), **deadline).status)

    def serve(self, models):
        self.server = Server(models)
        # Not stop(): what runs would be let end.
        self.addCleanup(self.server.destroy)
        self.addCleanup(self.server.client.close)
        self.server_models = models


class Requests(CrowdTest):
    def test_a_queue_holds_what_its_configuration_says(self):
        self.serve({"small": queue_of(100), "large": queue_of(1000)})
        small, large = self.crowd("small", 103), self.crowd("large", 1003)
        self.assert_refused(small, 2, "maximum queue size")  # one runs
        self.assert_refused(large, 2, "maximum queue size")

    def test_more_than_there_are_places_for_is_said_when_a_model_is_loaded(self):
        self.serve({"huge": queue_of(100_000), "large": queue_of(PLACES // 2)})
        log = (self.server.folder / "log").read_text()
        (line,) = [line for line in log.splitlines() if "max_queue_size" in line]
        self.assertIn("huge", line)

    def test_busy_models_leave_room_for_the_others(self):
        slow = identity("INT32", (-1,), 1, 60_000)
        self.serve({"busy": slow, "busy too": slow, "idle": identity("INT32", (-1,), 1)})
        calls = self.crowd("busy", PLACES // 2 + 50)
        self.assert_refused(calls, 50, "too many requests")
        self.assert_refused(self.crowd("busy too", 300), 0, "")
        self.assert_small_calls()
        self.server.client.infer("idle", {"INPUT0": np.zeros((1, 1), np.int32)}, timeout=10)

    def test_waiting_costs_little_and_who_leaves_is_gone(self):
        self.serve({"slow": identity("INT32", (-1,), 1, 60_000)})
        calls = self.crowd("slow", 1500)
        process = self.server.process.pid

        def threads():
            return len(os.listdir(f"/proc/{process}/task"))

        def processor_s():
            with open(f"/proc/{process}/stat") as stat:
                return sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:13])) / os.sysconf(
                    "SC_CLK_TCK")
        eventually(lambda: threads() > 1500, "all wait")
        time.sleep(1)
        before = processor_s()
        time.sleep(3)
        self.assertLess(processor_s() - before, 0.02 * 3)
        for call in calls:
            call.cancel()

        def given_up():
            of = self.server.client.ModelStatistics(pb.ModelStatisticsRequest(name="slow"))
            return of.model_stats[0].inference_stats.fail.count
        eventually(lambda: given_up() == 1499, "all but the one that runs have been given up")
        eventually(lambda: threads() < 40, "their threads end")


class Streams(CrowdTest):
    def test_streams_that_say_nothing_are_bounded_and_hold_nobody_up(self):
        self.serve({"echo": identity("INT32", (-1,), 1)})
        requests = [queue.Queue() for _ in range(STREAMS + 5)]
        streams = [self.server.client.ModelStreamInfer(iter(one.get, None), timeout=60)
                   for one in requests]
        self.addCleanup(lambda: [one.put(None) for one in requests])
        self.assert_refused(streams, 5, "too many streams")
        self.assert_small_calls()
        array = {"INPUT0": np.zeros((1, 1), np.int32)}
        self.server.client.infer("echo", array, timeout=10)
        # Those that are open work, and one that ends makes room.
        open_streams = [(one, line) for one, line in zip(streams, requests) if not one.done()]
        for stream, line in open_streams[:3]:
            line.put(infer_request("echo", array, id="mine"))
            self.assertEqual("mine", next(stream).infer_response.id)
        open_streams[0][1].put(None)
        self.assertEqual([], list(open_streams[0][0]))
        answers = self.server.client.ModelStreamInfer(iter([infer_request("echo", array)]),
                                                      timeout=10)
        self.assertEqual("", next(answers).error_message)


if __name__ == "__main__":
    unittest.main()

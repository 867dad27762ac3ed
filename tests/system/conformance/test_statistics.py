"""What the server counts: ModelStatistics, and Prometheus' text under Triton's names."""

import time
import unittest
import urllib.error
import urllib.request

import grpc
import numpy as np

from kserve import infer_request, pb
from segments import Segment
from serving import Server, ServerTest, add_sub, eventually, identity, threads
from exposition import Metrics  # noqa: I001, of the folder above

DURATIONS = ("request", "queue", "compute_input", "compute_infer", "compute_output")


class StatisticsTests(ServerTest):
    MODELS = {"echo": (identity(more="version_policy { all {} }"), (1, 2)),
              "simple": add_sub(),
              "slow": identity(delay_ms=50),
              "few": identity(batch=1, delay_ms=800, more="dynamic_batching { "
                              "default_queue_policy { max_queue_size: 1 } }"),
              "large": identity(batch=2, delay_ms=5, more="dynamic_batching {}")}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.MODELS, metrics=True)
        cls.addClassCleanup(cls.server.stop)
        cls.client = cls.server.client

    def scrape(self):
        with urllib.request.urlopen(f"http://{self.server.metrics_address}/metrics") as answer:
            self.assertTrue(answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"))
            return Metrics(answer.read().decode())

    def infer_nothing(self, model):
        with self.assertRaises(grpc.RpcError):
            self.client.ModelInfer(pb.ModelInferRequest(model_name=model))

    @staticmethod
    def simple(rows):
        return {name: np.zeros((rows, 16), np.int32) for name in ("INPUT0", "INPUT1")}

    def test_successes_and_failures(self):
        before = self.client.statistics("simple")
        before_ms = time.time() * 1000
        for rows in (1, 3, 3):
            self.client.infer("simple", self.simple(rows))
        self.infer_nothing("simple")
        after = self.client.statistics("simple")
        self.assertEqual(("simple", "1"), (after.name, after.version))
        self.assertEqual(7, after.inference_count - before.inference_count)
        self.assertEqual(3, after.execution_count - before.execution_count)
        then, now = before.inference_stats, after.inference_stats
        self.assertEqual(3, now.success.count - then.success.count)
        self.assertEqual(1, now.fail.count - then.fail.count)
        for part in ("queue", "compute_input", "compute_infer", "compute_output"):
            self.assertEqual(now.success.count, getattr(now, part).count)
        self.assertGreater(now.success.ns, then.success.ns)
        self.assertEqual(0, now.cache_hit.count)
        self.assertAlmostEqual(before_ms, after.last_inference, delta=30_000)
        batches = {batch.batch_size: batch for batch in after.batch_stats}
        self.assertGreaterEqual(batches[3].compute_infer.count, 2)

    def test_times_are_where_they_were_spent(self):
        calls = [self.client.ModelInfer.future(infer_request(
            "slow", {"INPUT0": np.zeros(1, np.int32)})) for _ in range(3)]
        for call in calls:
            call.result(60)
        stats = self.client.statistics("slow").inference_stats
        count, ms = stats.success.count, 1_000_000
        self.assertGreaterEqual(stats.compute_infer.ns, count * 50 * ms)
        self.assertGreaterEqual(stats.queue.ns, 100 * ms)  # 50 of the second, 100 of the third
        parts = (stats.queue.ns + stats.compute_input.ns + stats.compute_infer.ns +
                 stats.compute_output.ns)
        self.assertLessEqual(parts, stats.success.ns)

    def test_what_the_engine_copies_is_no_inference(self):
        for _ in range(3):
            self.client.infer("large", {"INPUT0": np.zeros((1, 1_000_000), np.int32)})
        statistics = self.client.statistics("large")
        for stats in (statistics.inference_stats, *statistics.batch_stats):
            self.assertEqual(0, stats.compute_input.ns)  # read where they lie
            self.assertGreater(stats.compute_output.ns, 3 * 100_000)  # 4 MB each
            self.assertGreaterEqual(stats.compute_infer.ns, 3 * 5_000_000)

    def test_what_is_refused_before_it_runs_is_a_failure(self):
        before = self.client.statistics("simple").inference_stats.fail.count
        requests = [infer_request("simple", self.simple(1)) for _ in range(3)]
        requests[0].raw_input_contents[1] = b"short"
        requests[1].outputs.add(name="OUTPUT9")
        requests[2].parameters["priority"].int64_param = -1
        for request in requests:
            with self.assertRaises(grpc.RpcError):
                self.client.ModelInfer(request)
        after = self.client.statistics("simple").inference_stats.fail.count
        self.assertEqual(len(requests), after - before)

    def test_of_each_version_of_all_and_of_one(self):
        for version in ("1", "2", "2"):
            self.client.infer("echo", {"INPUT0": np.zeros(1, np.int32)}, version=version)
        everything = self.client.ModelStatistics(pb.ModelStatisticsRequest()).model_stats
        self.assertEqual([("echo", "1"), ("echo", "2"), ("few", "1"), ("large", "1"), ("simple", "1"), ("slow", "1")],
                         sorted((one.name, one.version) for one in everything))
        both = self.client.ModelStatistics(pb.ModelStatisticsRequest(name="echo")).model_stats
        self.assertEqual(["1", "2"], sorted(one.version for one in both))
        self.assertEqual(2, self.client.statistics("echo", "2").inference_count)

    def test_metrics_agree_with_the_statistics(self):
        self.client.infer("simple", self.simple(2))
        self.infer_nothing("simple")
        metrics = self.scrape()
        statistics = self.client.statistics("simple")
        label = {"model": "simple", "version": "1"}
        stats = statistics.inference_stats
        self.assertEqual(stats.success.count, metrics.value("nv_inference_request_success", **label))
        reasons = {reason: metrics.value("nv_inference_request_failure", reason=reason, **label)
                   for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER")}
        self.assertEqual(stats.fail.count, sum(reasons.values()))
        self.assertEqual(stats.fail.count, reasons["OTHER"])
        self.assertEqual(statistics.inference_count, metrics.value("nv_inference_count", **label))
        self.assertEqual(statistics.execution_count,
                         metrics.value("nv_inference_exec_count", **label))
        self.assertEqual(0, metrics.value("nv_inference_pending_request_count", **label))
        for part in DURATIONS:
            ns = getattr(stats, "success" if part == "request" else part).ns
            self.assertAlmostEqual(
                ns / 1000, metrics.value(f"nv_inference_{part}_duration_us", **label), delta=1000)

    def test_failures_by_their_reason(self):
        def reasons():
            metrics = self.scrape()
            return {reason: metrics.value("nv_inference_request_failure", reason=reason,
                                          model="few", version="1")
                    for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER")}
        self.assertEqual({0}, set(reasons().values()))
        request = infer_request("few", {"INPUT0": np.zeros((1, 1), np.int32)})
        runs = self.client.ModelInfer.future(request, timeout=60)
        time.sleep(0.2)
        waits = self.client.ModelInfer.future(request, timeout=60)
        time.sleep(0.1)
        self.assert_error(grpc.StatusCode.UNAVAILABLE, "queue size", self.client.ModelInfer, request)
        waits.cancel()
        runs.result(60)
        self.infer_nothing("few")
        small = Segment(4)
        self.addCleanup(small.close)
        self.client.SystemSharedMemoryRegister(pb.SystemSharedMemoryRegisterRequest(
            name="small", key=small.key, byte_size=4))
        output = request.outputs.add(name="OUTPUT0")
        output.parameters["shared_memory_region"].string_param = "small"
        output.parameters["shared_memory_byte_size"].int64_param = 3
        self.assert_error(grpc.StatusCode.INTERNAL, "", self.client.ModelInfer, request)
        eventually(lambda: reasons() == {"REJECTED": 1, "CANCELED": 1, "BACKEND": 1, "OTHER": 1},
                   "each is counted once")

    def test_types_and_helps(self):
        metrics = self.scrape()
        for name, kind in (("nv_inference_request_success", "counter"),
                           ("nv_inference_request_failure", "counter"),
                           ("nv_inference_count", "counter"),
                           ("nv_inference_exec_count", "counter"),
                           ("nv_inference_pending_request_count", "gauge"),
                           *((f"nv_inference_{part}_duration_us", "counter")
                             for part in DURATIONS)):
            self.assertEqual(kind, metrics.types.get(name), name)
            self.assertTrue(metrics.helps.get(name), name)

    def test_histograms(self):
        self.client.infer("simple", self.simple(1))
        metrics = self.scrape()
        found = [buckets for (_, labels), buckets in metrics.histograms().items()
                 if dict(labels).get("model") == "simple"]
        self.assertTrue(found)
        for buckets in found:
            counts = [count for _, count in buckets]
            self.assertEqual(sorted(counts), counts)
            self.assertEqual(float("inf"), buckets[-1][0])
            self.assertEqual(self.client.statistics("simple").inference_stats.success.count,
                             counts[-1])

    def test_waiting_requests_are_pending(self):
        with threads(4) as pool:
            calls = [pool.submit(self.client.infer, "slow", {"INPUT0": np.zeros(1, np.int32)})
                     for _ in range(4)]
            seen = 0
            while not all(call.done() for call in calls):
                seen = max(seen, self.scrape().value("nv_inference_pending_request_count",
                                                     model="slow", version="1"))
        self.assertGreater(seen, 0)
        self.assertLess(seen, 4)

    def test_other_paths_and_methods(self):
        for path, method, status in (("/", "GET", 404), ("/metrics", "POST", 405)):
            with self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(urllib.request.Request(
                    f"http://{self.server.metrics_address}{path}", method=method))
            self.assertEqual(status, caught.exception.code)


if __name__ == "__main__":
    unittest.main()

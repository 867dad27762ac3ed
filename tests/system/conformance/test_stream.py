"""ModelStreamInfer: many requests on one call, answered in their order, errors among them."""

import queue
import unittest

import grpc
import numpy as np

from kserve import infer_request, output_arrays, pb
from serving import ServerTest, add_sub, identity, threads


# What waits for one batch goes on to the next step all at once.
STEPS = """platform: "ensemble" max_batch_size: 128
    input { name: "INPUT0" data_type: TYPE_INT32 dims: [ -1 ] }
    output { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ -1 ] }
    ensemble_scheduling { step [
        { model_name: "joined" model_version: -1 input_map { key: "INPUT0" value: "INPUT0" }
          output_map { key: "OUTPUT0" value: "M" } },
        { model_name: "joined" model_version: -1 input_map { key: "INPUT0" value: "M" }
          output_map { key: "OUTPUT0" value: "OUTPUT0" } } ] }"""


class Requests:
    """The client's half of a stream: what send() was given, until end()."""

    def __init__(self):
        self._queue = queue.Queue()

    def send(self, request):
        self._queue.put(request)

    def end(self):
        self._queue.put(None)

    def __iter__(self):
        return iter(self._queue.get, None)


class StreamTests(ServerTest):
    MODELS = {"echo": identity(), "slow": identity(delay_ms=200), "simple": add_sub(),
              "batches": identity("INT32", (-1,), 8, 50, "dynamic_batching {}"),
              "large batches": identity("INT32", (-1,), 32, 0, """dynamic_batching {
                  preferred_batch_size: [ 32 ] max_queue_delay_microseconds: 30000000 }"""),
              "joined": identity("INT32", (-1,), 128, 5, "dynamic_batching {}"),
              "steps": STEPS}

    @staticmethod
    def echo(value, model="echo", **options):
        return infer_request(model, {"INPUT0": np.array([value], np.int32)}, id=f"id {value}",
                             **options)

    def stream(self, requests, **options):
        return list(self.client.ModelStreamInfer(iter(requests), timeout=60, **options))

    def test_an_empty_stream_ends_well(self):
        self.assertEqual([], self.stream([]))

    def test_answers_come_in_order_with_their_ids(self):
        answers = self.stream(self.echo(i) for i in range(200))
        self.assertEqual([f"id {i}" for i in range(200)],
                         [answer.infer_response.id for answer in answers])
        self.assertEqual(list(range(200)),
                         [output_arrays(answer.infer_response)["OUTPUT0"][0] for answer in answers])
        self.assertEqual({""}, {answer.error_message for answer in answers})

    def test_a_fast_answer_waits_for_a_slow_one_before_it(self):
        models = ["slow", "echo", "slow", "echo"]
        answers = self.stream(self.echo(i, model) for i, model in enumerate(models))
        self.assertEqual(models, [answer.infer_response.model_name for answer in answers])

    def test_an_answer_does_not_wait_for_the_streams_end(self):
        requests = Requests()
        stream = self.client.ModelStreamInfer(iter(requests), timeout=60)
        for i in range(3):
            requests.send(self.echo(i))
            self.assertEqual(f"id {i}", next(stream).infer_response.id)
        requests.end()
        self.assertEqual([], list(stream))

    def test_an_error_is_an_answer_and_the_stream_goes_on(self):
        bad_input = pb.ModelInferRequest(model_name="echo", id="id 1")
        answers = self.stream([self.echo(0), bad_input, self.echo(2), self.echo(3, "nobody"),
                               self.echo(4)])
        self.assertEqual([f"id {i}" for i in range(5)],
                         [answer.infer_response.id for answer in answers])
        self.assertEqual([False, True, False, True, False],
                         [bool(answer.error_message) for answer in answers])
        self.assertIn("unknown model", answers[3].error_message)
        self.assertEqual(["echo", "nobody"], [answers[i].infer_response.model_name for i in (1, 3)])
        self.assertEqual("7", self.stream([self.echo(0, "nobody", version="7")])[0]
                         .infer_response.model_version)
        self.assertFalse(answers[1].infer_response.outputs)

    def test_every_answer_is_its_requests_last(self):
        for answer in self.stream([self.echo(0), self.echo(1, "nobody")]):
            self.assertTrue(
                answer.infer_response.parameters["triton_final_response"].bool_param)

    def test_requests_of_a_stream_may_share_a_batch(self):
        requests = [infer_request("batches", {"INPUT0": np.full((1, 1), i, np.int32)}, id=str(i))
                    for i in range(16)]
        answers = self.stream(requests)
        self.assertEqual([str(i) for i in range(16)],
                         [answer.infer_response.id for answer in answers])
        statistics = self.client.statistics("batches")
        self.assertLess(statistics.execution_count, statistics.inference_count)

    def test_one_stream_fills_large_batches(self):
        requests = [infer_request("large batches", {"INPUT0": np.full((1, 1), i, np.int32)})
                    for i in range(128)]
        self.assertEqual({""}, {answer.error_message for answer in self.stream(requests)})
        (batches,) = self.client.statistics("large batches").batch_stats
        self.assertEqual((32, 4), (batches.batch_size, batches.compute_infer.count))

    def test_an_ensembles_requests_ask_side_by_side_whether_the_client_is_there(self):
        requests = [infer_request("steps", {"INPUT0": np.full((1, 1), i, np.int32)}, id=str(i))
                    for i in range(6000)]
        answers = self.stream(requests)
        self.assertEqual({""}, {answer.error_message for answer in answers})
        self.assertEqual([str(i) for i in range(6000)],
                         [answer.infer_response.id for answer in answers])

    def test_streams_side_by_side(self):
        def run(base):
            answers = self.stream(self.echo(base + i) for i in range(40))
            return [answer.infer_response.id for answer in answers]
        with threads(6) as pool:
            for base, ids in zip(range(0, 600, 100), pool.map(run, range(0, 600, 100))):
                self.assertEqual([f"id {base + i}" for i in range(40)], ids)

    def test_a_client_that_leaves_does_not_hold_the_server_up(self):
        requests = Requests()
        stream = self.client.ModelStreamInfer(iter(requests), timeout=60)
        for i in range(5):
            requests.send(self.echo(i, "slow"))
        next(stream)
        stream.cancel()
        requests.end()
        self.assertEqual(1, len(self.stream([self.echo(1, "slow")])))

    def test_a_deadline_ends_the_stream(self):
        requests = Requests()
        stream = self.client.ModelStreamInfer(iter(requests), timeout=0.2)
        with self.assertRaises(grpc.RpcError) as caught:
            next(stream)
        self.assertEqual(grpc.StatusCode.DEADLINE_EXCEEDED, caught.exception.code())
        requests.end()
        self.assert_alive()


if __name__ == "__main__":
    unittest.main()

"""The wire between workers and model server, seen from its two ends: what clients are answered, and
what the model server counts."""

import concurrent.futures
import http.client
import itertools
import json
import shutil
import tempfile
import unittest
from pathlib import Path

from PIL import Image

import http_client
import pictures
from exposition import Metrics
from harness import MODELS, SystemTest, free_ports
from model_servers import embedded, regions
from pictures import ASTRONAUT, SOURCE
from processes import PATIENCE_S, eventually

FOLDER = SOURCE / "tests/data/shapes"
SAMPLES = [FOLDER / item["file"]
           for item in json.loads((FOLDER / "expected.json").read_text())["pictures"]]
QUERY = "confidence=0.25&iou=0.45"


class WireTest(SystemTest):
    def begin(self, settings, repository=None):
        if repository is not None:
            settings = {**settings, "modelserver.repository": str(repository)}
        self.instance = self.start(settings, self.addCleanup)
        self.client = embedded(self.instance)
        self.addCleanup(self.client.close)

    def detect(self, model, picture, query=QUERY):
        answer = self.instance.predict(model, picture, query, "application/octet-stream")
        return self.assert_good(answer)

    def counts(self, model):
        """(inferences, executions)"""
        statistics = self.client.statistics(model)
        return statistics.inference_count, statistics.execution_count


class TransportTest(WireTest):
    def answers(self, transport):
        """And whether the model server knows the workers' memory."""
        instance = self.start({"backend.transport": transport}, self.addCleanup)
        self.instance = instance
        found = [self.detect("shapes", path.read_bytes())["detections"] for path in SAMPLES]
        found += [self.detect("faces_cascade", picture)["detections"]
                  for picture in (ASTRONAUT, pictures.plain(40, 30))]
        client = embedded(instance)
        self.addCleanup(client.close)
        return found, bool(regions(client))

    def test_answers_do_not_depend_on_how_tensors_travel(self):
        inline, known = self.answers("inline")
        self.assertFalse(known)
        self.assertGreater(sum(map(len, inline)), len(SAMPLES))
        for transport in ("shm", "auto"):
            with self.subTest(transport):
                self.assertEqual((inline, True), self.answers(transport))


class AggregationTest(WireTest):
    def test_concurrent_requests_share_calls_and_get_their_own_answers(self):
        samples = [path.read_bytes() for path in SAMPLES]
        for transport in ("shm", "inline"):
            with self.subTest(transport):
                self.begin({"workers": 1, "threads": 16, "nginx.rate_per_s": 0, "batch.max": 8,
                            "batch.wait_us": 20_000, "backend.transport": transport})
                alone = [self.detect("shapes", sample)["detections"] for sample in samples]
                before = self.counts("shapes")
                self.assertEqual(before[0], before[1], "a lone request waits for nobody")
                order = list(itertools.islice(itertools.cycle(range(len(samples))), 96))
                with concurrent.futures.ThreadPoolExecutor(16) as clients:
                    found = list(clients.map(
                        lambda i: self.detect("shapes", samples[i])["detections"], order))
                for i, detections in zip(order, found):
                    self.assertEqual(alone[i], detections, SAMPLES[i].name)
                inferences, executions = (
                    now - then for now, then in zip(self.counts("shapes"), before))
                self.assertEqual(len(order), inferences)
                self.assertLess(executions, inferences)


    def test_a_batch_is_no_larger_than_a_message(self):
        """Of a megabyte each, eight would be; as many as fit go together."""
        self.begin({"workers": 1, "threads": 12, "nginx.rate_per_s": 0, "batch.max": 8,
                    "backend.transport": "inline", "backend.message_mb": 4})
        sample = SAMPLES[0].read_bytes()
        alone = self.detect("shapes", sample)["detections"]
        before = self.counts("shapes")
        with concurrent.futures.ThreadPoolExecutor(12) as clients:
            for found in clients.map(lambda _: self.detect("shapes", sample), range(60)):
                self.assertEqual(alone, found["detections"])
        inferences, executions = (now - then for now, then in zip(self.counts("shapes"), before))
        self.assertEqual(60, inferences)
        self.assertLess(executions, inferences)


# What the first step makes of a picture's bytes, and the last one of its tensor.
STEPS = """
    platform: "ensemble"
    max_batch_size: {batch}
    input {{ name: "image" data_type: {datatype} dims: [ {dims} ] }}
    output {{ name: "output0" data_type: TYPE_FP32 dims: [ 8, 2100 ] label_filename: "labels.txt" }}
    parameters {{ key: "input_size" value {{ string_value: "320x320" }} }}
    ensemble_scheduling {{ step [
      {{ model_name: "{decode}" model_version: -1
        input_map {{ key: "image" value: "image" }} output_map {{ key: "pixels" value: "pixels" }} }},
      {{ model_name: "letterbox" model_version: -1
        input_map {{ key: "pixels" value: "pixels" }} output_map {{ key: "images" value: "images" }} }},
      {{ model_name: "shapes" model_version: -1
        input_map {{ key: "images" value: "images" }} output_map {{ key: "output0" value: "output0" }} }}
    ] }}
    """
LETTERBOX = """
    backend: "opencv_letterbox"
    max_batch_size: 1
    output { name: "images" data_type: TYPE_FP32 dims: [ 3, 320, 320 ] }
    """
OCTETS = """
    backend: "opencv_decode"
    max_batch_size: 1
    input { name: "image" data_type: TYPE_UINT8 dims: [ -1 ] }
    """
# Some seconds before the network, one at a time.
SLOW = """
    backend: "identity"
    max_batch_size: 1
    input { name: "INPUT0" data_type: TYPE_FP32 dims: [ 3, 320, 320 ] }
    output { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 3, 320, 320 ] }
    instance_group { count: 1 kind: KIND_CPU }
    parameters { key: "execute_delay_ms" value { string_value: "2500" } }
    """
SLOW_SHAPES = """
    platform: "ensemble"
    max_batch_size: 1
    input { name: "images" data_type: TYPE_FP32 dims: [ 3, 320, 320 ] }
    output { name: "output0" data_type: TYPE_FP32 dims: [ 8, 2100 ] }
    ensemble_scheduling { step [
      { model_name: "slow" model_version: -1
        input_map { key: "INPUT0" value: "images" } output_map { key: "OUTPUT0" value: "later" } },
      { model_name: "shapes" model_version: -1
        input_map { key: "images" value: "later" } output_map { key: "output0" value: "output0" } }
    ] }
    """


def make_repository(test, models):
    """Of `shapes`, and models by their config.pbtxt."""
    folder = Path(tempfile.mkdtemp(prefix="ipmodels", dir="/tmp"))
    test.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    shutil.copytree(MODELS / "shapes", folder / "shapes")
    for name, config in models.items():
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(config)
        if "labels.txt" in config:
            shutil.copy(MODELS / "shapes/labels.txt", folder / name)
    return folder


class ServerSideDecodeTest(WireTest):
    """Models that take the picture's file."""

    MODELS = {
        "letterbox": LETTERBOX,
        "decode": 'backend: "opencv_decode" max_batch_size: 1',
        "decode_octets": OCTETS,
        "file": STEPS.format(batch=1, datatype="TYPE_STRING", dims=1, decode="decode"),
        "octets": STEPS.format(batch=1, datatype="TYPE_UINT8", dims=-1, decode="decode_octets"),
    }

    def test_they_find_what_the_model_alone_finds(self):
        repository = make_repository(self, self.MODELS)
        for transport in ("shm", "inline"):
            # The model server decodes at full scale.
            self.begin({"backend.transport": transport, "decode.reduced": False}, repository)
            for path, model in itertools.product(SAMPLES, ("file", "octets")):
                with self.subTest(f"{transport} {model} {path.name}"):
                    expected = self.detect("shapes", path.read_bytes())
                    found = self.detect(model, path.read_bytes())
                    self.assertEqual(expected["image"], found["image"])
                    self.assert_close(expected["detections"], found["detections"])

    def assert_close(self, expected, found):
        """The letterbox rounds a sample differently, so weak ones may come and go."""
        def strong(items):
            return sorted((item for item in items if item["confidence"] > 0.35),
                          key=lambda item: (item["class_name"], item["box"]["x1"], item["box"]["y1"]))
        self.assertEqual([item["class_name"] for item in strong(expected)],
                         [item["class_name"] for item in strong(found)])
        for one, other in zip(strong(expected), strong(found)):
            self.assertAlmostEqual(one["confidence"], other["confidence"], delta=0.05)
            self.assertGreater(
                pictures.intersection_over_union(one["box"], other["box"]), 0.95)

    def test_every_format_is_decoded_and_turned_upright_as_the_worker_does(self):
        self.begin({"decode.reduced": False}, make_repository(self, self.MODELS))
        with Image.open(SAMPLES[0]) as sample:
            image = sample.convert("RGB")
        contents = {f"{kind} {orientation}": pictures.stored_with_orientation(image, orientation, kind)
                    for kind in ("JPEG", "PNG", "WEBP") for orientation in (1, 6)}
        contents["GIF"] = pictures.encode(image, "GIF")
        for name, content in contents.items():
            with self.subTest(name):
                expected = self.detect("shapes", content)
                self.assertTrue(expected["detections"])
                found = self.detect("file", content)
                self.assertEqual(expected["image"], found["image"])
                self.assert_close(expected["detections"], found["detections"])

    def test_a_damaged_picture_is_the_clients_fault(self):
        self.begin({}, make_repository(self, self.MODELS))
        whole = (FOLDER / "tall_300x500.png").read_bytes()
        jpeg, webp = ((FOLDER / name).read_bytes()
                      for name in ("common_640x480.jpg", "odd_501x333.webp"))
        damaged = {"cut": whole[:len(whole) // 3],
                   "cut JPEG": jpeg[:len(jpeg) // 2],
                   "cut WebP": webp[:len(webp) // 2],
                   "JPEG without its last bytes": jpeg[:-20],
                   "scrambled": whole[:100] + bytes(len(whole) - 100),
                   "header": pictures.png_header_only(300, 500),
                   "no picture": b"nothing of the kind"}
        for (name, picture), model in itertools.product(damaged.items(), ("file", "octets")):
            with self.subTest(f"{model} {name}"):
                usual = self.instance.predict("shapes", picture, content_type="image/png")
                answer = self.instance.predict(model, picture, content_type="image/png")
                self.assertIn(usual.status, (415, 422))
                self.assert_problem(answer, usual.status)
                self.assertEqual(usual.json()["code"], answer.json()["code"])
        self.assertTrue(self.detect("file", whole)["detections"])


class CancellationTest(WireTest):
    SENT = 4

    def test_what_nobody_waits_for_is_not_executed(self):
        repository = make_repository(self, {"slow": SLOW, "slow_shapes": SLOW_SHAPES})
        for transport in ("shm", "inline"):
            with self.subTest(transport):
                [self.metrics_port] = free_ports(1)
                self.begin({"workers": 1, "threads": 8, "backend.transport": transport,
                            "modelserver.metrics": f"127.0.0.1:{self.metrics_port}"}, repository)
                self.leave_a_queue()

    def waiting(self):
        """How many wait for the instance of `slow`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=PATIENCE_S)
        answer = http_client.request(connection, "GET", "/metrics")
        return Metrics(answer.body.decode()).value(
            "nv_inference_pending_request_count", model="slow", version="1")

    def leave_a_queue(self):
        picture = SAMPLES[0].read_bytes()
        before = self.counts("slow")[1]

        def executed():
            return self.counts("slow")[1] - before

        with concurrent.futures.ThreadPoolExecutor(2) as patient:
            # One is executed and one waits, so whoever comes now waits behind them.
            pending = [patient.submit(self.detect, "slow_shapes", picture) for _ in range(2)]
            eventually(lambda: self.waiting() == 1, "both are with the model server")
            leavers = [self.send("slow_shapes", picture) for _ in range(self.SENT)]
            eventually(lambda: self.waiting() + executed() == 1 + self.SENT, "so are those that leave")
            self.assertLess(executed(), 2, "too late: they are being executed")
            for connection in leavers:
                connection.close()
            for each in pending:
                self.assertTrue(each.result()["detections"])
        eventually(lambda: self.instance.metrics().value("inferpool_requests_in_work") == 0,
                   "nothing is in work")
        self.assertEqual(self.SENT,
                         self.instance.metrics().value("inferpool_requests_total", status="499"))
        # All goes on: what comes now is served after whatever has been left in the queue.
        self.assertTrue(self.detect("slow_shapes", picture)["detections"])
        self.assertEqual(3, executed())
        statistics = self.client.statistics("slow").inference_stats
        self.assertEqual(self.SENT, statistics.fail.count)

    def send(self, model, picture):
        """A request whose answer nobody reads."""
        connection = self.instance.connect_tls()
        connection.sendall(f"POST /v1/predict/{model} HTTP/1.1\r\nHost: localhost\r\n"
                           f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                           .encode() + picture)
        return connection


if __name__ == "__main__":
    unittest.main()

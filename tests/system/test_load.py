"""Many requests at once: every answer is the right one, and every one is counted."""

import concurrent.futures
import itertools
import unittest

import http_client
import pictures
from harness import SystemTest
from pictures import ASTRONAUT

CONCURRENT = 200


class LoadTest(SystemTest):
    # They all wait, however small the machine is.
    SETTINGS = {"timeouts.request_s": 240, "limits.queue_ms": 0}

    def kinds(self):
        """(status, how to send it): models, pictures, ways to send them and errors."""
        predict, form = self.instance.predict, self.instance.predict_form
        whole = pictures.astronaut()
        small = pictures.encode(whole.crop((120, 20, 330, 230)), "PNG")
        turned = pictures.stored_with_orientation(whole.resize((320, 320)), 6)
        webp = pictures.encode(whole.resize((256, 256)), "WEBP", lossless=True)
        return [
            (200, lambda: predict("faces_cascade", ASTRONAUT)),
            (200, lambda: predict("people", pictures.encode(whole.resize((128, 192)), "JPEG"))),
            (200, lambda: predict("shapes", ASTRONAUT, "confidence=0.01")),
            (200, lambda: form("faces_cascade", [("image", small, "small.png")], "coordinates=normalized")),
            (200, lambda: predict("shapes", small, "max_detections=3&confidence=0.01")),
            (200, lambda: predict("faces_cascade", turned, "confidence=0")),
            (200, lambda: predict("people", webp, "confidence=0")),
            (200, lambda: predict("shapes", webp, "iou=0.9&confidence=0.01")),
            (200, lambda: self.instance.request("GET", "/v1/models/faces_cascade")),
            (404, lambda: predict("nobody", ASTRONAUT)),
            (415, lambda: predict("faces_cascade", b"hello")),
            (400, lambda: form("faces_cascade", [("other", small)])),
            (422, lambda: predict("faces_cascade", ASTRONAUT[:30_000])),
        ]

    def essence(self, answer):
        """What must be the same whenever the same is asked."""
        content = answer.json()
        request_id = content.pop("request_id", None)
        if request_id is not None:
            self.assertEqual(answer.header("X-Request-ID"), request_id)
        content.pop("timing_ms", None)
        return content

    def counts(self):
        metrics = self.instance.metrics()
        requests = {labels[0][1]: int(value) for (name, labels), value in metrics.samples.items()
                    if name == "inferpool_requests_total"}
        return requests, int(metrics.value("inferpool_stage_seconds_count", stage="total"))

    def test_200_concurrent_requests_are_all_answered_right_and_counted(self):
        kinds = self.kinds()
        alone = []
        for status, send in kinds:
            answer = send()
            self.assertEqual(status, answer.status, answer.body[:300])
            alone.append(self.essence(answer))
        self.assertTrue(any(content.get("detections") for content in alone))
        before, total_before = self.counts()

        jobs = list(itertools.islice(itertools.cycle(range(len(kinds))), CONCURRENT))
        with concurrent.futures.ThreadPoolExecutor(CONCURRENT) as pool:
            answers = list(pool.map(lambda i: kinds[i][1](), jobs))

        ids = set()
        for i, answer in zip(jobs, answers):
            status = kinds[i][0]
            self.assertEqual(status, answer.status, answer.body[:300])
            self.assert_common_headers(answer)
            content = self.essence(answer)
            ids.add(answer.header("X-Request-ID"))
            if content.get("detections"):
                pixels = 0.5 if max(content["detections"][0]["box"].values()) > 1 else 0.002
                self.assert_same_detections(alone[i]["detections"], content["detections"], pixels)
            else:
                self.assertEqual(alone[i], content)
        self.assertEqual(CONCURRENT, len(ids), "request ids were given twice")

        after, total_after = self.counts()
        expected = dict(before)
        for i in jobs:
            expected[str(kinds[i][0])] += 1
        self.assertEqual(expected, after)
        self.assertEqual(CONCURRENT, total_after - total_before)
        self.instance.wait_in_work(0)
        self.assertEqual(0, self.instance.crashes())

    def test_many_requests_on_few_connections(self):
        expected = self.instance.predict("faces_cascade", ASTRONAUT).detections

        def client(_):
            connection = http_client.http.client.HTTPSConnection(
                "localhost", self.instance.port, context=self.instance.context, timeout=240)
            try:
                for _ in range(10):
                    connection.request("POST", "/v1/predict/faces_cascade", ASTRONAUT)
                    response = connection.getresponse()
                    answer = http_client.Answer(response.status, response.headers, response.read())
                    self.assert_same_detections(expected, self.assert_good(answer)["detections"])
            finally:
                connection.close()

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(client, range(8)))


if __name__ == "__main__":
    unittest.main()

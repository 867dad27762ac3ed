"""POST /v1/analyze: several models and pipelines about one picture. Real nets, through nginx."""

import base64
import json
import os
import signal
import unittest

import numpy as np

import pictures
from drawn_texts import FONTS, draw_sign
from harness import SystemTest
from http_client import multipart
from pictures import astronaut, encode
from pipeline_models import ARE_THERE, MISSING, PIPELINES, repository
from processes import eventually
from test_auth import KeysFile, bearer

from PIL import Image


def scene():
    """A person with a face, and a sign."""
    picture = astronaut().resize((640, 640))
    draw_sign(picture, "EXIT", FONTS[1], [(20, 20), (220, 20), (220, 110), (20, 110)])
    return picture


@unittest.skipUnless(ARE_THERE, MISSING)
class AnalyzeTest(SystemTest):
    @classmethod
    def setUpClass(cls):
        cls.instance = cls.start({"modelserver.repository": str(repository(cls.addClassCleanup)),
                                  "pipelines": PIPELINES, "limits.body_mb": 40}, cleanup=cls.addClassCleanup)
        cls.scene = encode(scene(), "PNG")

    def post(self, query="", body=None, kind="image/png", headers=None):
        return self.instance.request("POST", "/v1/analyze" + query, self.scene if body is None else body,
                                     {"Content-Type": kind, **(headers or {})})

    def ask(self, query="", body=None, kind="image/png"):
        return self.assert_good(self.post(query, body, kind))

    def assert_part_is_as_alone(self, name, part, query=""):
        alone = self.assert_good(self.instance.predict(name, self.scene, query, "image/png"))
        expected = {key: value for key, value in alone.items() if key not in ("image", "timing_ms", "request_id")}
        self.assertEqual({"status": 200, **expected}, part)

    def test_each_part_is_what_the_model_says_alone(self):
        names = ["text", "objects", "people_and_faces", "embedding", "faces", "shapes"]
        answer = self.ask("?models=" + ",".join(names))
        self.assertEqual({"image", "results", "timing_ms", "request_id"}, set(answer))
        self.assertEqual({"width": 640, "height": 640}, answer["image"])
        self.assertEqual(names, list(answer["results"]), "in the order in which they were asked for")
        for name, part in answer["results"].items():
            with self.subTest(name):
                self.assert_part_is_as_alone(name, part)
        self.assertEqual(["EXIT"], [line["text"] for line in answer["results"]["text"]["detections"]])
        self.assertTrue(answer["results"]["faces"]["detections"])

    def test_parameters_are_for_all(self):
        query = "confidence=0.6&coordinates=normalized&max_detections=1"
        for name, part in self.ask(f"?{query}&models=objects,faces,text")["results"].items():
            self.assert_part_is_as_alone(name, part, query)

    def test_a_large_jpeg_is_found_alike_at_the_scale_that_all_need(self):
        body = encode(scene().resize((2560, 2560)), "JPEG")
        answer = self.ask("?models=objects,faces,embedding", body, "image/jpeg")
        for name in ("objects", "faces"):
            alone = self.assert_good(self.instance.predict(name, body))
            self.assert_same_detections(alone["detections"], answer["results"][name]["detections"], 16, 0.06)

    def test_without_names_the_configurations_models_are_asked(self):
        self.assertEqual(["objects", "faces", "text", "embedding"], list(self.ask()["results"]))

    def test_the_picture_may_be_sent_in_every_way(self):
        expected = self.ask("?models=faces")["results"]
        form, kind = multipart([("image", self.scene, "a.png"), ("models", b"faces"), ("iou", b"0.45")])
        self.assertEqual(expected, self.ask("", form, kind)["results"])
        in_json = json.dumps({"image": base64.b64encode(self.scene).decode()})
        self.assertEqual(expected, self.ask("?models=faces", in_json, "application/json")["results"])

    def test_one_part_fails_beside_the_others(self):
        answer = self.ask("?models=faces,nobody,gone,text_line")
        self.assertEqual([200, 404, 404, 200], [part["status"] for part in answer["results"].values()])
        for name in ("nobody", "gone"):
            part = answer["results"][name]
            self.assertEqual({"status", "problem"}, set(part))
            self.assertEqual("unknown-model", part["problem"]["code"])
            self.assertEqual(404, part["problem"]["status"])
        self.assert_part_is_as_alone("faces", answer["results"]["faces"])
        # Of nobody is anything known.
        answer = self.ask("?models=nobody")
        self.assertEqual([404], [part["status"] for part in answer["results"].values()])

    def test_what_is_wrong_with_the_request_is_said_of_it(self):
        for query, parameter in (("?models=", "models"), ("?models=faces,", "models"), ("?models=faces,faces", "models"),
                                 ("?models=faces&models=text", "models"), ("?models=" + ",".join(map(str, range(17))), "models"),
                                 ("?models=faces&confidence=2", "confidence"), ("?models=faces&render=png", "render"),
                                 ("?modles=faces", "modles")):
            with self.subTest(query):
                self.assertEqual(parameter, self.assert_problem(self.post(query), 400, "bad-parameter")["parameter"])
        form, kind = multipart([("image", self.scene, "a.png"), ("models", b"faces")])
        self.assert_problem(self.post("?models=text", form, kind), 400, "bad-parameter")
        self.assert_problem(self.post(body=b"hello"), 415, "unsupported-media")
        self.assert_problem(self.post(body=self.scene[:len(self.scene) // 2]), 422, "bad-picture")
        self.assert_problem(self.post(body=pictures.png_header_only(9000, 9000)), 422, "bad-picture")
        self.assert_problem(self.post(body=b""), 400)

    def test_other_methods_are_405(self):
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            answer = self.instance.request(method, "/v1/analyze")
            self.assertEqual((405, "POST"), (answer.status, answer.header("Allow")))

    def test_a_picture_is_decoded_once(self):
        """A PNG of noise takes a while."""
        noise = np.random.default_rng(1).integers(0, 255, (2000, 2000, 3), dtype=np.uint8)
        body = encode(Image.fromarray(noise), "PNG")
        alone = min(self.assert_good(self.instance.predict("shapes", body, "", "image/png"))["timing_ms"]["decode"]
                    for _ in range(3))
        together = min(self.ask("?models=shapes,objects,faces,embedding,text_boxes,people_and_faces", body)
                       ["timing_ms"]["decode"] for _ in range(3))
        self.assertGreater(alone, 5)
        self.assertLess(together, 2 * alone)

    def test_the_time_is_that_of_the_whole(self):
        answer = self.post("?models=objects,faces,text", headers={"X-Timeout-Ms": "60"})
        if answer.status == 200:
            self.assertIn(504, [part["status"] for part in answer.json()["results"].values()])
        else:
            self.assert_problem(answer, 504)

    def test_a_body_may_be_as_large_as_that_of_a_prediction(self):
        body = pictures.plain(64, 64) + bytes(2 * 2 ** 20)
        self.assertEqual(200, self.post("?models=shapes", body).status)
        self.assert_problem(self.post("?models=shapes", bytes(41 * 2 ** 20)), 413)


@unittest.skipUnless(ARE_THERE, MISSING)
class AnalyzeKeysTest(SystemTest):
    def test_a_part_that_the_key_may_not_have_is_403(self):
        keys = KeysFile(self.addCleanup)
        some = bearer(keys.add("some", "--models", "faces,text,text_boxes"))
        instance = self.start({"modelserver.repository": str(repository(self.addCleanup)),
                               "auth.keys_file": str(keys.path)}, self.addCleanup)
        body = encode(scene(), "PNG")

        def ask(query=""):
            return instance.request("POST", "/v1/analyze" + query, body, {"Content-Type": "image/png", **some})
        answer = ask("?models=faces,objects,text,text_boxes")
        self.assertEqual({"faces": 200, "objects": 403, "text": 403, "text_boxes": 200},
                         {name: part["status"] for name, part in answer.json()["results"].items()})
        self.assertEqual(["faces"], list(ask().json()["results"]), "of the default ones, those that it may have")
        self.assert_problem(instance.request("POST", "/v1/analyze", body), 401)


class AnalyzeWithoutNetsTest(SystemTest):
    """With the models that are always there."""

    def test_the_default_set_is_what_is_there_of_it(self):
        instance = self.start({"analyze": ["objects", "shapes", "text", "people"]}, self.addCleanup)
        body = pictures.plain(64, 64)

        def ask():
            return instance.request("POST", "/v1/analyze", body, {"Content-Type": "image/png"})
        self.assertEqual({"shapes": 200, "people": 200},
                         {name: part["status"] for name, part in ask().json()["results"].items()})
        instance.reload(analyze=[])
        eventually(lambda: ask().status == 400, "the workers have the new set")
        self.assertIn("by itself", self.assert_problem(ask(), 400, "bad-parameter")["detail"])
        instance.reload(analyze=["objects", "text"])
        eventually(lambda: "(objects, text)" in ask().json().get("detail", ""), "the problem names what is not there")

    def test_a_class_that_only_some_models_know_is_nothing_to_the_others(self):
        instance = self.start({}, self.addCleanup)
        body = (pictures.SOURCE / "tests/data/shapes/common_640x480.jpg").read_bytes()

        def ask(query):
            return instance.request("POST", "/v1/analyze?" + query, body, {"Content-Type": "image/jpeg"})

        def found(query):
            return {name: (part["status"], {one["class_name"] for one in part.get("detections", [])})
                    for name, part in self.assert_good(ask(query))["results"].items()}
        some = "models=shapes,people"
        self.assertEqual({"shapes": (200, {"circle"}), "people": (200, set())}, found(some + "&classes=circle"))
        self.assertEqual({"shapes": (200, set()), "people": (200, set())}, found(some + "&classes=person"))
        self.assertEqual({"shapes": (200, {"circle", "star"}), "people": (200, set())},
                         found(some + "&classes=circle,person,star"))
        self.assertNotIn("circle", found(some + "&confidence.circle=1")["shapes"][1])
        self.assertEqual((404, set()), found("models=shapes,nobody&classes=circle")["nobody"])
        # One that none of them knows is as wrong as ever.
        for query, parameter in (("&classes=circle,dragon", "classes"), ("&classes=circle,", "classes"),
                                 ("&classes=dragon", "classes"), ("&confidence.dragon=0.5", "confidence.dragon")):
            for models in (some, "models=shapes", some + ",nobody"):
                with self.subTest(query, models=models):
                    self.assertEqual(parameter, self.assert_problem(ask(models + query), 400, "bad-parameter")["parameter"])

    def test_a_picture_that_crashes_a_worker_is_refused(self):
        instance = self.start({"workers": 2}, self.addCleanup)
        poison = pictures.plain(64, 64) + b"inferpool-fault:crash"
        for _ in range(2):
            answer = instance.request("POST", "/v1/analyze?models=shapes,people", poison, {"Content-Type": "image/png"})
            self.assert_problem(answer, 422, "quarantined")
            eventually(lambda: instance.crashes() == 1, "one worker has crashed")
        self.assertEqual(200, instance.request("POST", "/v1/analyze?models=shapes,people", pictures.plain(64, 64),
                                               {"Content-Type": "image/png"}).status)

    def test_a_client_that_leaves_ends_all_parts(self):
        instance = self.start({"workers": 1}, self.addCleanup)
        body = pictures.plain(64, 64)
        answer = instance.request("POST", "/v1/analyze?models=shapes,people", body, {"Content-Type": "image/png"})
        self.assertEqual(200, answer.status)
        server = instance.stop_modelserver()
        with instance.connect_tls() as connection:
            connection.sendall(b"POST /v1/analyze?models=shapes,people,faces_cascade HTTP/1.1\r\nHost: localhost\r\n"
                               b"Content-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            instance.wait_in_work(1)
        instance.wait_in_work(0)  # long before timeouts.request_s
        self.assertEqual(1, instance.metrics().value("inferpool_requests_total", status="499"))
        os.kill(server, signal.SIGCONT)

    def test_with_a_model_server_that_is_away_each_part_says_so(self):
        instance = self.start({"modelserver.enabled": False, "analyze": ["shapes"],
                               "backend.targets": ["unix:/nonexistent/modelserver.sock"]}, self.addCleanup, wait_ready=False)
        for query, names in (("", ["shapes"]), ("?models=shapes,people", ["shapes", "people"])):
            answer = instance.request("POST", "/v1/analyze" + query, pictures.plain(64, 64), {"Content-Type": "image/png"})
            self.assertEqual({name: 503 for name in names},
                             {name: part["status"] for name, part in self.assert_good(answer)["results"].items()})


if __name__ == "__main__":
    unittest.main()

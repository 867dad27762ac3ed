"""A picture in, its detections out: the happy path, and what every answer carries."""

import http.client
import io
import random
import ssl
import unittest

import harness
import http_client
import pictures
from harness import SystemTest
from pictures import ASTRONAUT, ASTRONAUT_FACE, SOURCE, intersection_over_union

STAGES = ["queue", "read", "decode", "preprocess", "infer", "postprocess", "draw", "total"]


class PredictTest(SystemTest):
    SETTINGS = {"limits.body_mb": 10}

    def faces(self, picture=ASTRONAUT, query="", content_type="image/jpeg"):
        return self.assert_good(self.instance.predict("faces_cascade", picture, query, content_type))

    def assert_face(self, detection, where=None, least=0.5):
        where = where or ASTRONAUT_FACE
        self.assertGreaterEqual(intersection_over_union(detection["box"], where), least, detection)

    # ------------------------------------------------------------ what is found

    def test_the_bundled_photograph_has_one_confident_face_where_it_is(self):
        detections = self.faces()["detections"]
        self.assertEqual(1, len(detections), detections)
        self.assert_face(detections[0])
        self.assertGreaterEqual(detections[0]["confidence"], 0.5)

    def test_every_way_to_send_a_jpeg_gives_the_same_detections(self):
        expected = self.faces()["detections"]
        form, form_type = http_client.multipart([("image", ASTRONAUT, "astronaut.jpg")])
        among_others, others_type = http_client.multipart(
            [("iou", b"0.45"), ("image", ASTRONAUT), ("coordinates", b"pixel"), ("_charset_", b"\r\n--not the boundary")])
        quoted, _ = http_client.multipart([("image", ASTRONAUT, "a.jpg")], "a b'(c)")
        for name, body, content_type in (
                ("octets", ASTRONAUT, "application/octet-stream"),
                ("with a parameter", ASTRONAUT, "Image/JPEG; quality=high"),
                ("form", form, form_type),
                ("form with other fields", among_others, others_type),
                ("form with a quoted boundary", quoted, "multipart/form-data; boundary=\"a b'(c)\"")):
            for route in ("/v1/predict/faces_cascade", "/predict/faces_cascade"):
                with self.subTest(name, route=route):
                    answer = self.instance.request("POST", route, body,
                                                   {"Content-Type": content_type})
                    self.assertEqual(expected, self.assert_good(answer)["detections"])

    def test_a_body_without_content_type_is_taken_as_the_picture(self):
        answer = self.instance.request("POST", "/v1/predict/faces_cascade", ASTRONAUT)
        self.assertEqual(self.faces()["detections"], self.assert_good(answer)["detections"])

    def test_a_chunked_body_is_taken(self):
        blocks = iter([ASTRONAUT[:10_000], ASTRONAUT[10_000:]])
        answer = self.instance.predict("faces_cascade", blocks, headers={"Transfer-Encoding": "chunked"})
        self.assertEqual(self.faces()["detections"], self.assert_good(answer)["detections"])

    def test_a_body_larger_than_nginx_keeps_in_memory_is_taken(self):
        noise = pictures.Image.frombytes("RGB", (1500, 1500), random.Random(1).randbytes(1500 * 1500 * 3))
        noise.paste(pictures.astronaut(), (100, 200))
        picture = pictures.encode(noise, "PNG", compress_level=1)
        self.assertGreater(len(picture), 5_000_000)
        answer = self.faces(picture, "confidence=0.5")
        moved = {edge: value + (100 if edge[0] == "x" else 200) for edge, value in ASTRONAUT_FACE.items()}
        self.assertTrue(any(intersection_over_union(item["box"], moved) > 0.5
                            for item in answer["detections"]), answer["detections"])
        left = [path for path in (self.instance.state / "tmp").rglob("*") if path.is_file()]
        self.assertEqual([], left)

    def test_the_same_pixels_as_png_and_webp_give_the_same_detections(self):
        image = pictures.astronaut()
        png = self.faces(pictures.encode(image, "PNG"), content_type="image/png")["detections"]
        webp = self.faces(pictures.encode(image, "WEBP", lossless=True), content_type="image/webp")
        self.assertEqual(png, webp["detections"])
        # Pillow's libjpeg may round differently from the worker's.
        self.assert_same_detections(self.faces()["detections"], png, pixels=8, confidence=0.1)

    def test_a_jpeg_far_larger_than_the_input_is_answered_as_its_pixels_are(self):
        """It is decoded at a smaller scale; a PNG of the same pixels never is."""
        shapes = SOURCE / "tests/data/shapes"
        tall = pictures.Image.open(shapes / "tall_300x500.png")
        odd = pictures.Image.open(shapes / "odd_501x333.webp")
        # A cascade's boxes are means of windows that agree, of which a few come or go.
        for model, image, side, overlap in (("faces_cascade", pictures.astronaut(), 2000, 0.8),
                                            ("faces_cascade", pictures.astronaut(), 2563, 0.8),
                                            ("shapes", tall, 1501, 0.9), ("shapes", odd, 2701, 0.9)):
            with self.subTest(model, side=side):
                size = [round(side * length / max(image.size)) for length in image.size]
                jpeg = pictures.encode(image.convert("RGB").resize(size), "JPEG", quality=92)
                png = pictures.encode(pictures.Image.open(io.BytesIO(jpeg)), "PNG", compress_level=1)
                found, expected = (
                    self.assert_good(self.instance.predict(model, body, "", "image/*"))
                    for body in (jpeg, png))
                self.assertEqual({"width": size[0], "height": size[1]}, found["image"])
                sure = [one for one in expected["detections"] if one["confidence"] > 0.5]
                self.assertTrue(sure)
                for one in sure:
                    self.assertGreater(max(intersection_over_union(one["box"], other["box"])
                                           for other in found["detections"]
                                           if other["class_id"] == one["class_id"]), overlap)

    def test_an_animation_is_answered_by_its_first_frame(self):
        image = pictures.astronaut()
        black = pictures.Image.new("RGB", image.size)
        for kind, options in (("WEBP", {"quality": 90}), ("PNG", {}), ("GIF", {})):
            frames = [image, black] if kind != "GIF" else [image.quantize(128), black.quantize(2)]
            with self.subTest(kind):
                answer = self.faces(pictures.encode(frames[0], kind, save_all=True,
                                                    append_images=frames[1:], **options))
                self.assertEqual({"width": 512, "height": 512}, answer["image"])
                self.assertTrue(answer["detections"])
                self.assert_face(answer["detections"][0])

    def test_the_picture_decides_and_not_its_declared_type(self):
        expected = self.faces()["detections"]
        for content_type in ("image/png", "image/webp", "image/gif"):
            with self.subTest(content_type):
                self.assertEqual(expected, self.faces(content_type=content_type)["detections"])

    def test_an_exif_rotated_picture_is_answered_upright(self):
        image = pictures.astronaut().crop((0, 0, 512, 400))
        for orientation in range(1, 9):
            with self.subTest(orientation=orientation):
                answer = self.faces(pictures.stored_with_orientation(image, orientation))
                self.assertEqual({"width": 512, "height": 400}, answer["image"])
                self.assertEqual(1, len(answer["detections"]))
                self.assert_face(answer["detections"][0])

    def test_grey_palette_and_transparent_pictures_are_taken(self):
        image = pictures.astronaut()
        for name, picture in (("grey", pictures.encode(image.convert("L"), "JPEG")),
                              ("cmyk", pictures.encode(image.convert("CMYK"), "JPEG")),
                              ("progressive", pictures.encode(image, "JPEG", progressive=True)),
                              ("palette", pictures.encode(image.quantize(128), "PNG")),
                              ("transparent", pictures.encode(image.convert("RGBA"), "PNG")),
                              ("lossy", pictures.encode(image, "WEBP", quality=90))):
            with self.subTest(name):
                detections = self.faces(picture)["detections"]
                self.assertGreaterEqual(len(detections), 1)
                self.assert_face(detections[0])

    def test_a_picture_without_faces_has_no_detections(self):
        self.assertEqual([], self.faces(pictures.plain(200, 100))["detections"])

    def test_people_are_found_by_the_other_model(self):
        answer = self.assert_good(self.instance.predict("people", ASTRONAUT, "confidence=0"))
        self.assertEqual("people", answer["model"]["name"])
        for detection in answer["detections"]:
            self.assertEqual((0, "person"), (detection["class_id"], detection["class_name"]))

    def test_a_percent_encoded_model_name_is_decoded(self):
        answer = self.assert_good(self.instance.predict("%66aces_cascade", ASTRONAUT))
        self.assertEqual("faces_cascade", answer["model"]["name"])

    # ------------------------------------------------------------ the answer's form

    def test_the_answer_has_exactly_the_documented_members_and_types(self):
        answer = self.faces()
        self.assertEqual(["model", "image", "detections", "timing_ms", "request_id"], list(answer))
        self.assertEqual({"name": "faces_cascade", "version": "1"}, answer["model"])
        self.assertEqual({"width": 512, "height": 512}, answer["image"])
        for detection in answer["detections"]:
            self.assertEqual(["box", "confidence", "class_id", "class_name"], list(detection))
            self.assertEqual(["x1", "y1", "x2", "y2"], list(detection["box"]))
            for edge in detection["box"].values():
                self.assertIsInstance(edge, float)
            self.assertIsInstance(detection["confidence"], float)
            self.assertIs(int, type(detection["class_id"]))
            self.assertIsInstance(detection["class_name"], str)
        self.assertIsInstance(answer["request_id"], str)

    def test_timing_ms_has_every_stage_and_adds_up(self):
        timing = self.faces()["timing_ms"]
        self.assertEqual(STAGES, list(timing))
        for stage, milliseconds in timing.items():
            self.assertIsInstance(milliseconds, (int, float), stage)
            self.assertGreaterEqual(milliseconds, 0, stage)
        for stage in ("decode", "infer", "total"):
            self.assertGreater(timing[stage], 0, stage)
        worked = sum(timing[stage] for stage in STAGES if stage not in ("queue", "total"))
        self.assertLessEqual(worked, timing["total"] + 0.1)

    def test_detections_come_most_confident_first_and_inside_the_picture(self):
        side_by_side = pictures.Image.new("RGB", (900, 300))
        for i, size in enumerate((300, 260, 220)):
            face = pictures.astronaut().crop((120, 20, 330, 230)).resize((size, size))
            side_by_side.paste(face, (i * 300, 0))
        crowd = pictures.encode(side_by_side, "JPEG", quality=95)
        cut = pictures.encode(pictures.astronaut().crop((175, 70, 280, 190)), "PNG")
        for model in ("faces_cascade", "people", "shapes"):
            for name, picture in (("crowd", crowd), ("cut", cut), ("whole", ASTRONAUT)):
                with self.subTest(model=model, picture=name):
                    answer = self.assert_good(self.instance.predict(model, picture, "confidence=0"))
                    confidences = [item["confidence"] for item in answer["detections"]]
                    self.assertEqual(sorted(confidences, reverse=True), confidences)
                    for detection in answer["detections"]:
                        box = detection["box"]
                        self.assertTrue(0 <= box["x1"] < box["x2"] <= answer["image"]["width"], box)
                        self.assertTrue(0 <= box["y1"] < box["y2"] <= answer["image"]["height"], box)
                        self.assertTrue(0 <= detection["confidence"] <= 1)
        self.assertGreaterEqual(len(self.faces(crowd)["detections"]), 2)

    # ------------------------------------------------------------ parameters

    def shapes(self, query):
        return self.assert_good(self.instance.predict("shapes", ASTRONAUT, query))["detections"]

    def test_confidence_drops_exactly_what_is_below_it(self):
        for model in ("faces_cascade", "shapes"):
            everything = self.assert_good(self.instance.predict(model, ASTRONAUT, "confidence=0.001"))
            confidences = [item["confidence"] for item in everything["detections"]]
            self.assertTrue(confidences, model)
            middle = (confidences[0] + (confidences[-1] if len(confidences) > 1 else 0)) / 2
            with self.subTest(model=model, confidence=middle):
                answer = self.assert_good(
                    self.instance.predict(model, ASTRONAUT, f"confidence={middle}"))
                kept = [item["confidence"] for item in answer["detections"]]
                self.assertEqual([value for value in confidences if value >= middle], kept)
            with self.subTest(model=model, confidence=1):
                self.assertEqual([], self.assert_good(
                    self.instance.predict(model, ASTRONAUT, "confidence=1"))["detections"])

    def test_iou_decides_how_much_boxes_of_a_class_may_overlap(self):
        def most_overlap(detections):
            # Boxes at the picture's edge were clipped after they had been compared.
            inside = [item for item in detections
                      if min(item["box"].values()) > 0 and max(item["box"].values()) < 512]
            return max((intersection_over_union(a["box"], b["box"])
                        for i, a in enumerate(inside) for b in inside[:i]
                        if a["class_id"] == b["class_id"]), default=0)
        counts = []
        for iou in (0, 0.45, 0.9, 1):
            detections = self.shapes(f"confidence=0.0001&max_detections=300&iou={iou}")
            counts.append(len(detections))
            self.assertLessEqual(most_overlap(detections), iou + 0.01, iou)
        self.assertEqual(sorted(counts), counts)
        self.assertLess(counts[0], counts[-1])

    def test_max_detections_keeps_the_most_confident(self):
        everything = self.shapes("confidence=0.0001")
        self.assertGreater(len(everything), 2)
        self.assertEqual(everything[:1], self.shapes("confidence=0.0001&max_detections=1"))
        self.assertEqual(everything[:2], self.shapes("confidence=0.0001&max_detections=2"))

    def test_normalized_coordinates_are_shares_of_the_picture(self):
        image = pictures.encode(pictures.astronaut().crop((0, 0, 512, 400)), "PNG")
        pixels = self.faces(image, "coordinates=pixel")["detections"]
        self.assertEqual(pixels, self.faces(image)["detections"])
        shares = self.faces(image, "coordinates=normalized")["detections"]
        self.assertEqual(len(pixels), len(shares))
        for one, other in zip(pixels, shares):
            for edge, size in (("x1", 512), ("y1", 400), ("x2", 512), ("y2", 400)):
                self.assertAlmostEqual(one["box"][edge] / size, other["box"][edge], delta=0.0001)
                self.assertTrue(0 <= other["box"][edge] <= 1)

    def test_parameters_may_be_percent_encoded_and_empty_pairs_are_passed_over(self):
        self.assertEqual(self.faces(query="confidence=0.5&max_detections=1")["detections"],
                         self.faces(query="&con%66idence=%30.5&&max_detections=1&")["detections"])

    # ------------------------------------------------------------ models

    def test_all_models_are_listed(self):
        answer = self.assert_good(self.instance.request("GET", "/v1/models"))
        self.assertEqual(["models"], list(answer))
        self.assertEqual(["faces_cascade", "people", "shapes"], [model["name"] for model in answer["models"]])
        for model in answer["models"]:
            with self.subTest(model["name"]):
                one = self.instance.request("GET", f"/v1/models/{model['name']}")
                self.assertEqual(model, self.assert_good(one))

    def test_a_model_is_described(self):
        faces = self.assert_good(self.instance.request("GET", "/v1/models/faces_cascade"))
        self.assertEqual(("faces_cascade", "1", "end_to_end", ["face"]),
                         tuple(faces[key] for key in ("name", "version", "family", "class_names")))
        self.assertEqual(1, len(faces["inputs"]))
        self.assertEqual(("UINT8", [-1, -1, 3]),
                         (faces["inputs"][0]["datatype"], faces["inputs"][0]["shape"][-3:]))
        self.assertEqual({"num_dets", "det_boxes", "det_scores", "det_classes"},
                         {output["name"] for output in faces["outputs"]})
        shapes = self.assert_good(self.instance.request("GET", "/v1/models/shapes"))
        self.assertEqual("yolov8", shapes["family"])
        self.assertEqual(["circle", "square", "triangle", "star"], shapes["class_names"])
        self.assertEqual(("FP32", [3, 320, 320]),
                         (shapes["inputs"][0]["datatype"], shapes["inputs"][0]["shape"][-3:]))
        self.assertEqual([8, 2100], shapes["outputs"][0]["shape"][-2:])

    # ------------------------------------------------------------ headers

    def test_a_sane_request_id_is_kept(self):
        for sane in ("a", "A1.b_c-d", "x" * 64):
            with self.subTest(sane):
                answer = self.instance.predict("faces_cascade", ASTRONAUT, headers={"X-Request-ID": sane})
                self.assertEqual(sane, answer.header("X-Request-ID"))
                self.assertEqual(sane, self.assert_good(answer)["request_id"])

    def test_an_insane_request_id_is_replaced(self):
        for insane in ("", "a b", "x" * 65, "x" * 200, "a;b", "a\tb", "<script>", "h\xe9", "a\"b", "a/b"):
            with self.subTest(insane):
                for target in ("/v1/models/faces_cascade", "/nowhere"):
                    answer = self.instance.request("GET", target, headers={"X-Request-ID": insane})
                    self.assert_common_headers(answer)
                    self.assertNotEqual(insane, answer.header("X-Request-ID"))

    def test_a_line_break_in_a_request_id_makes_no_header(self):
        answer = self.instance.fastcgi(method="GET", uri="/v1/models", content_length=None,
                                       HTTP_X_REQUEST_ID="xyz\r\nX-Evil: 1")
        self.assert_good(answer)
        self.assertIsNone(answer.header("X-Evil"))
        self.assertNotIn("xyz", answer.header("X-Request-ID"))

    def test_two_requests_get_different_ids(self):
        ids = {self.instance.request("GET", "/v1/models").header("X-Request-ID") for _ in range(10)}
        self.assertEqual(10, len(ids))

    def test_every_answer_has_the_common_headers(self):
        raw = self.instance.raw
        too_long = b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
        too_large = (b"POST /v1/predict/faces_cascade HTTP/1.1\r\nHost: localhost\r\n"
                     b"Content-Length: 99999999999\r\n\r\n")
        answers = {
            "predict": self.instance.predict("faces_cascade", ASTRONAUT),
            "models": self.instance.request("GET", "/v1/models"),
            "HEAD models": self.instance.request("HEAD", "/v1/models"),
            "unknown route": self.instance.request("GET", "/nowhere"),
            "unknown model": self.instance.request("GET", "/v1/models/nobody"),
            "wrong method": self.instance.request("GET", "/v1/predict/faces_cascade"),
            "wrong method, by nginx": raw(b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            "no picture": self.instance.predict("faces_cascade", b"hello"),
            "too large, by nginx": raw(too_large),
            "too long, by nginx": raw(too_long),
            "no HTTP, by nginx": raw(b"HELLO\r\n\r\n"),
            "no host, by nginx": raw(b"GET / HTTP/1.1\r\n\r\n"),
            "plain HTTP on the TLS port": http_client.request(
                http.client.HTTPConnection("127.0.0.1", self.instance.port), "GET", "/v1/models"),
            "redirect": self.instance.http("GET", "/v1/models"),
            "livez": self.instance.request("GET", "/livez"),
            "livez, HTTP": self.instance.http("GET", "/livez"),
            "readyz": self.instance.request("GET", "/readyz"),
            "metrics": self.instance.request("GET", "/metrics"),
        }
        for name, answer in answers.items():
            with self.subTest(name):
                self.assertIsNotNone(answer, "no answer")
                self.assert_common_headers(answer)

    def test_the_process_time_is_the_answers_total(self):
        answer = self.instance.predict("faces_cascade", ASTRONAUT)
        total = self.assert_good(answer)["timing_ms"]["total"]
        milliseconds = float(answer.header("X-Process-Time")[:-2])
        self.assertAlmostEqual(total, milliseconds, delta=max(5, total / 5))
        stages = [item.partition(";")[0] for item in answer.header("Server-Timing").split(", ")]
        self.assertEqual([stage for stage in STAGES if stage != "draw"], stages)  # those that were reached

    def test_head_answers_as_get_without_the_body(self):
        for path in ("/v1/models", "/v1/models/faces_cascade", "/livez", "/readyz"):
            with self.subTest(path):
                answer = self.instance.request("HEAD", path)
                self.assertEqual((200, b""), (answer.status, answer.body))

    # ------------------------------------------------------------ the edge

    def test_the_http_port_redirects_and_answers_probes(self):
        for method, target in (("GET", "/v1/models?x=1"), ("POST", "/v1/predict/faces_cascade")):
            with self.subTest(target):
                answer = self.instance.http(method, target, headers={"Host": "example.com:80"})
                self.assertEqual(308, answer.status)
                self.assertEqual(f"https://example.com:{self.instance.port}{target}",
                                 answer.header("Location"))
        for path in ("/livez", "/readyz"):
            self.assertEqual(200, self.instance.http("GET", path).status)

    def test_http_2_is_spoken(self):
        context = harness.tls_context(["h2", "http/1.1"])
        good, body = http_client.http2_get(self.instance.port, context, "/v1/models/faces_cascade")
        self.assertTrue(good, body)
        self.assertIn(b'"name":"faces_cascade"', body)

    def test_tls_is_of_version_1_2_or_1_3(self):
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            context = harness.tls_context()
            context.minimum_version = context.maximum_version = version
            with http_client.connect_tls(self.instance.port, context, 60) as tls:
                self.assertEqual(name, tls.version())
        old = harness.tls_context()
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            http_client.connect_tls(self.instance.port, old, 60).close()

    def test_one_connection_takes_many_requests(self):
        connection = http.client.HTTPSConnection("localhost", self.instance.port,
                                                 context=self.instance.context, timeout=60)
        self.addCleanup(connection.close)
        for status, method, target, body in ((200, "POST", "/v1/predict/faces_cascade", ASTRONAUT),
                                             (415, "POST", "/v1/predict/faces_cascade", b"text"),
                                             (404, "GET", "/nowhere", None),
                                             (200, "POST", "/v1/predict/faces_cascade", ASTRONAUT)):
            connection.request(method, target, body)
            response = connection.getresponse()
            response.read()
            self.assertEqual(status, response.status)
            self.assertIsNotNone(connection.sock, "nginx closed the connection")


if __name__ == "__main__":
    unittest.main()

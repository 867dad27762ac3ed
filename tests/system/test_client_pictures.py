"""What inferpool.js does in a browser with a picture before it sends it, in a real Chromium."""

import io
import json
import unittest

import numpy
from PIL import Image, ImageCms

import pictures
from client_programs import MODEL, ClientTest, InChromium, encoded, found
from harness import BIN
from pictures import ASTRONAUT, SOURCE

OBJECTS = SOURCE / "ops/models/objects"  # made of a package, so it may be missing


def grain(image, amount=6, seed=25):
    """With the noise that a camera's sensor has."""
    noise = numpy.random.default_rng(seed).normal(0, amount, (image.height, image.width, 3))
    return Image.fromarray(numpy.clip(numpy.asarray(image) + noise, 0, 255).astype(numpy.uint8))


def tall():
    """Of 1000 x 4000 pixels, with a face in its upper quarter."""
    whole = Image.new("RGB", (1000, 4000), (96, 112, 104))
    whole.paste(pictures.astronaut().resize((1000, 1000)))
    return whole


def photograph(scene):
    """A file as a camera of 12 megapixels makes it, of the scene that is seen."""
    whole = Image.new("RGB", (4000, 3000), (96, 112, 104))
    scale = min(4000 / scene.width, 3000 / scene.height)
    part = scene.resize((round(scene.width * scale), round(scene.height * scale)), Image.Resampling.BICUBIC)
    whole.paste(part, ((4000 - part.width) // 2, 3000 - part.height))
    return pictures.encode(grain(whole), "JPEG", quality=92)


class ChromiumTest(ClientTest):
    @classmethod
    def program(cls):
        runner = InChromium(cls.proxy.url)
        cls.addClassCleanup(runner.browser.quit)
        return runner

    def send(self, content, model=MODEL, **options):
        """What came of it, and what was sent as (bytes, type)."""
        told = self.call("predict", model, encoded(content), **options)
        self.assertNotIn("error", told)
        asked = [one for one in self.proxy.requests if one.method == "POST"]
        self.assertEqual(1, len(asked))
        return told["value"], asked[0].body, asked[0].headers["content-type"]

    def assert_same_things(self, expected, seen):
        """The same classes, and boxes that are within 1 % of the picture's sides."""
        self.assertEqual(expected["image"], seen["image"])
        self.assertTrue(expected["detections"])
        left = list(seen["detections"])
        self.assertEqual(sorted(one["class_name"] for one in expected["detections"]),
                         sorted(one["class_name"] for one in left))
        for one in expected["detections"]:
            same = [other for other in left if other["class_name"] == one["class_name"]]
            nearest = max(same, key=lambda other: pictures.intersection_over_union(one["box"], other["box"]))
            left.remove(nearest)
            for edge, value in one["box"].items():
                side = expected["image"]["width" if edge.startswith("x") else "height"]
                self.assertAlmostEqual(value, nearest["box"][edge], delta=0.01 * side, msg=f"{one} and {nearest}")

    def assert_shrinks(self, model, content):
        value, body, _ = self.send(content, model=model, shrink=True)
        expected = self.instance.predict(model, content).json()
        print(f"{model}: {len(content)} bytes, of which {len(body)} are sent; "
              f"{[(one['class_name'], one['confidence']) for one in expected['detections']]} and "
              f"{[(one['class_name'], one['confidence']) for one in value['detections']]}")
        self.assert_same_things(expected, value)
        self.assertLess(len(body), len(content) / 10)


class PicturesTest(ChromiumTest):
    # ------------------------------------------------------------ what is sent as it is

    def test_what_the_server_takes_is_sent_as_it_is(self):
        image = pictures.astronaut()
        for kind, options in (("JPEG", {}), ("PNG", {}), ("WEBP", {}), ("GIF", {}), ("WEBP", {"lossless": True})):
            with self.subTest(kind, **options):
                self.proxy.reset()
                content = pictures.encode(image, kind, **options)
                _, body, content_type = self.send(content)
                self.assertEqual((content, f"image/{kind.lower()}"), (body, content_type))

    def test_where_all_pixels_are_needed_none_is_taken_away(self):
        large = pictures.encode(grain(tall(), 12), "JPEG", quality=90)
        self.assertGreater(len(large), 1 << 20)
        for options in ({"roi": [0, 0, 500, 500]}, {"tiles": "2x2"}, {"render": "jpeg"}, {"original": True}):
            with self.subTest(**options):
                self.proxy.reset(always=("answer", 200, {"Content-Type": "application/json"}, b"{}"))
                _, body, _ = self.send(large, shrink=True, **options)
                self.assertEqual(large, body)

    # ------------------------------------------------------------ what is no picture

    def test_what_is_no_picture_is_not_sent(self):
        heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
        for content, words in ((b"hello", "begins as no picture does"), (b"", "begins as no picture does"),
                               (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "begins as no picture does"),
                               (b"%PDF-1.7", "begins as no picture does"), (heic, "cannot read it (image/heic)"),
                               (b"BMW and others", "cannot read it (image/bmp)")):
            with self.subTest(content[:20]):
                told = self.call("predict", MODEL, encoded(content))
                error = self.assert_error(told, "PictureError", "not-a-picture", sent=0)
                self.assertIn(words, error["detail"])

    def test_a_damaged_picture_is_the_servers_to_judge(self):
        heavy = pictures.encode(grain(pictures.astronaut().resize((2000, 2000))), "PNG")
        for content in (ASTRONAUT[:20_000], heavy[:len(heavy) // 2], ASTRONAUT[:300],
                        pictures.png_header_only(9000, 9000)):
            self.proxy.reset()
            told = self.call("predict", MODEL, encoded(content))
            self.assert_error(told, "ProblemError", "bad-picture", sent=1, status=422)

    # ------------------------------------------------------------ what is encoded anew

    def test_what_the_server_does_not_take_is_sent_as_a_jpeg(self):
        for kind in ("BMP", ) + (("AVIF",) if "AVIF" in Image.SAVE else ()):
            value, body, content_type = self.send(pictures.encode(pictures.astronaut(), kind))
            sent = Image.open(io.BytesIO(body))
            self.assertEqual(("image/jpeg", "JPEG", (512, 512)), (content_type, sent.format, sent.size))
            self.assert_same_things(self.instance.predict(MODEL, ASTRONAUT).json(), value)

    def test_what_is_heavy_is_sent_as_a_jpeg_if_that_halves_it(self):
        image = pictures.astronaut().resize((1600, 1600))
        for content in (pictures.encode(grain(image), "PNG"), pictures.encode(grain(image, 14), "JPEG", quality=99)):
            self.proxy.reset()
            self.assertGreater(len(content), 1 << 20)
            value, body, _ = self.send(content, confidence=0.5)
            self.assertLess(len(body), len(content) / 2)
            self.assertEqual((1600, 1600), Image.open(io.BytesIO(body)).size)
            self.assert_same_things(self.instance.predict(MODEL, content, "confidence=0.5").json(), value)
        light = pictures.encode(grain(image, 12), "JPEG", quality=85)
        self.proxy.reset()
        self.assertGreater(len(light), 1 << 19)
        self.assertEqual(light, self.send(light)[1])
        # What an alpha channel hides is shown to the models, which a JPEG could not do.
        hidden = grain(image).convert("RGBA")
        hidden.putalpha(3)
        content = pictures.encode(hidden, "PNG")
        self.proxy.reset()
        self.assertEqual(content, self.send(content)[1])

    def test_what_is_above_4k_is_made_smaller_and_found_in_its_own_pixels(self):
        image = tall()
        for orientation, kind in ((1, "JPEG"), (6, "JPEG"), (5, "JPEG"), (8, "PNG"),
                                  *((turned, "WEBP") for turned in range(1, 9))):
            with self.subTest(kind, orientation=orientation):
                self.proxy.reset()
                content = pictures.stored_with_orientation(image, orientation, kind)
                value, body, _ = self.send(content, confidence=0.5)
                sent = Image.open(io.BytesIO(body))
                self.assertEqual(("JPEG", (960, 3840)), (sent.format, sent.size))
                self.assertNotIn(0x0112, sent.getexif())
                self.assertEqual({"width": 1000, "height": 4000}, value["image"])
                self.assert_same_things(self.instance.predict(MODEL, content, "confidence=0.5").json(), value)

    def test_the_numbers_of_the_pixels_stay_as_they_are(self):
        """A colour profile is the screen's business: the server does not look at it."""
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
        image = Image.new("RGB", (4000, 100), (200, 100, 50))
        self.proxy.reset(("answer", 200, {"Content-Type": "application/json"}, b"{}"))
        _, body, _ = self.send(pictures.encode(image, "PNG", icc_profile=profile))
        sent = Image.open(io.BytesIO(body))
        self.assertEqual((3840, 96), sent.size)
        for value, expected in zip(sent.convert("RGB").getpixel((1000, 50)), (200, 100, 50)):
            self.assertAlmostEqual(expected, value, delta=3)

    def test_each_picture_of_a_batch_has_its_own_scale(self):
        large = pictures.encode(tall(), "JPEG")
        told = self.call("batch", MODEL, [encoded(ASTRONAUT), encoded(large)])
        small, big = told["value"]["results"]
        self.assertEqual(self.expected, found(small))
        self.assert_same_things(self.instance.predict(MODEL, large).json(), big)

    def test_shares_of_the_picture_stay_shares(self):
        large = pictures.encode(tall(), "JPEG")
        value, _, _ = self.send(large, coordinates="normalized")
        self.assertEqual({"width": 1000, "height": 4000}, value["image"])
        box = value["detections"][0]["box"]
        self.assertTrue(all(0 < edge < 1 for edge in box.values()), box)

    def test_everything_that_lies_somewhere_is_scaled_back(self):
        """Also within a part of an answer, and within a thing that was found."""
        def thing(scale, **more):
            points = [[3 * scale, 4 * scale], [5 * scale, 4 * scale], [5 * scale, 6 * scale], [3 * scale, 6 * scale]]
            return {"box": {"x1": 3 * scale, "y1": 4 * scale, "x2": 5 * scale, "y2": 6 * scale}, "confidence": 0.5,
                    "class_id": 0, "class_name": "a", "corners": points, "mask": [points],
                    "keypoints": [{"x": 3 * scale, "y": 4 * scale, "confidence": 0.5}], **more}

        def answer(scale):
            inner = {"corners": {"detections": [thing(scale)]}, "image": {"texts": []}}
            part = {"status": 200, "detections": [thing(scale, found=inner)], "embedding": [0.5, 1]}
            size = {"width": round(scale * 3840), "height": round(scale * 960)}
            return {"image": size, "results": {"box": part, "mask": part}, **part}
        self.proxy.reset(("answer", 200, {"Content-Type": "application/json"}, json.dumps(answer(1)).encode()))
        told = self.call("analyze", encoded(pictures.plain(5760, 1440)), models=["box", "mask"])
        self.assertEqual(answer(1.5), told["value"])

    # ------------------------------------------------------------ shrink

    def test_with_shrink_a_photograph_travels_as_a_tenth_of_its_bytes(self):
        scene = Image.open(SOURCE / "tests/data/shapes/large_1600x1200.jpg")
        self.assert_shrinks("shapes", photograph(scene))
        # The side is known by then.
        asked = len([one for one in self.proxy.requests if one.method == "GET"])
        self.assertEqual(1, asked)

    def test_shrink_leaves_alone_what_is_small_and_models_that_need_the_original(self):
        told = self.send(pictures.plain(300, 200), model="shapes", shrink=True)
        self.assertEqual(pictures.plain(300, 200), told[1])
        large = pictures.encode(pictures.astronaut().resize((1200, 1200)), "JPEG")
        self.proxy.reset(("answer", 200, {"Content-Type": "application/json"}, b'{"name":"people"}'))
        self.assertEqual(large, self.send(large, model="people", shrink=True)[1])


@unittest.skipUnless(OBJECTS.is_dir() and (BIN / "onnxruntime/libonnxruntime.so.1").exists(),
                     "the model `objects` is not there: ops/test makes it when it reaches the registry")
class ObjectsTest(ChromiumTest):
    """With a real net."""

    SETTINGS = {"modelserver.repository": str(SOURCE / "ops/models")}

    def test_with_shrink_a_photograph_travels_as_a_tenth_of_its_bytes(self):
        for scene in (pictures.astronaut(), Image.open(SOURCE / "tests/data/pictures/coffee.jpg").convert("RGB")):
            self.proxy.reset()
            self.assert_shrinks("objects", photograph(scene))


if __name__ == "__main__":
    unittest.main()

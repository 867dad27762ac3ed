"""Pictures whose file says to turn them: the page has its boxes where they belong, or says why not."""

import struct
import unittest

import pictures
from page import PageTest


class OrientationTest(PageTest):
    def test_a_chosen_file_is_shown_upright_with_its_boxes_on_it(self):
        image = pictures.astronaut().crop((60, 0, 400, 480))
        for orientation, kind in ((1, "JPEG"), (3, "JPEG"), (6, "JPEG"), (8, "JPEG"), (6, "PNG")):
            with self.subTest(orientation, kind=kind):
                content = pictures.stored_with_orientation(image, orientation, kind)
                self.open()
                self.choose(self.file(f"turned{orientation}.{kind}", content))
                answer = self.shown()
                self.assertEqual({"width": 340, "height": 480}, answer["image"])
                self.assertIn(f"turned{orientation}.{kind}, 340 × 480", self.browser.text("caption"))
                self.assertEqual(1, len(answer["detections"]))
                self.assert_boxes_lie_where_the_api_says(answer)

    def test_boxes_are_not_drawn_where_they_do_not_belong(self):
        """Chromium passes over the orientation of a WebP, and the size alone does not always tell."""
        for name, image in (("high", pictures.astronaut().crop((60, 0, 400, 480))), ("square", pictures.astronaut())):
            for orientation in range(1, 9):
                with self.subTest(name, orientation=orientation):
                    self.open()
                    self.choose(self.file(f"{name}{orientation}.webp",
                                          pictures.stored_with_orientation(image, orientation, "WEBP")))
                    answer = self.shown()
                    self.assertEqual(dict(zip(("width", "height"), image.size)), answer["image"])
                    self.assertTrue(self.browser.all("#rows tr"))
                    if orientation == 1:
                        self.assertNotIn("does not turn it", self.browser.text("caption"))
                        self.assert_boxes_lie_where_the_api_says(answer)
                    else:
                        self.assertIn("does not turn it", self.browser.text("caption"))
                        self.assertEqual([], self.boxes())
        self.assertEqual([], self.browser.complaints())

    def test_a_webp_is_read_as_the_server_reads_it(self):
        """The orientation where it is written otherwise, and where it means nothing."""
        image = pictures.astronaut().crop((60, 0, 400, 480))
        good = pictures.stored_with_orientation(image, 3, "WEBP")
        at = good.index(b"EXIF") + 8
        tiff = good[at:]
        self.assertEqual(b"MM\0*", tiff[:4])
        little = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, 3, 0, 0)

        def with_exif(content):
            chunk = b"EXIF" + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
            body = good[8:at - 8] + chunk
            return b"RIFF" + struct.pack("<I", len(body)) + body
        flags = good.index(b"VP8X") + 8
        # The first good entry counts, and nothing behind the container.
        two = (b"II*\0" + struct.pack("<IHHHIHHHHIHHI", 8, 2, 0x112, 3, 1, 9, 0, 0x112, 3, 1, 3, 0, 0))
        behind = with_exif(b"")
        none = behind[:behind.index(b"EXIF")]
        none = b"RIFF" + struct.pack("<I", len(none) - 8) + none[8:]
        chunk = b"EXIF" + struct.pack("<I", len(little)) + little
        for name, content, turned in (
                ("two entries", with_exif(two), True), ("behind the container", none + chunk, False),
                ("little", with_exif(little), True), ("prefixed", with_exif(b"Exif\0\0" + little), True),
                ("no flag", good[:flags] + b"\0" + good[flags + 1:], False),
                ("nothing", with_exif(b""), False), ("cut off", with_exif(little[:-8]), False),
                ("far away", with_exif(b"II*\0" + b"\xff" * 4 + little[8:]), False),
                ("nine", with_exif(little.replace(struct.pack("<HIH", 3, 1, 3), struct.pack("<HIH", 3, 1, 9))), False)):
            with self.subTest(name):
                self.open()
                self.choose(self.file("other.webp", content))
                self.shown()
                self.assertEqual(turned, "does not turn it" in self.browser.text("caption"))
                self.assertEqual(0 if turned else len(self.browser.all("#rows tr")), len(self.boxes()))


if __name__ == "__main__":
    unittest.main()

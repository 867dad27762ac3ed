"""The inferpool command: check, version, nginx, predict."""

import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import harness
from harness import SystemTest, inferpool
from pictures import ASTRONAUT_FILE, SOURCE, Image


class CheckTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ip", dir="/tmp")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.file = self.folder / "config.json"

    def check(self, text, *arguments):
        """The exit status and the problems, as (line or None, the rest)."""
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        result = inferpool("check", "-c", self.file, *arguments)
        self.assertIn(result.returncode, (0, 2), result.stderr)
        self.assertEqual(result.returncode == 0, result.stdout != "")
        self.assertEqual(result.returncode != 0, result.stderr != "")
        problems = []
        for line in result.stderr.splitlines():
            match = re.fullmatch(re.escape(str(self.file)) + r":(?:(\d+):)? (.*)", line)
            self.assertTrue(match, line)
            problems.append((match[1] and int(match[1]), match[2]))
        return result.returncode, problems

    def assert_bad(self, text, expected, *arguments):
        """`expected`: for each problem its line and words that it must have."""
        status, problems = self.check(text, *arguments)
        self.assertEqual(2, status)
        self.assertEqual(len(expected), len(problems), problems)
        for (line, words), (found_line, message) in zip(expected, problems):
            self.assertEqual(line, found_line, message)
            for word in words:
                self.assertIn(word, message)

    def test_the_example_is_good(self):
        result = inferpool("check", "-c", SOURCE / "ops/inferpool.json")
        self.assertEqual((0, ""), (result.returncode, result.stderr))

    def test_the_example_names_every_key_with_its_default(self):
        """What the file says and what an empty file means render the same nginx.conf."""
        example = (SOURCE / "ops/inferpool.json").read_text()
        self.file.write_text(example)
        from_example = inferpool("nginx", "-c", self.file, "--set", f"state={self.folder}").stdout
        self.file.write_text("{}")
        from_nothing = inferpool("nginx", "-c", self.file, "--set", f"state={self.folder}").stdout
        self.assertTrue(from_example)
        self.assertEqual(from_nothing, from_example)

    def test_good_files(self):
        for text in ("{}", "  {\n}\n", "// nothing but comments\n{ /* here too */ }",
                     '{"limits": {}}', '{"workers": 0, "threads": 256}',
                     '{"predict": {"confidence": 0, "iou": 1}}',
                     '{"modelserver": {"enabled": false}, "backend": {"targets": ["dns:triton:8001"]}}',
                     '{"nginx": {"server_name": "faces.example.com", "rate_per_s": 0}}'):
            with self.subTest(text):
                self.assertEqual((0, []), self.check(text))

    def test_all_problems_are_said_at_once_with_line_key_and_what_is_allowed(self):
        self.assert_bad(
            '{\n'
            '  "workers": -1,\n'
            '  "thread": 4,\n'
            '  "limits": {\n'
            '    "body_mb": 0, "pixel": 5\n'
            '  },\n'
            '  "predict": {"confidence": 1.5,\n'
            '              "iou": "high"},\n'
            '  "log": {"level": "loud", "access": 1},\n'
            '  "sidecar": 9090,\n'
            '  "backend": {"targets": "dns:triton:8001"},\n'
            '  // a comment counts as a line\n'
            '  "state": 7\n'
            '}\n',
            [(2, ["workers", "-1", "0 to 512"]),
             (3, ["thread", "unknown", "threads"]),
             (5, ["limits.body_mb", "0", "1 to 1024"]),
             (5, ["limits.pixel", "unknown", "limits.pixels"]),
             (7, ["predict.confidence", "1.5", "0 to 1"]),
             (8, ["predict.iou", "high", "0 to 1"]),
             (9, ["log.access", "true or false"]),
             (9, ["log.level", "loud", "debug, info, warning, error"]),
             (10, ["sidecar", "object"]),
             (11, ["backend.targets", "list"]),
             (13, ["state", "path"])])

    def test_an_unknown_key_is_told_the_nearest_known_one(self):
        for key, nearest in (("worker", "workers"), ("Threads", "threads"), ("stat", "state")):
            with self.subTest(key):
                self.assert_bad(json.dumps({key: 1}), [(1, [key, nearest])])
        for key, nearest in (("bodymb", "limits.body_mb"), ("pixles", "limits.pixels")):
            with self.subTest(key):
                self.assert_bad(json.dumps({"limits": {key: 1}}), [(1, [key, nearest])])
        self.assert_bad('{\n"timeout": {"drain_s": 1}}', [(2, ["timeout", "unknown"])])

    def test_json_that_is_none_says_its_line(self):
        for text, line in (('{\n  "workers": 2\n  "threads": 4\n}', 3),
                           ('{\n  "workers": 2,\n', None),
                           ('{"workers": }', 1),
                           ("{'workers': 2}", 1),
                           ('{\n"workers": 2}\n}', None),
                           ('{\n"workers": 1,\n"workers": 2}', None),
                           ("", None), ("\n\n", None), ("nonsense", 1), ("{" * 100_000, None),
                           ("[" * 100_000, None), ('{"a":' * 5_000, None), (b"\xff\xfe{}", 1)):
            with self.subTest(text[:40]):
                status, problems = self.check(text)
                self.assertEqual(2, status)
                self.assertEqual(1, len(problems), problems)
                self.assertIn("JSON", problems[0][1])
                if line is not None:
                    self.assertEqual(line, problems[0][0])

    def test_json_that_is_no_object_is_bad(self):
        for text in ("[]", "null", "7", '"workers"'):
            with self.subTest(text):
                self.assertEqual(2, self.check(text)[0])

    def test_values_of_other_types_and_sizes_are_bad(self):
        for key, value in (("workers", "two"), ("workers", 1.5), ("workers", True), ("workers", None),
                           ("workers", 513), ("workers", 10 ** 30), ("workers", -(10 ** 30)),
                           ("workers", [1]), ("threads", 0), ("sidecar.port", 0), ("sidecar.port", 65536),
                           ("predict.confidence", -0.1), ("predict.confidence", "0.5"),
                           ("predict.iou", True), ("predict.max_detections", 0), ("log.access", "yes"),
                           ("log.level", "INFO"), ("backend.targets", [1]), ("state", "a\nb"),
                           ("nginx.server_name", "a\tb"), ("timeouts.request_s", 0)):
            with self.subTest(key, value=value):
                self.assert_bad(json.dumps(harness.nested({key: value})), [(1, [key])])

    def test_what_does_not_go_together_is_bad(self):
        for settings, key in (
                ({"modelserver.enabled": False}, "backend.targets"),
                ({"nginx.port": 9000, "nginx.http_port": 9000}, "nginx.http_port"),
                ({"nginx.port": 9090}, "nginx.port"),
                ({"nginx.http_port": 9090}, "nginx.http_port"),
                ({"nginx.certificate": "c.pem"}, "nginx.certificate_key"),
                ({"nginx.certificate_key": "k.pem"}, "nginx.certificate"),
                ({"nginx.server_name": "a;b"}, "nginx.server_name"),
                ({"nginx.certificate": "a;b", "nginx.certificate_key": "k"}, "nginx.certificate"),
                ({"listen.socket": "/tmp/" + "x" * 110}, "listen.socket")):
            with self.subTest(str(settings)):
                status, problems = self.check(json.dumps(harness.nested(settings)))
                self.assertEqual(2, status)
                self.assertEqual(1, len(problems), problems)
                self.assertIn(key, problems[0][1])

    def test_a_state_folder_too_deep_for_a_socket_is_bad(self):
        status, problems = self.check(json.dumps({"state": "/tmp/" + "x" * 120}))
        self.assertEqual(2, status)
        self.assertTrue(problems)
        for _, message in problems:
            self.assertIn("107", message)
            self.assertIn("shorter", message)

    def test_a_file_that_is_not_there_is_bad(self):
        for path in ("/nowhere/config.json", "/tmp", ""):
            with self.subTest(path):
                result = inferpool("check", "-c", path)
                self.assertGreater(result.returncode, 0)
                self.assertEqual(1, len(result.stderr.splitlines()), result.stderr)

    def test_overrides_win_and_are_checked(self):
        self.assertEqual(0, self.check('{"workers": 9999}', "--set", "workers=3")[0] - 2)
        self.assertEqual((0, []), self.check("{}", "--set", "workers=3", "--set", "log.level=debug"))
        self.assert_bad("{}", [(None, ["worker", "workers"])], "--set", "worker=3")
        self.assert_bad("{}", [(None, ["workers", "0 to 512"])], "--set", "workers=many")
        self.assert_bad("{}", [(None, ["key=value"])], "--set", "workers")

    def test_every_command_that_reads_a_configuration_refuses_a_bad_one(self):
        self.file.write_text('{"workers": -1}')
        for command in ("check", "nginx", "serve"):
            with self.subTest(command):
                result = inferpool(command, "-c", self.file)
                self.assertEqual((2, ""), (result.returncode, result.stdout))
                self.assertIn(f"{self.file}:1: workers: ", result.stderr)


class CommandLineTest(unittest.TestCase):
    def test_version(self):
        result = inferpool("version")
        self.assertEqual((0, ""), (result.returncode, result.stderr))
        self.assertRegex(result.stdout, r"^inferpool \d+\.\d+\.\d+\n$")
        stated = re.search(r"project\(inferpool VERSION (\S+)", (SOURCE / "CMakeLists.txt").read_text())
        self.assertEqual(f"inferpool {stated[1]}\n", result.stdout)

    def test_help(self):
        result = inferpool("--help")
        self.assertEqual(0, result.returncode)
        for command in ("serve", "check", "nginx", "version", "predict"):
            self.assertIn(command, result.stdout)

    def test_a_wrong_command_line_is_refused(self):
        for arguments in ((), ("fly",), ("serve",), ("check",), ("check", "-c"), ("predict",),
                          ("predict", "a.jpg"), ("version", "now")):
            with self.subTest(arguments):
                result = inferpool(*arguments)
                self.assertGreater(result.returncode, 0)
                self.assertTrue(result.stderr)


class NginxTest(unittest.TestCase):
    def rendered(self, settings):
        folder = tempfile.TemporaryDirectory(prefix="ip", dir="/tmp")
        self.addCleanup(folder.cleanup)
        state = Path(folder.name)
        for name in ("logs", "tmp"):
            (state / name).mkdir()
        https, http = harness.free_ports(2)
        settings = {"state": str(state), "nginx.port": https, "nginx.http_port": http,
                    "nginx.certificate": str(harness.certificate() / "certificate.pem"),
                    "nginx.certificate_key": str(harness.certificate() / "key.pem"), **settings}
        (state / "config.json").write_text(json.dumps(harness.nested(settings)))
        result = inferpool("nginx", "-c", state / "config.json")
        self.assertEqual((0, ""), (result.returncode, result.stderr))
        (state / "nginx.conf").write_text(result.stdout)
        return state, result.stdout

    def test_nginx_accepts_what_is_rendered(self):
        for settings in ({}, {"nginx.rate_per_s": 0}, {"nginx.rate_per_s": 10, "nginx.burst": 0},
                         {"nginx.server_name": "faces.example.com"}, {"limits.body_mb": 1024},
                         {"timeouts.request_s": 3600, "timeouts.io_s": 600}):
            with self.subTest(str(settings)):
                state, text = self.rendered(settings)
                self.assertIsNone(re.search(r"@[A-Z_]+@", text), "a placeholder is left")
                result = subprocess.run([harness.NGINX, "-t", "-p", state, "-c", "nginx.conf", "-e",
                                         "stderr"], capture_output=True, text=True, check=False)
                self.assertEqual(0, result.returncode, result.stderr)
                self.assertNotIn("[warn]", result.stderr)

    def test_the_rendered_file_has_no_path_but_those_configured(self):
        state, text = self.rendered({"nginx.pages": "/srv/pages", "nginx.swagger_ui": "/srv/swagger"})
        paths = set(re.findall(r"(?<![\w/])/(?:usr|etc|var|tmp|work|home|root|opt)/[^\s;\x22]*", text))
        self.assertEqual({f"{state}/inferpool.sock", *(str(harness.certificate() / name)
                                                       for name in ("certificate.pem", "key.pem"))},
                         {path.rstrip(":") for path in paths})


class PredictCommandTest(SystemTest):
    SETTINGS = {}

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ip", dir="/tmp")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def predict(self, *arguments, model="faces_cascade", url=None):
        return inferpool("predict", *arguments, "--model", model, "--url",
                         url or f"https://localhost:{self.instance.port}",
                         "--cacert", harness.certificate() / "certificate.pem")

    def assert_failed(self, result, *words):
        self.assertGreater(result.returncode, 0)
        self.assertEqual(1, len(result.stderr.splitlines()), result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)

    def test_it_prints_what_is_in_the_picture(self):
        result = self.predict(ASTRONAUT_FILE)
        self.assertEqual((0, ""), (result.returncode, result.stderr))
        self.assertIn("512 x 512", result.stdout)
        self.assertEqual(1, len(re.findall(r"^  face +[01]\.\d+ ", result.stdout, re.M)), result.stdout)

    def test_several_pictures_and_json(self):
        result = self.predict(ASTRONAUT_FILE, ASTRONAUT_FILE, "--json")
        self.assertEqual((0, ""), (result.returncode, result.stderr))
        answers = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual(2, len(answers))
        expected = self.instance.predict("faces_cascade", ASTRONAUT_FILE.read_bytes()).detections
        for answer in answers:
            self.assertEqual(expected, answer["detections"])

    def test_it_draws_the_boxes(self):
        file = self.folder / "out.png"
        result = self.predict(ASTRONAUT_FILE, "--draw", file)
        self.assertEqual((0, ""), (result.returncode, result.stderr))
        drawn, original = Image.open(file).convert("RGB"), Image.open(ASTRONAUT_FILE).convert("RGB")
        self.assertEqual(original.size, drawn.size)
        box = self.instance.predict("faces_cascade", ASTRONAUT_FILE.read_bytes()).detections[0]["box"]
        # The frame has the first class's colour; what is far from it is as it was.
        red, green, blue = drawn.getpixel((round(box["x1"]), round((box["y1"] + box["y2"]) / 2)))
        self.assertEqual((230, 159, 0), (red, green, blue))
        far, was = drawn.getpixel((500, 500)), original.getpixel((500, 500))
        self.assertLessEqual(max(abs(a - b) for a, b in zip(far, was)), 12)

    def test_it_draws_each_of_several_pictures_into_a_file_of_its_own(self):
        result = self.predict(ASTRONAUT_FILE, ASTRONAUT_FILE, "--draw", self.folder / "out.jpg")
        self.assertEqual((0, ""), (result.returncode, result.stderr))
        self.assertEqual(["out-1.jpg", "out-2.jpg"], sorted(os.listdir(self.folder)))
        for name in os.listdir(self.folder):
            self.assertEqual((512, 512), Image.open(self.folder / name).size)

    def test_a_file_that_cannot_be_drawn_is_said(self):
        self.assert_failed(self.predict(ASTRONAUT_FILE, "--draw", "/nowhere/out.jpg"), "/nowhere/out.jpg")
        self.assert_failed(self.predict(ASTRONAUT_FILE, "--draw", self.folder / "out.xyz"), "out.xyz")

    def test_an_error_of_the_service_is_printed(self):
        self.assert_failed(self.predict(ASTRONAUT_FILE, model="nobody"), "404", "nobody")
        text = self.folder / "text.jpg"
        text.write_text("no picture")
        self.assert_failed(self.predict(text), "415", str(text))

    def test_one_bad_picture_of_several_fails_the_command_but_not_the_others(self):
        result = self.predict(self.folder / "missing.jpg", ASTRONAUT_FILE)
        self.assert_failed(result, "missing.jpg")
        self.assertIn("512 x 512", result.stdout)

    def test_a_dead_url_is_said(self):
        port, = harness.free_ports(1)
        self.assert_failed(self.predict(ASTRONAUT_FILE, url=f"https://localhost:{port}"), str(port))
        self.assert_failed(self.predict(ASTRONAUT_FILE, url="https://nowhere.invalid"), "nowhere.invalid")
        self.assert_failed(self.predict(ASTRONAUT_FILE, url="nonsense://x"))

    def test_another_server_than_ours_is_said(self):
        self.assert_failed(self.predict(ASTRONAUT_FILE, url=f"http://127.0.0.1:{self.instance.http_port}"),
                           "308")

    def test_a_certificate_that_is_not_trusted_is_refused_unless_told_otherwise(self):
        arguments = ("predict", ASTRONAUT_FILE, "--model", "faces_cascade", "--url",
                     f"https://localhost:{self.instance.port}")
        self.assert_failed(inferpool(*arguments), "--cacert")
        self.assertEqual(0, inferpool(*arguments, "--insecure").returncode)


if __name__ == "__main__":
    unittest.main()

"""API keys: who may ask for what, how fast, how urgently; and what is said about them."""

import hashlib
import json
import os
import re
import signal
import tempfile
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
import pictures
from harness import SystemTest, inferpool
from processes import eventually

PICTURE = pictures.plain(64, 64)  # quick to search


class KeysFile:
    """A keys file in a folder of its own, edited with the command."""

    def __init__(self, cleanup):
        self.folder = tempfile.TemporaryDirectory(prefix="ipkeys", dir="/tmp")
        cleanup(self.folder.cleanup)
        self.path = Path(self.folder.name) / "keys.json"
        self.secrets = []

    def run(self, *arguments):
        return inferpool("keys", *arguments, "--file", self.path)

    def add(self, name, *options):
        done = self.run("add", name, *options)
        assert done.returncode == 0, done.stderr
        self.secrets.append(done.stdout.strip())
        return self.secrets[-1]

    def revoke(self, name):
        done = self.run("revoke", name)
        assert done.returncode == 0, done.stderr


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


class KeysCommandTest(unittest.TestCase):
    def setUp(self):
        self.keys = KeysFile(self.addCleanup)

    def test_a_key_is_shown_once_and_only_its_digest_is_kept(self):
        key = self.keys.add("shop")
        self.assertRegex(key, r"^ip_[A-Za-z0-9_-]{43}$")
        text = self.keys.path.read_text()
        self.assertNotIn(key, text)
        self.assertIn(hashlib.sha256(key.encode()).hexdigest(), text)
        self.assertEqual(0o600, self.keys.path.stat().st_mode & 0o777)
        self.assertNotEqual(key, self.keys.add("other"))

    def test_list_shows_names_and_no_whole_digest(self):
        key = self.keys.add("shop", "--models", "faces,shop-*", "--rate", "2.5", "--priority", "high",
                            "--expires", "2099-01-31")
        done = self.keys.run("list")
        self.assertEqual(0, done.returncode)
        for word in ("shop", "faces,shop-*", "2.5 (3)", "high", "2099-01-31"):
            self.assertIn(word, done.stdout)
        self.assertTrue(done.stdout.rstrip().endswith("faces,shop-*"), "a key of some models watches no camera")
        self.keys.add("guard", "--cameras", "door-*,yard")
        self.assertTrue(self.keys.run("list").stdout.rstrip().endswith(" door-*,yard"))
        self.assertNotIn(key, done.stdout)
        self.assertNotIn(hashlib.sha256(key.encode()).hexdigest(), done.stdout)

    def test_revoke_takes_a_key_away_and_keeps_the_mode(self):
        self.keys.add("shop")
        self.keys.path.chmod(0o640)
        self.keys.revoke("shop")
        self.assertEqual({"keys": []}, json.loads(self.keys.path.read_text()))
        self.assertEqual(0o640, self.keys.path.stat().st_mode & 0o777)

    def test_mistakes_are_named(self):
        self.keys.add("shop")
        for arguments, word in ((("add", "shop"), "already"), (("revoke", "nobody"), "no key nobody"),
                                (("add", "a b"), "letters"), (("add", "x", "--rate", "-1"), "rate_per_s"),
                                (("add", "x", "--burst", "3"), "rate_per_s"),
                                (("add", "x", "--priority", "urgent"), "high, normal or low"),
                                (("add", "x", "--expires", "soon"), "2027-06-30"),
                                (("add", "x", "--expires", "2001-01-01"), "over")):
            with self.subTest(arguments):
                done = self.keys.run(*arguments)
                self.assertEqual(1, done.returncode)
                self.assertIn(word, done.stderr)
                self.assertEqual("", done.stdout)
        done = inferpool("keys", "list")
        self.assertEqual(1, done.returncode)
        self.assertIn("--file", done.stderr)
        self.keys.path.write_text('{"keys": [\n{"name": 7}]}')
        done = self.keys.run("add", "x")
        self.assertIn(f"{self.keys.path}:2: ", done.stderr)

    def test_edits_at_the_same_time_are_all_kept(self):
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(self.keys.add, (f"key-{i}" for i in range(18))))
        names = {entry["name"] for entry in json.loads(self.keys.path.read_text())["keys"]}
        self.assertEqual({f"key-{i}" for i in range(18)}, names)
        self.assertEqual([self.keys.path], list(self.keys.path.parent.iterdir()))

    def test_a_pool_does_not_start_on_a_bad_file_and_check_says_why(self):
        config = self.keys.path.parent / "config.json"
        config.write_text(json.dumps({"state": "run", "auth": {"keys_file": "keys.json"}}))
        for text, word in ((None, "inferpool keys add"), ('{"keys": [\n1]}', "keys.json:2: ")):
            if text is not None:
                self.keys.path.write_text(text)
            for command in ("check", "serve"):
                with self.subTest(command, text=text):
                    done = inferpool(command, "-c", config)
                    self.assertNotEqual(0, done.returncode)
                    self.assertIn("auth.keys_file", done.stderr)
                    self.assertIn(word, done.stderr)
        self.keys.path.unlink()
        done = inferpool("keys", "add", "shop", "-c", config)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual(0, inferpool("check", "-c", config).returncode)


class AuthTest(SystemTest):
    """Three workers, and keys of all kinds."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.keys = KeysFile(cls.addClassCleanup)
        cls.all = cls.keys.add("all", "--priority", "high")
        cls.faces = cls.keys.add("only-faces", "--models", "fac*")
        cls.limited = cls.keys.add("limited", "--rate", "5", "--burst", "20")
        cls.instance = cls.start({"auth.keys_file": str(cls.keys.path), "workers": 3,
                                  "log.access": True, "nginx.rate_per_s": 0},
                                 cleanup=cls.addClassCleanup)
        cls.pids = cls.instance.wait_workers()

    def faces_with(self, headers):
        return self.instance.predict("faces_cascade", PICTURE, headers=headers)

    def assert_unauthorized(self, answer, word):
        problem = self.assert_refused(answer, 401, "unauthorized")
        self.assertEqual("Bearer", answer.header("WWW-Authenticate"))
        self.assertIn(word, problem["detail"])

    def assert_refused(self, answer, status, kind):
        """Under /v2 a problem is also an error as that protocol's clients know it."""
        problem = answer.json()
        problem.pop("error", None)
        answer.body = json.dumps(problem).encode()
        return self.assert_problem(answer, status, kind)

    def requests_of(self, name, outcome):
        return self.instance.metrics().value("inferpool_key_requests_total", key=name, outcome=outcome)

    # ------------------------------------------------------------ who

    def test_a_key_is_taken_from_either_header(self):
        for headers in (bearer(self.all), {"X-API-Key": self.all},
                        {"Authorization": f"bearer   {self.all}"},
                        {**bearer(self.all), "X-API-Key": self.all},
                        {"Authorization": "Basic YTpi", "X-API-Key": self.all}):
            with self.subTest(headers=list(headers)):
                self.assert_good(self.faces_with(headers))

    def test_without_a_valid_key_it_is_401(self):
        for headers, word in (({}, "is needed"), ({"Authorization": "Basic YTpi"}, "is needed"),
                              ({"Authorization": "Bearer"}, "is needed"),
                              (bearer("ip_" + "A" * 43), "unknown or has expired"),
                              (bearer(self.all + "x"), "unknown or has expired"),
                              (bearer(self.all[:-1]), "unknown or has expired"),
                              (bearer(self.all + " "  + self.faces), "unknown or has expired"),
                              ({**bearer(self.all), "X-API-Key": self.faces}, "two different")):
            with self.subTest(word=word):
                self.assert_unauthorized(self.faces_with(headers), word)

    def test_every_route_of_the_workers_needs_a_key_and_the_others_none(self):
        for method, path in (("GET", "/v1/models"), ("GET", "/v1/models/faces_cascade"),
                             ("POST", "/predict/faces_cascade"), ("POST", "/v1/predict/faces_cascade/batch"),
                             ("GET", "/v2/models/faces_cascade"), ("GET", "/v2/health/elsewhere")):
            with self.subTest(path):
                self.assert_unauthorized(self.instance.request(method, path, PICTURE), "is needed")
        for path in ("/livez", "/readyz", "/metrics"):
            self.assertEqual(200, self.instance.request("GET", path).status)

    def test_an_expired_key_is_401(self):
        key = self.keys.add("brief")
        document = json.loads(self.keys.path.read_text())
        document["keys"][-1]["expires"] = "2001-01-01T00:00:00Z"
        self.keys.path.write_text(json.dumps(document))
        time.sleep(1.5)
        self.assert_unauthorized(self.faces_with(bearer(key)), "unknown or has expired")
        self.keys.revoke("brief")

    # ------------------------------------------------------------ what

    def test_another_model_than_the_keys_is_403(self):
        headers = bearer(self.faces)
        self.assert_good(self.faces_with(headers))
        for method, path in (("POST", "/v1/predict/people"), ("POST", "/predict/p%65ople"),
                             ("POST", "/v1/predict/nothing"), ("GET", "/v1/models/people"),
                             ("POST", "/v1/predict/people/batch"), ("GET", "/v2/models/people"),
                             ("POST", "/v2/models/people/versions/1/infer")):
            with self.subTest(path):
                answer = self.instance.request(method, path, PICTURE, headers)
                problem = self.assert_refused(answer, 403, "forbidden")
                self.assertIn("may not use", problem["detail"])

    def test_the_list_has_the_keys_models_alone(self):
        def listed(key):
            answer = self.assert_good(self.instance.request("GET", "/v1/models", headers=bearer(key)))
            return [model["name"] for model in answer["models"]]
        self.assertEqual(["faces_cascade"], listed(self.faces))
        self.assertEqual(["faces_cascade", "people", "shapes"], listed(self.all))

    def test_over_v2_the_lists_have_the_keys_models_alone(self):
        def names(key, method, path, member=None):
            answer = self.instance.request(method, path, headers=bearer(key))
            self.assertEqual(200, answer.status, answer.body)
            return sorted({model["name"] for model in (answer.json()[member] if member else answer.json())})
        for method, path, member in (("POST", "/v2/repository/index", None),
                                     ("GET", "/v2/models/stats", "model_stats")):
            with self.subTest(path):
                self.assertEqual(["faces_cascade"], names(self.faces, method, path, member))
                self.assertEqual(["faces_cascade", "people", "shapes"], names(self.all, method, path, member))
        for path in ("/v2/health/live", "/v2/health/ready"):
            self.assertEqual(200, self.instance.request("GET", path).status, "probes have no key")

    # ------------------------------------------------------------ how fast

    def test_the_rate_holds_over_all_workers(self):
        before = self.requests_of("limited", "allowed"), self.requests_of("limited", "limited")
        begin = time.monotonic()
        answers = []

        def ask():
            while time.monotonic() < begin + 4:
                answers.append(self.instance.request("GET", "/v1/models/faces_cascade",
                                                     headers=bearer(self.limited)))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        passed = time.monotonic() - begin
        good = sum(answer.status == 200 for answer in answers)
        refused = [answer for answer in answers if answer.status != 200]
        self.assertTrue(refused, "never over the rate")
        for answer in refused[:5] + refused[-5:]:
            problem = self.assert_problem(answer, 429, "too-many-requests")
            self.assertIn("5 requests a second", problem["detail"])
            self.assertEqual("1", answer.header("Retry-After"))
            self.assertEqual(('"default";q=20;w=4', '"default";r=0;t=1'),
                             (answer.header("RateLimit-Policy"), answer.header("RateLimit")))
        # The burst, and what the rate let through; the machine's pauses can only make it fewer.
        self.assertLessEqual(good, 20 + 5 * passed + 1)
        self.assertGreaterEqual(good, 20 + 5 * 4 - 4)
        self.assertEqual(before[0] + good, self.requests_of("limited", "allowed"))
        self.assertEqual(before[1] + len(refused), self.requests_of("limited", "limited"))

    def test_a_key_with_a_rate_is_told_what_is_left(self):
        key = self.keys.add("told", "--rate", "0.5", "--burst", "5")
        time.sleep(1.5)
        left = []
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/predict/nobody"), ("DELETE", "/v1/models"),
                             ("GET", "/v2/models/faces_cascade"), ("GET", "/v1/nothing"), ("GET", "/v1/models")):
            answer = self.instance.request(method, path, headers=bearer(key))
            self.assertEqual('"default";q=5;w=10', answer.header("RateLimit-Policy"), path)
            remaining, restored = re.fullmatch(r'"default";r=(\d+);t=(\d+)', answer.header("RateLimit")).groups()
            left.append(int(remaining))
            self.assertLessEqual(int(restored), 10)
        self.assertEqual(429, answer.status)
        self.assertEqual(answer.header("Retry-After"), restored)
        self.assertEqual([4, 3, 2, 1, 0, 0], left)
        for headers in (bearer(self.all), {}, bearer("unknown")):
            answer = self.instance.request("GET", "/v1/models", headers=headers)
            self.assertIsNone(answer.header("RateLimit"))
            self.assertIsNone(answer.header("RateLimit-Policy"))
        self.keys.revoke("told")

    def test_a_key_learns_its_own_limits(self):
        def limits(key):
            answer = self.instance.request("GET", "/v1/limits", headers=bearer(key))
            self.assertEqual(200, answer.status)
            return answer.json()["key"]
        self.assertEqual({"rate": None, "priority": "high"}, limits(self.all))
        key = self.keys.add("measured", "--rate", "0.5", "--burst", "5")
        time.sleep(1.5)
        self.assertEqual({"rate": {"requests_per_s": 0.5, "burst": 5}, "priority": "normal"}, limits(key))
        self.keys.revoke("measured")
        self.assert_unauthorized(self.instance.request("GET", "/v1/limits"), "is needed")

    # ------------------------------------------------------------ changes of the file

    def test_a_change_is_seen_without_a_restart_and_no_request_fails(self):
        stop = threading.Event()
        failures = []

        def ask():
            while not stop.is_set():
                answer = self.instance.request("GET", "/v1/models/faces_cascade", headers=bearer(self.all))
                if answer.status != 200:
                    failures.append(answer)

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            for name in ("first", "second", "third"):
                key = self.keys.add(name)
                eventually(lambda key=key: self.faces_with(bearer(key)).status == 200, "the key is known")
                self.keys.revoke(name)
                eventually(lambda key=key: self.faces_with(bearer(key)).status == 401, "it is revoked")
        finally:
            stop.set()
            thread.join()
        self.assertEqual([], failures)
        self.assertEqual(self.pids, self.instance.workers())

    def test_a_file_that_turns_bad_or_goes_away_changes_nothing_and_is_logged_once(self):
        good = self.keys.path.read_text()

        def errors():
            return [line for line in self.instance.log()
                    if "keys stay as they were" in line.get("event", "")]

        try:
            for change, reason in ((lambda: self.keys.path.write_text(good + "\n\n}"), "json:"),
                                   (self.keys.path.unlink, "cannot be read")):
                before = len(errors())
                change()
                # Every worker looks when it is asked.
                def seen(before=before):
                    self.assert_good(self.faces_with(bearer(self.all)))
                    return len(errors()) >= before + 1
                eventually(seen, "somebody noticed")
                time.sleep(2.5)
                for _ in range(12):
                    self.assert_good(self.faces_with(bearer(self.all)))
                new = errors()[before:]
                self.assertIn(reason, new[0]["reason"])
                self.assertEqual(len(new), len({line["pid"] for line in new}), "once a worker")
        finally:
            self.keys.path.write_text(good)

    # ------------------------------------------------------------ what is said of it

    def test_names_and_never_keys_are_logged(self):
        for key in (self.all, self.faces, "ip_" + "B" * 43):
            self.faces_with(bearer(key))
        self.faces_with({"X-API-Key": self.faces})
        eventually(lambda: any(line.get("key") == "only-faces" for line in self.instance.log()),
                   "the name is logged")
        for secret in [*self.keys.secrets, "ip_" + "B" * 43]:
            for path in self.instance.state.rglob("*"):
                if path.is_file():
                    self.assertNotIn(secret.encode(), path.read_bytes(), path)
        metrics = self.instance.probe("/metrics").body
        for secret in self.keys.secrets:
            self.assertNotIn(secret.encode(), metrics)
        self.assertGreater(self.instance.metrics().value("inferpool_requests_total", status="401"), 0)


class EndsOfWorkersTest(SystemTest):
    def test_a_limit_outlives_the_workers_that_counted(self):
        keys = KeysFile(self.addCleanup)
        key = keys.add("slow", "--rate", "0.01", "--burst", "5")
        self.instance = self.start({"auth.keys_file": str(keys.path), "workers": 3},
                                   cleanup=self.addCleanup)

        def ask():
            return self.instance.request("GET", "/v1/models/faces_cascade", headers=bearer(key))

        for _ in range(5):
            self.assert_good(ask())
        for _ in range(3):
            answer = ask()
            self.assert_problem(answer, 429, "too-many-requests")
            self.assertGreater(int(answer.header("Retry-After")), 50)
            self.assertLessEqual(int(answer.header("Retry-After")), 100)
            for pid in self.instance.wait_workers():
                os.kill(pid, signal.SIGKILL)
            eventually(lambda: ask().status == 429, "others serve, and know")
        self.assertEqual(5, self.instance.metrics().value("inferpool_key_requests_total", key="slow",
                                                          outcome="allowed"))

    def test_a_reload_on_a_bad_file_leaves_the_workers_that_have_keys(self):
        keys = KeysFile(self.addCleanup)
        key = keys.add("shop")
        self.instance = self.start({"auth.keys_file": str(keys.path), "workers": 2,
                                    "timeouts.start_s": 3}, cleanup=self.addCleanup)
        pids = self.instance.wait_workers()
        keys.path.write_text("nonsense")
        done = inferpool("reload", "--state", self.instance.state)
        self.instance.config_file.write_text(json.dumps(harness.nested(
            {**self.instance.settings, "limits.body_mb": 9})))
        done = inferpool("reload", "--state", self.instance.state, "--patience", "30")
        self.assertNotEqual(0, done.returncode, done.stdout)
        self.assertEqual(pids, self.instance.workers())
        self.assert_good(self.instance.predict("faces_cascade", PICTURE, headers=bearer(key)))


if __name__ == "__main__":
    unittest.main()

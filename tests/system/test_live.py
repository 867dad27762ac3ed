"""Cameras' answers for those who look: /v1/cameras, events, snapshots. A test is the owner of the shards:
it writes to Redis what the ingest processes would."""

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import tempfile
import threading
import time
import unittest
from pathlib import Path
from urllib.parse import quote

import pictures
from camera_owner import FOUND, JPEG, NOTHING, Owner, key, settings, start_redis
from harness import SystemTest
from processes import PATIENCE_S, eventually
from redis_server import Camera


class Events:
    """A stream of events, over nginx; or, with a `path`, on the live process' own socket."""

    def __init__(self, instance, camera, query="", headers=None, path=None, receive_bytes=None):
        target = f"/v1/cameras/{camera}/events{query}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        if path is None:
            self.connection = instance.connect_tls()
        else:
            self.connection = socket.socket(socket.AF_UNIX)
            if receive_bytes:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            self.connection.connect(str(path))
        self.connection.settimeout(PATIENCE_S)
        self.connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
        self.file = self.connection.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = {}
        while (line := self.file.readline().strip()):
            name, _, value = line.decode().partition(": ")
            self.headers[name.lower()] = value

    def close(self):
        self.file.close()
        self.connection.close()

    def blocks(self):
        """The stream's blocks, {"id", "data"} or {"comment"}, until it ends."""
        text = b""
        while (size := int(self.file.readline() or b"0", 16)):
            text += self.file.read(size)
            self.file.readline()
            *blocks, text = text.split(b"\n\n")
            for block in blocks:
                fields = dict(line.split(": ", 1) for line in block.decode().split("\n"))
                yield {"comment": fields.pop("")} if "" in fields else fields

    def events(self):
        return ((block["id"], json.loads(block["data"])) for block in self.blocks() if "data" in block)

    def take(self, count):
        events = self.events()
        return [next(events) for _ in range(count)]


class LiveTest(SystemTest):
    @classmethod
    def setUpClass(cls):
        cls.redis = start_redis(cls.addClassCleanup)
        cls.owner = Owner(cls.redis)
        cls.addClassCleanup(cls.owner.close)
        cls.instance = cls.start(settings(cls.redis), cleanup=cls.addClassCleanup)

    def setUp(self):
        self.owner("FLUSHALL")

    def get(self, target, method="GET", headers=None, body=None):
        return self.instance.request(method, target, body, headers)

    def listed(self):
        return {camera["id"]: camera for camera in self.assert_good(self.get("/v1/cameras"))["cameras"]}

    def await_camera(self, camera, condition=lambda camera: True):
        return eventually(lambda: (found := self.listed().get(camera)) and condition(found) and found,
                          f"{camera} is listed so")

    def events(self, camera, **options):
        events = Events(self.instance, camera, **options)
        self.addCleanup(events.close)
        return events

    def live(self):
        return eventually(lambda: self.instance._ready("live ready", "live"), "live runs")[0]

    def socket(self):
        return self.instance.state / "children/live.sock"

    # ------------------------------------------------------------ what is known

    def test_cameras_with_rate_lag_age_and_ledger(self):
        self.owner.name("yard")
        # Known by its answers alone, so that no process of the pool takes its frame.
        self.owner.ledger("gate", produced=10, published=7, superseded=2, pending=1)
        self.owner("XADD", key("gate", "cam:"), "*", "picture", "x")
        self.await_camera("yard", lambda yard: yard["rate"] == 0 and yard["age_ms"] is None and yard["ledger"] is None)
        for _ in range(20):
            self.owner.answer("gate")
            time.sleep(0.1)
        gate = self.await_camera("gate", lambda gate: gate["rate"] > 3 and gate["ledger"])
        self.assertLess(gate["rate"], 15)
        self.assertEqual({"ms": 120, "frames": 1}, gate["lag"])
        self.assertLess(gate["age_ms"], 5_000)
        self.assertEqual(200, gate["status"])
        self.assertEqual({"produced": 10, "published": 7, "superseded": 2, "stale": 0, "trimmed": 0,
                          "overwritten": 0, "failed": 0, "pending": 1}, gate["ledger"])
        alone = self.assert_good(self.get("/v1/cameras/gate"))
        self.assertEqual((gate["id"], gate["ledger"]), (alone["id"], alone["ledger"]))
        self.assertEqual("up", self.get("/v1/cameras").json()["redis"])

    def test_the_latest_answer(self):
        self.owner.name("latest")
        self.assert_problem(self.get("/v1/cameras/latest/latest"), 404, "nothing-yet")
        self.owner.answer("latest", NOTHING)
        entry = self.owner.answer("latest")
        answer = eventually(
            lambda: (answer := self.get("/v1/cameras/latest/latest")).status == 200
            and answer.json().get("detections") and answer.json(), "the answer is known")
        self.assertEqual(FOUND["detections"], answer["detections"])
        self.assertEqual(("latest", 200, self.owner.seq), (answer["camera"], answer["status"], answer["frame"]["seq"]))
        self.assertEqual(120, answer["times"]["answered"] - answer["times"]["captured"])
        self.assertTrue(entry)

    def test_a_frame_that_could_not_be_used_says_why(self):
        problem = {"type": "/docs/errors#bad-picture", "code": "bad-picture", "title": "The picture cannot be used",
                   "status": 422, "detail": "damaged JPEG"}
        self.owner.answer("broken", problem, status=422)
        self.await_camera("broken", lambda broken: broken["status"] == 422)
        answer = self.assert_good(self.get("/v1/cameras/broken/latest"))
        self.assertEqual((422, problem), (answer["status"], answer["problem"]))

    def test_names_of_any_kind(self):
        name = "Tür 3/links é ?&\"<b>"
        self.owner.answer(name)
        self.await_camera(name)
        self.assertEqual(name, self.assert_good(self.get(f"/v1/cameras/{quote(name, safe='')}/latest"))["camera"])

    # ------------------------------------------------------------ snapshots

    def test_a_snapshot_comes_once_somebody_looks(self):
        self.owner.name("snap")
        self.assert_problem(self.get("/v1/cameras/snap/snapshot.jpg"), 404, "nothing-yet")
        self.assertTrue(self.owner.is_looked_at("snap"))
        self.owner.snapshot("snap")
        answer = self.get("/v1/cameras/snap/snapshot.jpg")
        self.assertEqual((200, "image/jpeg", JPEG), (answer.status, answer.header("Content-Type"), answer.body))
        head = self.get("/v1/cameras/snap/snapshot.jpg", "HEAD")
        self.assertEqual((200, b"", str(len(JPEG))), (head.status, head.body, head.header("Content-Length")))

    def test_the_first_look_waits_for_the_next_answer(self):
        self.owner.name("first")

        def own():
            eventually(lambda: self.owner.is_looked_at("first"), "somebody looks")
            self.owner.snapshot("first")
            self.owner.answer("first")
        owner = threading.Thread(target=own)
        owner.start()
        answer = self.get("/v1/cameras/first/snapshot.jpg")
        owner.join()
        self.assertEqual((200, JPEG), (answer.status, answer.body))

    def test_nobody_is_looked_at_whom_there_is_not(self):
        self.get("/v1/cameras/nobody/snapshot.jpg")
        self.assertFalse(self.owner.is_looked_at("nobody"))

    # ------------------------------------------------------------ refusals

    def test_what_is_not_there(self):
        self.owner.name("door-3")
        for target in ("/v1/cameras/nobody", "/v1/cameras/nobody/latest", "/v1/cameras/nobody/snapshot.jpg",
                       "/v1/cameras/nobody/events", "/v1/cameras/a%0Ab", "/v1/cameras/" + "x" * 200):
            with self.subTest(target):
                self.assert_problem(self.get(target), 404, "unknown-camera")
        for target in ("/v1/cameras/", "/v1/cameras/door-3/", "/v1/cameras/door-3/other"):
            with self.subTest(target):
                self.assert_problem(self.get(target), 404, "unknown-route")
        self.assert_problem(self.get("/v1/cameras/door-3/events?findings=all"), 400, "bad-parameter")
        self.assert_problem(self.get("/v1/cameras/door-3/events?x=1"), 400, "bad-parameter")
        self.assert_problem(self.get("/v1/cameras/door-3/events", headers={"Last-Event-ID": "x"}), 400, "bad-parameter")

    def test_they_are_only_read(self):
        self.owner.name("door-3")
        for target in ("/v1/cameras", "/v1/cameras/door-3", "/v1/cameras/door-3/latest", "/v1/cameras/door-3/events",
                       "/v1/cameras/door-3/snapshot.jpg"):
            for method in ("POST", "PUT", "DELETE"):
                with self.subTest(target, method=method):
                    answer = self.get(target, method, body=b"x" * 100)
                    self.assert_problem(answer, 405, "method-not-allowed")
                    self.assertEqual(["GET, HEAD"], answer.headers.get_all("Allow"))
        for target in ("/v1/cameras", "/v1/cameras/door-3", "/v1/cameras/door-3/events"):
            with self.subTest(target):
                answer = self.get(target, "HEAD")
                self.assertEqual((200, b""), (answer.status, answer.body))
                self.assert_common_headers(answer)
                self.assertEqual(["no-store"], answer.headers.get_all("Cache-Control"))

    # ------------------------------------------------------------ events

    def test_events_come_one_by_one_with_their_ids(self):
        self.owner.name("door-3")
        events = self.events("door-3")
        self.assertEqual((200, "text/event-stream"), (events.status, events.headers["content-type"]))
        for _ in range(5):
            begin = time.monotonic()
            entry = self.owner.answer("door-3")
            self.owner.answer("another")
            (taken, answer), = events.take(1)
            self.assertEqual((entry, self.owner.seq - 1), (taken, answer["frame"]["seq"]))
            self.assertLess(time.monotonic() - begin, 2, "something holds events back")

    def test_findings_only(self):
        self.owner.name("door-3")
        events = self.events("door-3", query="?findings=only")
        self.owner.answer("door-3", NOTHING)
        entry = self.owner.answer("door-3")
        self.assertEqual(entry, events.take(1)[0][0])

    def test_who_comes_again_gets_what_was_missed(self):
        self.owner.name("door-3")
        ids = []
        for _ in range(130):
            ids.append(self.owner.answer("door-3"))
            self.owner.answer("another")
        events = self.events("door-3", headers={"Last-Event-ID": ids[4]})
        self.assertEqual(ids[5:], [taken for taken, _ in events.take(125)])
        later = self.owner.answer("door-3")
        self.assertEqual(later, events.take(1)[0][0])

    def test_what_is_not_kept_any_more_is_said(self):
        self.owner.name("door-3")
        first = self.owner.answer("door-3")
        kept = [self.owner.answer("door-3") for _ in range(5)]
        self.owner("XTRIM", key("door-3", "results"), "MAXLEN", 2)
        blocks = self.events("door-3", headers={"Last-Event-ID": first}).blocks()
        self.assertIn("retry", next(blocks))
        self.assertIn("not kept", next(blocks)["comment"])
        self.assertEqual(kept[-2:], [next(blocks)["id"], next(blocks)["id"]])

    def test_a_slow_listener_is_dropped_and_others_are_not(self):
        self.owner.name("door-3")
        slow = self.events("door-3", path=self.socket(), receive_bytes=4096)
        quick = self.events("door-3")
        large = {**NOTHING, "text": "x" * 20_000}
        ids = []
        for _ in range(150):
            ids.append(self.owner.answer("door-3", large))
            self.assertEqual(ids[-1], quick.take(1)[0][0])
        blocks = list(slow.blocks())
        self.assertIn("too slow", blocks[-1]["comment"])
        taken = [block["id"] for block in blocks if "id" in block]
        self.assertEqual(ids[:len(taken)], taken, "there is a hole")
        self.assertLess(len(taken), 150)
        again = self.events("door-3", headers={"Last-Event-ID": taken[-1]})
        self.assertEqual(ids[len(taken):], [event for event, _ in again.take(150 - len(taken))])

    def test_a_listener_that_leaves_frees_its_place_at_once(self):
        self.owner.name("door-3")
        for _ in range(8):
            crowd = [Events(self.instance, "door-3", path=self.socket()) for _ in range(40)]
            self.assertEqual({200}, {events.status for events in crowd})
            for events in crowd:
                events.close()
        pid = self.live()
        eventually(lambda: len(os.listdir(f"/proc/{pid}/task")) < 10, "their threads end")

    def test_there_are_so_many_listeners_and_no_more(self):
        self.owner.name("door-3")
        with contextlib.ExitStack() as stack:
            crowd = [stack.enter_context(contextlib.closing(Events(self.instance, "door-3", path=self.socket())))
                     for _ in range(256)]
            self.assertEqual({200}, {events.status for events in crowd})
            refused = self.get("/v1/cameras/door-3/events")
            self.assert_problem(refused, 503, "overloaded")
            self.assertEqual("5", refused.header("Retry-After"))
            self.await_camera("door-3")  # other answers are as ever
            entry = self.owner.answer("door-3")
            for events in crowd:
                self.assertEqual(entry, events.take(1)[0][0])
        eventually(lambda: self.get("/v1/cameras/door-3/events", "HEAD").status == 200, "there is room again")
        self.assertEqual(200, self.events("door-3").status)

    def test_the_workers_and_the_probes_are_not_touched(self):
        self.owner.name("door-3")
        crowd = [self.events("door-3") for _ in range(40)]
        self.assertEqual({200}, {events.status for events in crowd})
        self.assertEqual(0, self.instance.metrics().value("inferpool_requests_in_work"))
        self.assertEqual(200, self.instance.predict("faces_cascade", pictures.plain(64, 64)).status)

    # ------------------------------------------------------------ pages

    def test_the_pages_lead_to_the_wall(self):
        for page, address in (("/", "live"), ("/docs", "live"), ("/docs/errors", "../live")):
            with self.subTest(page):
                answer = self.get(page)
                text = re.sub("<!--.*?-->", "", answer.body.decode())
                self.assertIn(f'<a href="{address}">Cameras</a>', text)
                again = self.get(page, headers={"If-None-Match": answer.header("ETag")})
                self.assertEqual((304, b""), (again.status, again.body))
        self.assertEqual("text/html; charset=utf-8", self.get("/live").header("Content-Type"))

    # ------------------------------------------------------------ processes

    def test_a_reload_ends_streams_with_a_word_and_has_no_gap(self):
        self.owner.name("door-3")
        before = self.live()
        events = self.events("door-3")
        entry = self.owner.answer("door-3")
        self.assertEqual(entry, events.take(1)[0][0])
        ended = threading.Event()
        failures = []

        def ask():
            while not ended.is_set():
                if (answer := self.get("/v1/cameras")).status != 200:
                    failures.append(answer)
        asker = threading.Thread(target=ask)
        asker.start()
        try:
            done = self.instance.reload(**{"log.level": "debug"})
            self.assertEqual(0, done.returncode, done.stderr)
            eventually(lambda: self.instance._ready("live ready", "live") not in ([], [before]), "it is replaced")
            comments = [block["comment"] for block in events.blocks() if "comment" in block]
            self.assertIn("come again", comments[-1])
        finally:
            ended.set()
            asker.join()
        self.assertEqual([], failures)
        later = self.owner.answer("door-3")
        self.assertEqual(later, self.events("door-3", headers={"Last-Event-ID": entry}).take(1)[0][0])

    def test_one_that_is_killed_comes_again(self):
        before = self.live()
        os.kill(before, signal.SIGKILL)
        eventually(lambda: self.instance._ready("live ready", "live") not in ([], [before]), "there is another")
        eventually(lambda: self.get("/v1/cameras").status == 200, "it answers")


class RedisAwayTest(SystemTest):
    def setUp(self):
        self.redis = start_redis(self.addCleanup)
        self.owner = Owner(self.redis)
        self.addCleanup(self.owner.close)

    def test_redis_goes_and_comes_back(self):
        instance = self.start(settings(self.redis), cleanup=self.addCleanup)
        self.owner.name("door-3")
        entry = self.owner.answer("door-3")
        eventually(lambda: instance.request("GET", "/v1/cameras/door-3/latest").status == 200, "it is known")
        eventually(lambda: instance.request("GET", "/v1/cameras").json()["cameras"], "it is listed")
        events = Events(instance, "door-3")
        self.addCleanup(events.close)
        self.redis.kill()
        self.owner.close()
        away = eventually(lambda: (answer := instance.request("GET", "/v1/cameras").json())["redis"] == "away" and answer,
                          "that Redis is away is said")
        self.assertEqual(["door-3"], [camera["id"] for camera in away["cameras"]])
        self.assertEqual(200, instance.request("GET", "/v1/cameras/door-3/latest").status)
        self.assert_problem(instance.request("GET", "/v1/cameras/nobody"), 503, "streams-away")
        self.assert_problem(instance.request("GET", "/v1/cameras/door-3/snapshot.jpg"), 503, "streams-away")
        self.assertEqual(200, instance.probe("/readyz").status)
        self.redis.start()
        begin = time.monotonic()
        later = self.owner.answer("door-3")
        self.assertEqual(later, events.take(1)[0][0], "the stream went on")
        self.assertLess(time.monotonic() - begin, 3)
        again = Events(instance, "door-3", headers={"Last-Event-ID": entry})
        self.addCleanup(again.close)
        self.assertEqual(later, again.take(1)[0][0])
        eventually(lambda: instance.request("GET", "/v1/cameras").json()["redis"] == "up", "it is said")

    def test_a_pool_starts_without_redis(self):
        self.redis.kill()
        instance = self.start(settings(self.redis), cleanup=self.addCleanup)
        eventually(lambda: (answer := instance.request("GET", "/v1/cameras")).status == 200
                   and answer.json() == {"cameras": [], "redis": "away"}, "it says so")


class KeysTest(SystemTest):
    @classmethod
    def setUpClass(cls):
        cls.redis = start_redis(cls.addClassCleanup)
        cls.owner = Owner(cls.redis)
        cls.addClassCleanup(cls.owner.close)
        folder = tempfile.TemporaryDirectory(prefix="ipkeys", dir="/tmp")
        cls.addClassCleanup(folder.cleanup)
        cls.file = Path(folder.name) / "keys.json"
        cls.write()
        cls.instance = cls.start(settings(cls.redis, **{"auth.keys_file": str(cls.file)}), cleanup=cls.addClassCleanup)
        cls.owner.name("door-3", "yard")

    @classmethod
    def write(cls, *without):
        keys = [{"name": "all"}, {"name": "doors", "cameras": ["door-*"]}, {"name": "faces", "models": ["faces"]},
                {"name": "guard", "models": ["faces"], "cameras": ["*"]}, {"name": "slow", "rate_per_s": 0.01, "burst": 2},
                {"name": "revoked"}]
        text = json.dumps({"keys": [{**one, "sha256": hashlib.sha256(one["name"].encode()).hexdigest()}
                                    for one in keys if one["name"] not in without]})
        with tempfile.NamedTemporaryFile("w", dir=cls.file.parent, delete=False) as new:
            new.write(text)
        os.chmod(new.name, 0o644)
        os.replace(new.name, cls.file)

    def get(self, target, name=None, **headers):
        return self.instance.request("GET", target, headers={**({"Authorization": f"Bearer {name}"} if name else {}), **headers})

    def listed(self, name):
        return [camera["id"] for camera in self.assert_good(self.get("/v1/cameras", name))["cameras"]]

    def test_a_key_is_needed(self):
        for target in ("/v1/cameras", "/v1/cameras/door-3", "/v1/cameras/door-3/events"):
            self.assert_problem(self.get(target), 401, "unauthorized")
            self.assert_problem(self.get(target, "wrong"), 401, "unauthorized")
        self.assertEqual(200, self.get("/v1/cameras", **{"X-API-Key": "all"}).status)
        self.assertEqual(200, self.get("/live").status, "the page itself needs none")

    def test_a_key_has_its_cameras(self):
        eventually(lambda: self.listed("all") == ["door-3", "yard"], "they are listed")
        self.assertEqual(["door-3"], self.listed("doors"))
        self.assertEqual([], self.listed("faces"), "a key for a model opens no camera")
        self.assertEqual(["door-3", "yard"], self.listed("guard"))
        for name, camera, status in (("doors", "door-3", 200), ("doors", "yard", 403), ("doors", "nobody", 403),
                                     ("faces", "door-3", 403), ("all", "nobody", 404)):
            with self.subTest(name, camera=camera):
                answer = self.get(f"/v1/cameras/{camera}", name)
                self.assertEqual(status, answer.status)
        self.assert_problem(self.get("/v1/cameras/yard/events", "doors"), 403, "forbidden")
        self.assertNotIn("yard", self.get("/v1/cameras/yard", "doors").json().get("cameras", ""))

    def test_a_keys_rate_holds(self):
        self.assertEqual("1", self.get("/v1/cameras", "slow").header("RateLimit").split(";")[1][2:])
        self.get("/v1/cameras", "slow")
        refused = self.get("/v1/cameras", "slow")
        self.assert_problem(refused, 429, "too-many-requests")
        self.assertGreater(int(refused.header("Retry-After")), 5)

    def test_a_key_has_so_many_listeners(self):
        with contextlib.ExitStack() as stack:
            headers = {"Authorization": "Bearer all"}
            path = self.instance.state / "children/live.sock"
            crowd = [stack.enter_context(contextlib.closing(
                Events(self.instance, "door-3", headers=headers, path=path))) for _ in range(64)]
            self.assertEqual({200}, {events.status for events in crowd})
            self.assert_problem(self.get("/v1/cameras/door-3/events", "all"), 503, "overloaded")
            other = stack.enter_context(contextlib.closing(
                Events(self.instance, "door-3", headers={"Authorization": "Bearer doors"})))
            self.assertEqual(200, other.status)

    def test_a_key_that_is_revoked_ends_its_streams(self):
        events = Events(self.instance, "door-3", headers={"Authorization": "Bearer revoked"})
        self.addCleanup(events.close)
        self.write("revoked")
        begin = time.monotonic()
        self.assertIn("not valid", list(events.blocks())[-1]["comment"])
        self.assertLess(time.monotonic() - begin, 25)


class OffTest(SystemTest):
    SETTINGS = {"workers": 1}

    def test_without_streams_there_is_no_such_process_and_no_such_address(self):
        self.assert_problem(self.instance.request("GET", "/v1/cameras"), 404, "unknown-route")
        self.assertEqual([], self.instance._ready("live ready", "live"))
        self.assertEqual(200, self.instance.request("GET", "/live").status)
        for page in ("/", "/docs", "/docs/errors"):
            self.assertNotIn("live\">Cameras</a>", re.sub("<!--.*?-->", "", self.instance.request("GET", page).body.decode()))


class WholeWayTest(SystemTest):
    def test_a_frame_becomes_an_answer_and_a_picture(self):
        redis = start_redis(self.addCleanup)
        client = redis.connect()
        self.addCleanup(client.close)
        client("SADD", "inferpool:cameras", "door-3")
        instance = self.start(settings(redis, **{"streams.model": "faces_cascade"}), cleanup=self.addCleanup)
        ended = threading.Event()

        def feed():
            camera = Camera("door-3")
            with contextlib.closing(redis.connect()) as own:
                while not ended.wait(0.3):
                    camera.put(own, pictures.ASTRONAUT)
        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            answer = eventually(
                lambda: (answer := instance.request("GET", "/v1/cameras/door-3/latest")).status == 200 and answer.json(),
                "a frame is answered")
            self.assertEqual("face", answer["detections"][0]["class_name"])
            snapshot = eventually(
                lambda: (answer := instance.request("GET", "/v1/cameras/door-3/snapshot.jpg")).status == 200 and answer.body,
                "there is a picture")
            self.assertTrue(snapshot.startswith(b"\xff\xd8"))
            (entry, event), = Events(instance, "door-3").take(1)
            self.assertEqual("door-3", event["camera"])
        finally:
            ended.set()
            feeder.join()


class SwitchedOnTest(SystemTest):
    def test_streams_are_switched_on_and_off_by_a_reload(self):
        redis = start_redis(self.addCleanup)
        instance = self.start(settings(redis, **{"streams.workers": 0}), cleanup=self.addCleanup)
        self.assert_problem(instance.request("GET", "/v1/cameras"), 404, "unknown-route")
        done = instance.reload(**{"streams.workers": 1})
        self.assertIn("nginx", done.stdout + done.stderr)
        eventually(lambda: instance._ready("live ready", "live"), "it runs")
        self.assertTrue((instance.state / "children/live.sock").is_socket())
        instance.stop_nginx()
        instance.start_nginx()
        instance._wait(nginx=True, wait_ready=True)
        self.assertEqual(200, instance.request("GET", "/v1/cameras").status)
        self.assertEqual(0, instance.reload(**{"streams.workers": 0}).returncode)
        eventually(lambda: not instance._ready("live ready", "live"), "it is gone")
        self.assertFalse((instance.state / "children/live.sock").exists())


if __name__ == "__main__":
    unittest.main()

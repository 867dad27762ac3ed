"""Rules for cameras' answers: webhooks that are slow, fail and die, with a real Redis and pool."""

import hashlib
import hmac
import http.client
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import unittest

import pictures
import processes
from harness import SystemTest, certificate, free_ports
from hook import Hook
from processes import eventually
from redis_server import Camera, RedisServer, results, unbalanced

SECRET = b"a secret of more than sixteen bytes"
SMALL = pictures.plain(64, 64, "JPEG")
FACE = pictures.encode(pictures.astronaut().crop((100, 0, 350, 260)), "JPEG")
UPPER_LEFT = [[0, 0], [0.1, 0], [0.1, 0.1], [0, 0.1]]


class RulesTest(SystemTest):
    def setUp(self):
        self.redis = RedisServer()
        self.addCleanup(self.redis.destroy)
        self.client = self.redis.connect()
        self.addCleanup(self.client.close)
        self.secret_file = self.redis.folder / "secret"
        self.secret_file.write_bytes(SECRET + b"\n")

    def hook(self, behave=lambda number: 204, port=0):
        hook = Hook(SECRET, behave, port)
        self.addCleanup(hook.close)
        return hook

    def rule(self, hook, **members):
        return {"url": hook if isinstance(hook, str) else hook.url,
                "secret_file": str(self.secret_file), "hold_off_s": 0, **members}

    def begin(self, rules, *cameras):
        for camera in cameras:
            self.client("SADD", "inferpool:cameras", camera.name)
        self.instance = self.start(
            {"streams.model": "faces_cascade", "streams.workers": 1, "workers": 1, "threads": 4,
             "streams.policy": "all", "streams.redis": self.redis.address, "streams.rules": rules},
            cleanup=self.addCleanup, nginx=False)
        eventually(lambda: self.client("EXISTS", "{s31}:rules") == 1, "the rules have an owner")

    def pid(self):
        alive = processes.children(self.instance.serve.pid)
        return eventually(lambda: [line["pid"] for line in self.instance.log()
                                   if line.get("event") == "rules ready" and line["pid"] in alive],
                          "the role runs")[-1]

    def wait_answers(self, *cameras):
        def done():
            found = results(self.client)
            return all(len(found.get(camera.name, ())) >= camera.seq for camera in cameras)
        eventually(done, "all frames are answered")
        self.assertEqual({}, unbalanced(self.client))
        return results(self.client)

    def count(self, rule, event):
        return self.instance.metrics().value("inferpool_rule_events_total", rule=rule, event=event)

    def waiting(self):
        return sum(self.client("XLEN", f"{{s{shard:02}}}:events") for shard in range(32))


class EventsTest(RulesTest):
    def test_findings_that_meet_a_rule_are_told_signed_and_the_others_are_not(self):
        hook, elsewhere = self.hook(), self.hook()
        door, gate = Camera("door"), Camera("gate")
        self.begin({"faces": self.rule(hook, cameras=["door"]),
                    "corner": self.rule(elsewhere, zone=UPPER_LEFT),
                    "dogs": self.rule(elsewhere, classes=["dog"])}, door, gate)
        door.put(self.client, SMALL)
        frame = door.put(self.client, FACE)
        gate.put(self.client, FACE)
        self.wait_answers(door, gate)
        event, = eventually(hook.taken, "it is told").values()
        self.assertEqual(("faces", "door", frame.decode(), 2),
                         tuple(event[name] for name in ("rule", "camera", "frame", "seq")))
        self.assertLessEqual(event["captured"], event["answered"])
        self.assertEqual(event["count"], len(event["findings"]))
        box = event["findings"][0]["box"]
        self.assertTrue(0 <= box["x1"] < box["x2"] <= 1 and 0 <= box["y1"] < box["y2"] <= 1, box)
        eventually(lambda: self.waiting() == 0, "nothing is left of it")
        self.assertEqual([], hook.problems + elsewhere.deliveries)
        self.assertEqual((1, 1, 0), (self.count("faces", "met"), self.count("faces", "delivered"),
                                     self.count("corner", "met")))

    def test_a_rule_holds_off_for_each_camera_also_when_its_process_was_killed(self):
        hook = self.hook()
        door, gate = Camera("door"), Camera("gate")
        self.begin({"faces": self.rule(hook, hold_off_s=3_600)}, door, gate)
        for _ in range(5):
            door.put(self.client, FACE)
        self.wait_answers(door)
        eventually(lambda: self.count("faces", "held") == 4, "the others are held")
        os.kill(self.pid(), signal.SIGKILL)
        door.put(self.client, FACE)
        gate.put(self.client, FACE)
        eventually(lambda: {event["camera"] for event in hook.taken().values()} == {"door", "gate"},
                   "the other camera is told of")
        eventually(lambda: self.count("faces", "met") == 7, "all are judged")
        self.assertEqual((2, []), (len(hook.taken()), hook.problems))

    def test_a_redirect_is_not_followed_and_a_wrong_secret_is_no_end(self):
        inside = self.hook()
        outside = self.hook(lambda number: 302)
        outside.headers["Location"] = inside.url
        camera = Camera("a")
        self.begin({"moved": self.rule(outside),
                    "open": self.rule(inside, secret_file=str(self.secret_file) + ".new")}, camera)
        camera.put(self.client, FACE)
        eventually(lambda: len(outside.deliveries) >= 2, "it is tried again")
        eventually(lambda: self.count("open", "failed") >= 1, "it cannot be signed")
        self.assertEqual([], inside.deliveries)
        (self.redis.folder / "secret.new").write_bytes(SECRET)
        eventually(inside.taken, "the secret is there, and it is told")
        self.assertEqual([], inside.problems + outside.problems)
        self.assertEqual({"open"}, {event["rule"] for event in inside.taken().values()})

    def test_a_certificate_that_nobody_has_signed_is_refused(self):
        hook = Hook(SECRET, tls=certificate())
        self.addCleanup(hook.close)
        camera = Camera("a")
        self.begin({"faces": self.rule(hook)}, camera)
        camera.put(self.client, FACE)
        eventually(lambda: self.count("faces", "failed") >= 2, "it is tried in vain")
        self.assertEqual([], hook.deliveries)
        said, = [line["reason"] for line in self.instance.log()
                 if line.get("event") == "a rule's receiver fails"]
        self.assertIn("certificate", said)

    def test_a_reload_changes_rules_and_nothing_else(self):
        hook = self.hook()
        camera = Camera("a")
        self.begin({"one": self.rule(hook)}, camera)
        camera.put(self.client, FACE)
        eventually(lambda: hook.frames() == [1], "it is told")
        before = self.pid()
        ingest = [line["pid"] for line in self.instance.log()
                  if line.get("event") == "ingest ready"]
        answer = self.instance.reload(**{"streams.rules": {"two": self.rule(hook)}})
        self.assertEqual(0, answer.returncode, answer.stderr)
        eventually(lambda: self.pid() != before and not processes.is_alive(before), "it is replaced")
        camera.put(self.client, FACE)
        eventually(lambda: [event["rule"] for event in hook.taken().values()] == ["one", "two"],
                   "the new rule holds")
        self.assertEqual(ingest, [line["pid"] for line in self.instance.log()
                                  if line.get("event") == "ingest ready"])


class ExampleTest(RulesTest):
    def test_the_receiver_of_the_documentation_takes_our_events_and_no_others(self):
        page = (pictures.SOURCE / "docs/streams.md").read_text()
        program, = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
                    if "X-Inferpool-Signature" in block]
        port, = free_ports(1)
        self.assertIn('("", 8000)', program)
        (self.redis.folder / "door.secret").write_bytes(SECRET + b"\n")
        process = subprocess.Popen(
            [sys.executable, "-B", "-u", "-c", program.replace('("", 8000)', f'("", {port})')],
            cwd=self.redis.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        camera = Camera("a")
        self.begin({"faces": self.rule(f"http://127.0.0.1:{port}/")}, camera)
        camera.put(self.client, FACE)
        event = json.loads(process.stdout.readline())
        self.assertEqual(("faces", "a", 1), (event["rule"], event["camera"], event["seq"]))
        eventually(lambda: self.count("faces", "delivered") == 1, "it is taken")

        def post(secret, at, name="faces:00:1-0"):
            body = b'{"id": "faces:00:1-0"}'
            signature = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("POST", "/", body, {
                "X-Inferpool-Event": name,
                "X-Inferpool-Signature": f"t={at},v1={signature}"})
            status = connection.getresponse().status
            connection.close()
            return status
        now = int(time.time())
        self.assertEqual(401, post(b"another secret of sixteen bytes", now))
        self.assertEqual(401, post(SECRET, now - 3_600), "it was kept and is sent again")
        self.assertEqual(204, post(SECRET, now))
        self.assertEqual(204, post(SECRET, now, "faces:00:2-0"), "what is not signed says nothing")
        process.terminate()
        self.assertEqual(1, len(process.stdout.readlines()), "it is told of once")


class BadReceiversTest(RulesTest):
    def test_a_slow_receiver_delays_neither_answers_nor_others(self):
        release = threading.Event()
        self.addCleanup(release.set)
        slow = self.hook(lambda number: (release.wait(8), 204)[1])
        quick = self.hook()
        cameras = [Camera(f"cam{i}") for i in range(3)]
        self.begin({"slow": self.rule(slow), "quick": self.rule(quick)}, *cameras)
        for _ in range(5):
            for camera in cameras:
                camera.put(self.client, FACE)
            time.sleep(0.2)
        found = self.wait_answers(*cameras)
        eventually(lambda: len(quick.taken()) == 15, "the quick one knows all", timeout_s=6)
        self.assertLess(len(slow.deliveries), 3)
        took = [int(answer["answered"]) - int(answer["read"])
                for answers in found.values() for answer in answers]
        self.assertLess(max(took), 4_000)
        release.set()
        eventually(lambda: len(slow.taken()) == 15, "the slow one knows all in the end")
        self.assertEqual([], slow.problems + quick.problems)

    def test_one_that_fails_and_then_breaks_off_is_told_in_the_end_of_each_event(self):
        def behave(number):
            return 500 if number < 4 else None if number < 7 else 200
        hook = self.hook(behave)
        camera = Camera("a")
        self.begin({"faces": self.rule(hook)}, camera)
        for _ in range(4):
            camera.put(self.client, FACE)
        eventually(lambda: hook.frames() == [1, 2, 3, 4], "all are told")
        eventually(lambda: self.waiting() == 0, "nothing is left")
        self.assertEqual([], hook.problems)
        self.assertEqual(7, sum(not taken for _, _, taken in hook.deliveries))
        self.assertEqual(4, self.count("faces", "delivered"))
        # A connection that was kept and breaks off is tried anew within a try.
        self.assertTrue(4 <= self.count("faces", "failed") <= 7)
        self.assertEqual(0, self.instance.metrics().value("inferpool_rule_waiting", rule="faces"))

    def test_one_that_takes_an_event_is_not_told_again_whatever_its_body_is(self):
        endless, slow, cut = hooks = [self.hook(lambda number: 200) for _ in range(3)]
        endless.body = itertools.repeat(b"x" * 65_536)
        slow.body = (time.sleep(1) or b"x" for _ in itertools.count())
        cut.body = [b"x"]
        camera = Camera("a")
        self.begin({"endless": self.rule(endless), "slow": self.rule(slow), "cut": self.rule(cut)},
                   camera)
        camera.put(self.client, FACE)
        eventually(lambda: all(hook.taken() for hook in hooks), "they are told")
        eventually(lambda: self.waiting() == 0, "nothing is left")
        self.assertEqual([1, 1, 1], [len(hook.deliveries) for hook in hooks])
        for rule in ("endless", "slow", "cut"):
            self.assertEqual((1, 0), (self.count(rule, "delivered"), self.count(rule, "failed")))

    def test_nothing_is_lost_when_receiver_and_process_are_killed(self):
        hook = self.hook(lambda number: 204 if number % 3 else 500)
        camera = Camera("a")
        self.begin({"faces": self.rule(hook)}, camera)
        for number in range(30):
            camera.put(self.client, FACE)
            time.sleep(0.1)
            if number in (8, 16, 24):
                os.kill(self.pid(), signal.SIGKILL)
            if number == 12:
                hook.close()
        self.wait_answers(camera)
        told = set(hook.frames())
        self.assertLess(len(told), 30)
        again = self.hook(port=hook.port)
        eventually(lambda: told | set(again.frames()) == set(range(1, 31)),
                   "each event was delivered")
        eventually(lambda: self.waiting() == 0, "nothing is left")
        self.assertEqual([], hook.problems + again.problems)
        ids = {event["seq"]: event["id"] for event in again.taken().values()}
        for event in hook.taken().values():
            self.assertEqual(event["id"], ids.get(event["seq"], event["id"]), "repeats have its id")


if __name__ == "__main__":
    unittest.main()

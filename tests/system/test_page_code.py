"""The code that the page for people gives: it does, pasted as it is, what the page did."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import harness
from harness import inferpool
from page import CodeTest, same, tabs
from pictures import ASTRONAUT
from processes import PATIENCE_S

class SnippetTest(CodeTest):
    def test_the_code_does_what_the_page_did(self):
        for model, name in (("faces_cascade", "sample.jpg"), ("colours", "sample.jpg"),
                            ("shapes", "it's \"odd\"; $(touch stolen) `id`, & \\x ü.jpg"),
                            ("faces_cascade", "-rf.jpg")):
            folder = Path(tempfile.mkdtemp(dir=self.folder))
            self.open(model=model)
            if name == "sample.jpg":
                answer = self.sample()
            else:
                (folder / name).write_bytes(ASTRONAUT)
                self.choose(folder / name)
                answer = self.shown()
            for tab in tabs():
                with self.subTest(tab, model=model, name=name):
                    self.assertEqual(same(answer), same(self.execute(tab, self.code(tab), folder)))
                    self.assertLessEqual(set(os.listdir(folder)), {name})

    def test_before_a_picture_is_chosen_it_asks_about_the_sample(self):
        self.open()
        expected = same(self.instance.predict("faces_cascade", ASTRONAUT, "confidence=0.25").json())
        for tab in tabs():
            with self.subTest(tab):
                folder = Path(tempfile.mkdtemp(dir=self.folder))
                self.assertEqual(expected, same(self.execute(tab, self.code(tab), folder)))

    def test_it_names_the_certificate_of_this_pools_state_folder(self):
        self.open()
        for tab in tabs():
            self.assertIn(str(self.instance.state / "tls/certificate.pem"), self.code(tab))
        self.assertIn("certificate", self.browser.text("note"))

    def test_the_certificates_place_is_told_to_this_machine_alone(self):
        here = self.instance.request("GET", "/pool.json")
        self.assertEqual({"port": f":{self.instance.port}",
                          "certificate": str(self.instance.state / "tls/certificate.pem")}, here.json())
        self.assertEqual("application/json", here.header("Content-Type"))
        self.assertEqual("no-store", here.header("Cache-Control"))
        self.assertEqual(405, self.instance.request("POST", "/pool.json").status)

    def test_of_an_address_that_is_not_this_machines_own_no_certificate_is_named(self):
        """Behind another port stands somebody else's proxy or tunnel, with a certificate of its own."""
        script = self.browser.command("Page.addScriptToEvaluateOnNewDocument", source="""
            const real = window.fetch;
            window.fetch = (path, options) => path.endsWith("pool.json")
              ? Promise.resolve(new Response('{"port":":1","certificate":"/a/certificate.pem"}')) : real(path, options);""")
        self.addCleanup(self.browser.command, "Page.removeScriptToEvaluateOnNewDocument", **script)
        self.open()
        for tab in tabs():
            self.assertNotIn("certificate", self.code(tab))


class StrangerTest(harness.SystemTest):
    SETTINGS = {"nginx.trusted_proxies": ["127.0.0.1"]}

    def test_a_stranger_is_not_told_where_the_certificate_lies(self):
        answer = self.instance.request("GET", "/pool.json", headers={"X-Forwarded-For": "203.0.113.7"})
        self.assertEqual((200, ""), (answer.status, answer.json()["certificate"]))


class KeysTest(CodeTest):
    """A server that asks for keys, whose certificate lies in a folder with a blank."""

    @classmethod
    def settings(cls):
        tls = cls.folder / "my certificates"
        shutil.copytree(harness.certificate(), tls)
        keys = cls.folder / "keys.json"
        done = inferpool("keys", "add", "shop", "--file", keys)
        assert done.returncode == 0, done.stderr
        cls.secret = done.stdout.strip()
        return {"nginx.certificate": str(tls / "certificate.pem"), "nginx.certificate_key": str(tls / "key.pem"),
                "auth.keys_file": str(keys)}

    def enter(self, key):
        self.browser.open(self.origin + "/")
        self.browser.wait(lambda: self.browser.one("key-form").is_displayed(), "a key is asked for")
        self.browser.one("key").send_keys(key)
        self.browser.all("#key-form button")[0].click()

    def test_a_key_is_asked_for_where_the_problem_is_told(self):
        self.browser.open(self.origin + "/", width=360, height=740)
        self.browser.wait(lambda: self.browser.one("key-form").is_displayed(), "a key is asked for")
        self.assertTrue(self.browser.one("problem").is_displayed())
        self.assertEqual(("This server asks for a key", "Enter yours below."), self.problem())
        self.assertFalse(self.browser.one("again").is_displayed())  # it would not help
        self.assertTrue(self.browser.all("#results #key-form"))
        self.browser.screenshot(self.shots / "key.png")
        self.enter("wrong")
        self.browser.wait(lambda: self.browser.one("problem").is_displayed() and self.browser.text("problem-title"),
                          "it is refused")
        self.assertTrue(self.browser.one("key-form").is_displayed())
        self.enter(self.secret)
        self.browser.wait(lambda: self.browser.one("model").is_enabled(), "it is taken")
        self.assertFalse(self.browser.one("problem").is_displayed())
        self.assertFalse(self.browser.one("key-form").is_displayed())

    def test_the_code_takes_the_key_from_the_environment_and_trusts_the_certificate(self):
        self.enter(self.secret)
        self.browser.wait(lambda: self.browser.one("model").is_enabled(), "it is taken")
        self.pick("faces_cascade")
        answer = self.sample()
        for tab in tabs():
            with self.subTest(tab):
                code = self.code(tab)
                self.assertNotIn(self.secret, code)
                folder = Path(tempfile.mkdtemp(dir=self.folder))
                self.assertEqual(same(answer), same(self.execute(tab, code, folder, INFERPOOL_KEY=self.secret)))

    def test_the_reference_has_locks_on_what_wants_a_key(self):
        if not (harness.SOURCE / "build/swagger-ui/node_modules").is_dir():
            self.skipTest("Swagger UI is not installed: ops/test does that when it reaches the registry")
        self.open("/docs")
        self.browser.wait(lambda: self.browser.all(".opblock"), "the operations are shown")
        self.assertTrue(self.browser.all("#operations-predict-predict .authorization__btn"))
        self.assertTrue(self.browser.all(".btn.authorize"))
        self.browser.all("#operations-models-listModels .opblock-summary-control")[0].click()
        example = self.browser.wait(
            lambda: self.browser.all("#operations-models-listModels .opblock-description pre"), "it is opened")[0].text
        done = subprocess.run(["bash", "-c", example], capture_output=True, text=True, timeout=PATIENCE_S, check=False,
                              env={**os.environ, "no_proxy": "localhost", "INFERPOOL_KEY": self.secret})
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("models", json.loads(done.stdout))


if __name__ == "__main__":
    unittest.main()

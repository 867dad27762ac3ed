"""The clients under test: inferpool.js in Node.js and Chromium, and inferpool.py, each asked in the same
words, through a proxy that can be told to fail."""

import base64
import concurrent.futures
import json
import subprocess
import sys
import threading
import time

from bad_proxy import BadProxy
from browser import Browser
from harness import SystemTest
from pictures import ASTRONAUT, SOURCE
from processes import PATIENCE_S

PACKAGE = SOURCE / "nginx/pages/client"
SCRIPTS = SOURCE / "tests/system/clients"
sys.path.insert(0, str(PACKAGE))
import inferpool  # noqa: E402

MODEL = "faces_cascade"


def found(value):
    """What was found, without what differs from one time to the next."""
    return [value["model"]["name"], value["image"], value["detections"]]


class InNode:
    """The calls that a list describes, made at once by one process; perform.mjs says how they look."""

    is_browser = False
    cancelled = "AbortError"

    def make(self, calls):
        done = subprocess.run(["node", SCRIPTS / "in_node.mjs", PACKAGE / "inferpool.js"], input=json.dumps(calls),
                              capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


class InChromium:
    is_browser = True
    cancelled = "AbortError"

    def __init__(self, url):
        self.browser = Browser()
        self.browser.driver.set_script_timeout(2 * PATIENCE_S)
        self.browser.driver.get(url + "/docs/errors")
        self.script = (SCRIPTS / "perform.mjs").read_text().replace("export ", "")

    def make(self, calls):
        return self.browser.run(
            self.script + "const module = await import('/client.js');"
            "return Promise.all(arguments[0].map((one) => perform(module, one)));", calls)


class InPython:
    """The same with inferpool.py, whose times are in seconds."""

    is_browser = False
    cancelled = "CancelledError"

    def make(self, calls):
        with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(self.perform, calls))

    def perform(self, asked):
        told = {"progress": []}
        options = dict(asked.get("options", {}))
        for name in ("timeout", "budget"):
            if f"{name}_ms" in options:
                options[f"{name}_s"] = options.pop(f"{name}_ms") / 1000
        progress = options.pop("progress", False)
        if progress:
            options["on_progress"] = lambda sent, total: told["progress"].append([sent, total])
        if progress == "raise":
            options["on_progress"] = self.leave
        if "cancel_after_ms" in asked:
            options["cancel"] = threading.Event()
            threading.Timer(asked["cancel_after_ms"] / 1000, options["cancel"].set).start()
        begin = time.monotonic()
        try:
            with inferpool.Client(asked["url"], **asked.get("client", {})) as client:
                value = getattr(client, asked["call"])(*map(self.picture, asked["arguments"]), **options)
            told["value"] = {"bytes": len(value)} if isinstance(value, bytes) else value
        except inferpool.InferpoolError as error:
            told["error"] = {"name": type(error).__name__, "is_ours": True, "message": str(error),
                             "retry_after_ms": 1000 * error.retry_after_s, "parameter": None, **vars(error)}
        except OSError as error:
            told["error"] = {"name": type(error).__name__, "is_ours": False, "message": str(error)}
        told["seconds"] = time.monotonic() - begin
        return told

    @staticmethod
    def leave(*_):
        raise TimeoutError("enough")

    def picture(self, value):
        if isinstance(value, dict):
            return base64.b64decode(value["base64"])
        return [self.picture(one) for one in value] if isinstance(value, list) else value


def encoded(content):
    return {"base64": base64.b64encode(content).decode()}


class ClientTest(SystemTest):
    """An instance, a proxy before it, and a program that has the client."""

    @classmethod
    def program(cls):
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        cls.instance = cls.start({"nginx.rate_per_s": 0, **(cls.SETTINGS or {})}, cleanup=cls.addClassCleanup)
        cls.proxy = BadProxy(cls.instance)
        cls.addClassCleanup(cls.proxy.close)
        cls.runner = cls.program()
        cls.expected = found(cls.instance.predict(MODEL, ASTRONAUT).json())

    def setUp(self):
        self.proxy.reset()

    def call(self, call="predict", *given, url=None, client=None, cancel_after_ms=None, **options):
        if call == "predict" and not given:
            given = (MODEL, encoded(ASTRONAUT))
        asked = {"url": url or self.proxy.url, "client": client or {}, "call": call, "arguments": given,
                 "options": options}
        if cancel_after_ms is not None:
            asked["cancel_after_ms"] = cancel_after_ms
        return self.runner.make([asked])[0]

    def assert_right(self, told, sent):
        self.assertNotIn("error", told)
        self.assertEqual(self.expected, found(told["value"]))
        self.assertEqual(sent, len(self.proxy.requests))
        for request in self.proxy.requests:
            self.assertEqual(f"/v1/predict/{MODEL}", request.path)

    def assert_error(self, told, name, code, sent, **fields):
        self.assertNotIn("value", told)
        error = told["error"]
        self.assertTrue(error["is_ours"])
        self.assertEqual((name, code), (error["name"], error["code"]))
        self.assertEqual(sent, len(self.proxy.requests))
        self.assertEqual(fields, {key: error[key] for key in fields})
        self.assertTrue(error["title"])
        return error

"""The KServe v2 protocol over HTTP: who may ask, and what is said while the model server is away."""

import hashlib
import json
import shutil
import tempfile
import unittest
from pathlib import Path

import numpy as np

import harness
import model_servers
from harness import SystemTest
from v2_models import repository

from v2_client import Input, V2Client  # needs the folder that v2_models adds


class KeysTest(SystemTest):
    """With auth.keys_file: what a key may not use is not told either."""

    def test_keys(self):
        folder = Path(tempfile.mkdtemp(prefix="ipv2", dir="/tmp"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        (folder / "models").mkdir()
        repository(folder / "models")
        keys = [{"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "models": models}
                for name, models in (("all", ["*"]), ("few", ["simple"]))]
        (folder / "keys.json").write_text(json.dumps({"keys": keys}))
        instance = self.start({"modelserver.repository": str(folder / "models"),
                               "auth.keys_file": str(folder / "keys.json")},
                              cleanup=self.addCleanup)
        client = V2Client(instance)
        self.addCleanup(client.close)

        def get(path, key=None):
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            return client.request("GET", path, headers=headers)
        for path in ("/v2/health/live", "/v2/health/ready"):
            self.assertEqual(200, get(path).status)
        for path in ("/v2", "/v2/models/simple/ready", "/v2/repository/index", "/v2/models/stats"):
            answer = get(path)
            self.assertEqual(401, answer.status)
            self.assertIn("key", answer.json()["error"])
        index = {key: {entry["name"] for entry in get("/v2/repository/index", key).json()}
                 for key in ("all", "few")}
        self.assertIn("faces_cascade", index["all"])
        self.assertEqual({"simple"}, index["few"])
        for key in ("all", "few"):
            statistics = get("/v2/models/stats", key)
            self.assertEqual(200, statistics.status, statistics.body)
            self.assertEqual(index[key], {one["name"] for one in statistics.json()["model_stats"]})
        array = np.zeros(3, dtype=np.int32)
        answer = client.infer_answer("identity_int32", [Input("INPUT0", array)],
                                     headers={"X-API-Key": "few"})
        self.assertEqual(403, answer.status)
        self.assertIn("identity_int32", answer.json()["error"])
        client.infer("identity_int32", [Input("INPUT0", array)], headers={"X-API-Key": "all"})


class AwayTest(SystemTest):
    """With a model server that is not there, is slow, or comes back."""

    def test_the_model_server_is_away(self):
        folder = Path(tempfile.mkdtemp(prefix="ipv2", dir="/tmp"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        repository(folder)
        server = model_servers.ModelServer(folder)
        self.addCleanup(server.kill)
        instance = self.start({**model_servers.outside(server), "timeouts.request_s": 1},
                              cleanup=self.addCleanup)
        client = V2Client(instance)
        self.addCleanup(client.close)
        array = np.zeros(3, dtype=np.int32)
        self.assertEqual(200, client.get("/v2/health/ready").status)
        late = client.infer_answer("slow", [Input("INPUT0", array)])
        self.assertEqual(504, late.status, late.body)
        self.assertIn("error", late.json())
        server.kill()
        answers = [client.get(path) for path in ("/v2/health/ready", "/v2", "/v2/models/simple",
                                                 "/v2/models/simple/ready", "/v2/models/stats")]
        answers.append(client.infer_answer("identity_int32", [Input("INPUT0", array)]))
        for answer in answers:
            self.assertEqual(503, answer.status, answer.body)
            self.assertTrue(answer.header("Retry-After"))
            self.assertNotIn(str(server.folder), answer.json()["error"])
        self.assertEqual(200, client.get("/v2/health/live").status)
        server.start()
        server.wait_ready()
        harness.eventually(
            lambda: client.infer_answer("identity_int32", [Input("INPUT0", array)]).status == 200,
            "it serves again")
        self.assertEqual(200, client.get("/v2/health/ready").status)


if __name__ == "__main__":
    unittest.main()

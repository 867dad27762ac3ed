"""A pool before a model server of others, and what has to hold whichever it is.

Each server has the same models, which find one object in the middle of whatever picture (a YOLOv8 head
of two classes): `net` names its tensors, `bare` does not, `unprocessable` fails as the server's own way
of saying 422 is."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(os.environ["INFERPOOL_SOURCE_DIR"])
sys.path.append(str(SOURCE / "tests/system"))

import pictures  # noqa: E402
from harness import Instance, free_ports  # noqa: E402, F401
from http_client import multipart  # noqa: E402

SIDE, ANCHORS = 64, 84
INPUTS = [{"name": "images", "datatype": "FP32", "shape": [1, 3, SIDE, SIDE]}]
OUTPUTS = [{"name": "output0", "datatype": "FP32", "shape": [1, 6, ANCHORS]}]
PATIENCE_S = 120
PICTURE = pictures.plain(200, 100, "PNG")

# For the models' own modules: what they answer.
HEAD = f'''
import numpy as np


def head():
    table = np.zeros((1, 6, {ANCHORS}), np.float32)
    table[0, :4] = {SIDE / 2}
    table[0, 4:] = 0.01
    table[0, 5, 7] = 0.9
    return table
'''


class Server:
    """A process of theirs. `command` is run in `folder`, its log beside it."""

    def __init__(self, command, folder, grpc_port):
        self.target = f"ipv4:127.0.0.1:{grpc_port}"
        self.log = Path(folder) / "server.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command], cwd=folder, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Findings:
    def __init__(self):
        self.short = 0

    def expect(self, what, holds, seen=""):
        print(f"    {'holds      ' if holds else 'falls short'}  {what}" + ("" if holds else f": {seen}"))
        self.short += not holds


def look(server, has_index):
    """The number of things that do not hold."""
    found = Findings()
    expect = found.expect
    instance = Instance({"modelserver.enabled": False, "backend.targets": [server.target]}, wait_ready=False)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while (answer := instance.probe("/readyz")).status != 200 and time.monotonic() < deadline:
            if server.process.poll() is not None:
                break
            time.sleep(0.2)
        expect("/readyz is 200", answer.status == 200, answer.body)
        if answer.status != 200:
            print(server.log.read_text()[-3000:])
            return found.short

        def predict(model):
            return instance.predict(model, PICTURE, content_type="image/png")

        def is_right(answer):
            if answer.status != 200:
                return False
            [one] = answer.json()["detections"]
            box = [round(one["box"][edge]) for edge in ("x1", "y1", "x2", "y2")]
            return one["class_id"] == 1 and abs(one["confidence"] - 0.9) < 1e-5 and box == [50, 0, 150, 100]

        answer = predict("net")
        expect("the first prediction is right", is_right(answer), answer.body)
        body, form = multipart([("images", PICTURE, "a.png")] * 2)
        answer = instance.request("POST", "/v1/predict/net/batch", body, {"Content-Type": form})
        expect("a batch is answered",
               answer.status == 200 and {one["status"] for one in answer.json()["results"]} == {200}, answer.body)
        answer = predict("bare")
        expect("without tensors it is 501, which says what to set",
               answer.status == 501 and b"models" in answer.body, answer.body)
        answer = predict("none")
        expect("an unknown model is 404", answer.status == 404, answer.body)
        answer = predict("unprocessable")
        expect("what the model refuses is 502", answer.status == 502, answer.body)
        answer = instance.request("GET", "/v1/models")
        names = {model["name"] for model in answer.json()["models"]} if answer.status == 200 else set()
        wanted = {"net", "bare", "unprocessable"} if has_index else {"net"}
        expect("/v1/models lists what is there", wanted <= names, answer.body)
        answer = instance.request("GET", "/v2/models/net")
        expect("/v2/models/net is 200", answer.status == 200, answer.body)
        answer = instance.request("GET", "/v2/models/net/config")
        expect("/v2/models/net/config is 501", answer.status == 501, answer.body)
        request = {"inputs": [{**INPUTS[0], "data": [0.5] * (3 * SIDE * SIDE)}]}
        answer = instance.request("POST", "/v2/models/net/infer", json.dumps(request).encode(),
                                  {"Content-Type": "application/json"})
        expect("/v2/models/net/infer is 200",
               answer.status == 200 and answer.json()["outputs"][0]["shape"] == OUTPUTS[0]["shape"],
               answer.body[:300])

        done = instance.reload(models={"bare": {"family": "yolov8", "class_names": ["cup", "dog"],
                                                "inputs": INPUTS, "outputs": OUTPUTS}})
        expect("a reload replaces the workers", done.returncode == 0, done.stdout + done.stderr)
        answer = predict("bare")
        expect("with its tensors in the configuration it is right",
               is_right(answer) and answer.json()["detections"][0]["class_name"] == "dog", answer.body)
        answer = instance.probe("/readyz")
        expect("/readyz stays 200", answer.status == 200, answer.body)
    finally:
        instance.stop()
    return found.short


def folder():
    return Path(tempfile.mkdtemp(prefix="ipforeign", dir="/tmp"))

"""A real Triton behind the gateway, and Triton's clients and perf_analyzer against our model server.

The Triton is the one in nvidia-pytriton's wheel, which has the backend for Python alone: nets are run
there by ONNX Runtime's package. What is asked of it is asked of our model server too, and the answers
have to be the same. It predates 2.69, so a server that refuses its clients' shared memory is ours.
"""

import concurrent.futures
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

SOURCE = Path(os.environ["INFERPOOL_SOURCE_DIR"])
sys.path.extend([str(SOURCE / "tests/system"), str(SOURCE / "tests/interop")])
import gevent.ssl  # noqa: E402, of tritonclient[http]
import tritonclient.grpc as grpc_client  # noqa: E402
import tritonclient.http as http_client  # noqa: E402
from tritonclient.utils import InferenceServerException, shared_memory  # noqa: E402

from harness import MODELSERVER, Instance, free_ports  # noqa: E402
from pictures import intersection_over_union  # noqa: E402
from processes import eventually  # noqa: E402
from program import Program  # noqa: E402, of tests/interop
from programs import TritonServer, perf_analyzer  # noqa: E402

SHAPES = SOURCE / "tests/data/shapes"


def identity(datatype="FP32", dims="-1", batch=8, more=""):
    return f"""
        backend: "identity"
        max_batch_size: {batch}
        input [ {{ name: "INPUT0" data_type: TYPE_{datatype} dims: [ {dims} ] }} ]
        output [ {{ name: "OUTPUT0" data_type: TYPE_{datatype} dims: [ {dims} ]
                   label_filename: "labels.txt" }} ]
        {more}
        """


MODELS = {
    "floats": identity(),
    "texts": identity("STRING"),
    "slow": identity(more='parameters { key: "execute_delay_ms" value { string_value: "600" } }'),
    "slower": identity(more='parameters { key: "execute_delay_ms" value { string_value: "800" } }'),
    "preferred": identity(more="dynamic_batching { preferred_batch_size: [ 2, 6 ] "
                               "max_queue_delay_microseconds: 1000000 }"),
}


# Two steps that do not depend on each other.
MODELS["side_by_side"] = """
    platform: "ensemble"
    max_batch_size: 8
    input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
    output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] },
             { name: "OUTPUT1" data_type: TYPE_FP32 dims: [ -1 ] } ]
    ensemble_scheduling { step [ %s ] }
    """ % ", ".join(
        '{ model_name: "%s" model_version: -1 input_map { key: "INPUT0" value: "INPUT0" } '
        'output_map { key: "OUTPUT0" value: "OUTPUT%d" } }' % (model, i)
        for i, model in enumerate(("slow", "slower")))


def repository():
    folder = Path(tempfile.mkdtemp(prefix="ipmodels", dir="/tmp"))
    for name, config in MODELS.items():
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(config)
        (folder / name / "labels.txt").write_text("cat\ndog\nbird\n")
    shutil.copytree(SOURCE / "ops/models/shapes", folder / "shapes")
    names = (folder / "shapes/labels.txt").read_text().split()
    with open(folder / "shapes/config.pbtxt", "a") as config:  # as docs/triton.md says
        config.write('parameters { key: "class_names" value { string_value: "%s" } }\n'
                     % r"\n".join(names))
    return folder


class OurServer(Program):
    def __init__(self, models, *options, target=None):
        self.target = target or f"127.0.0.1:{free_ports(1)[0]}"
        super().__init__([
            MODELSERVER, "--repository", models, "--listen", self.target,
            "--model-control-mode=explicit", "--load-model=*", *options])
        self.wait_ready(self.target)


# ---------------------------------------------------------------- what is held against what


def asked(module, name, values, outputs=("OUTPUT0",), **options):
    """An input, and outputs, for a client's infer."""
    datatype = {"O": "BYTES", "f": "FP32"}[values.dtype.kind]
    tensor = module.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values)
    return [tensor], [module.InferRequestedOutput(output, **options) for output in outputs]


def infer(client, model, values, **options):
    module = http_client if isinstance(client, http_client.InferenceServerClient) else grpc_client
    inputs, outputs = asked(module, "INPUT0", values, **options)
    return client.infer(model, inputs, outputs=outputs).as_numpy("OUTPUT0")


def refused(call, *arguments, text=""):
    try:
        call(*arguments)
    except InferenceServerException as error:
        assert text.lower() in error.message().lower(), error.message()
        return error.status()
    raise AssertionError("it was not refused")


def batch_sizes(client, model):
    [statistics] = client.get_inference_statistics(model).model_stats
    return {one.batch_size: one.compute_infer.count for one in statistics.batch_stats}


def any_client(client):
    """What a client of either protocol sees; told as values that have to be the same."""
    is_http = isinstance(client, http_client.InferenceServerClient)
    as_json = {} if is_http else {"as_json": True}
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("floats") and not client.is_model_ready("nobody")
    metadata = client.get_model_metadata("floats", **as_json)
    config = client.get_model_config("floats", **as_json)
    config = config.get("config", config)
    index = client.get_model_repository_index(**as_json)
    index = index if is_http else index["models"]
    values = np.random.default_rng(3).random((3, 1000), np.float32)
    np.testing.assert_array_equal(values, infer(client, "floats", values))
    texts = np.array([["", "one", "zwölf" * 100]], dtype=object)
    answered = infer(client, "texts", texts)
    assert [text.decode() for text in answered[0]] == list(texts[0]), answered
    if is_http:
        np.testing.assert_array_equal(values, infer(client, "floats", values, binary_data=False))
        inputs, outputs = asked(http_client, "INPUT0", values)
        for packing in ("gzip", "deflate"):
            result = client.infer("floats", inputs, outputs=outputs,
                                  request_compression_algorithm=packing,
                                  response_compression_algorithm=packing)
            np.testing.assert_array_equal(values, result.as_numpy("OUTPUT0"))
    classes = infer(client, "floats", np.array([[1, 5, 3], [9, 2, 9]], np.float32), class_count=2)
    assert "unknown model" in refused_text(client, "nobody", values), "an unknown model"
    refused_text(client, "floats", values[0])
    return {
        "metadata": {kind: [(one["name"], one["datatype"], list(map(int, one["shape"])))
                            for one in metadata[kind]] for kind in ("inputs", "outputs")},
        "max_batch_size": config["max_batch_size"],
        "index": sorted((one["name"], one["version"], one["state"]) for one in index),
        "classes": [[text.decode() for text in row] for row in classes],
    }


def refused_text(client, model, values):
    try:
        infer(client, model, values)
    except InferenceServerException as error:
        return error.message()
    raise AssertionError("it was not refused")


def preferred_batches(client):
    """3 rows and a little later 4, of which [2, 6] prefers neither."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        calls = []
        for rows in (3, 4):
            calls.append(pool.submit(infer, client, "preferred", np.ones((rows, 4), np.float32)))
            time.sleep(0.3)
        for call in calls:
            call.result()
    return batch_sizes(client, "preferred")


def unregister_in_use(client, region):
    """It stays until its inference ends; with older Tritons, until it is unregistered after that."""
    try:
        client.unregister_system_shared_memory(region)
    except InferenceServerException as error:
        assert "currently in use" in error.message(), error
        time.sleep(1)
        client.unregister_system_shared_memory(region)
    else:
        assert region in client.get_system_shared_memory_status().regions


def by_grpc(client):
    """What is gRPC's alone."""
    values = np.random.default_rng(4).random((1, 100_000), np.float32)
    key, size = f"/iptriton{os.getpid()}", values.nbytes
    region = shared_memory.create_shared_memory_region("r", key, 2 * size)
    try:
        shared_memory.set_shared_memory_region(region, [values])
        client.register_system_shared_memory("r", key, 2 * size)
        again = refused(client.register_system_shared_memory, "r", key, 2 * size)
        [tensor], [output] = asked(grpc_client, "INPUT0", values)
        tensor.set_shared_memory("r", size)
        output.set_shared_memory("r", size, size)
        for model in ("floats", "slow"):
            done = queue.Queue()
            client.async_infer(model, [tensor], lambda result, error, done=done: done.put(error),
                               outputs=[output])
            if model == "slow":
                time.sleep(0.1)
                unregister_in_use(client, "r")
            assert done.get(timeout=60) is None
            np.testing.assert_array_equal(values, shared_memory.get_contents_as_numpy(
                region, np.float32, values.shape, size))
        eventually(lambda: not client.get_system_shared_memory_status().regions, "it is gone")
    finally:
        shared_memory.destroy_shared_memory_region(region)
    unknown = refused(client.infer, "floats", [tensor], text="unable to find shared memory region")
    assert not client.get_cuda_shared_memory_status().regions
    client.unregister_cuda_shared_memory()

    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for i in range(5):
        inputs, _ = asked(grpc_client, "INPUT0", np.full((1, 3), i, np.float32))
        client.async_stream_infer("floats", inputs, request_id=str(i))
    for i in range(5):
        result, error = answers.get(timeout=60)
        assert error is None and result.as_numpy("OUTPUT0")[0, 0] == int(result.get_response().id)
    client.stop_stream()

    client.unload_model("floats")
    eventually(lambda: not client.is_model_ready("floats"), "it is unloaded")
    config = client.get_model_config("texts", as_json=True)["config"]
    client.load_model("floats")
    client.load_model("texts", config=json.dumps({**config, "max_batch_size": 4}))
    assert client.get_model_config("texts").config.max_batch_size == 4
    client.load_model("texts")
    begin = time.monotonic()
    inputs, outputs = asked(grpc_client, "INPUT0", values, ("OUTPUT0", "OUTPUT1"))
    client.infer("side_by_side", inputs, outputs=outputs)
    took = time.monotonic() - begin
    assert 0.8 < took < 1.3, f"steps of 0.6 s and 0.8 s took {took:.2f} s"
    return {"again": again, "unknown": unknown, "missing": refused(client.load_model, "nobody"),
            "batches": preferred_batches(client)}


def detections(instance):
    """Of each picture what is found in it, held against PyTorch's."""
    expected = json.loads((SHAPES / "expected.json").read_text())
    query = f"confidence={expected['confidence']}&iou={expected['iou']}"
    found = 0
    for picture in expected["pictures"]:
        answer = instance.predict("shapes", (SHAPES / picture["file"]).read_bytes(), query,
                                  "application/octet-stream")
        assert answer.status == 200, answer.body
        left = answer.json()["detections"]
        assert len(left) == len(picture["detections"]), picture["file"]
        for item in picture["detections"]:
            box = {edge: item[edge] for edge in ("x1", "y1", "x2", "y2")}
            nearest = max(left, key=lambda one: intersection_over_union(box, one["box"]))
            assert intersection_over_union(box, nearest["box"]) > 0.95, (item, nearest)
            assert item["class_name"] == nearest["class_name"], (item, nearest)
            left.remove(nearest)
            found += 1
    return found


def gateway(server, transport="shm", **options):
    return Instance({"modelserver.enabled": False, "backend.targets": [f"ipv4:{server.target}"],
                     "backend.transport": transport, "decode.reduced": False, "batch.max": 8,
                     "batch.wait_us": 20_000}, **options)


def through_nginx(instance):
    return http_client.InferenceServerClient(
        f"localhost:{instance.port}", ssl=True, insecure=True, concurrency=4,
        ssl_context_factory=gevent.ssl._create_unverified_context)


def behind_the_gateway(server):
    """Predictions and /v2 of a pool whose model server this is."""
    instance = gateway(server)
    try:
        models = {one["name"]: one for one in instance.request("GET", "/v1/models").json()["models"]}
        assert "shapes" in models, models
        described = instance.request("GET", "/v1/models/shapes").json()
        found = detections(instance)
        regions = [name for name in server.client.get_system_shared_memory_status().regions
                   if name.startswith("inferpool-")]
        assert regions, "the tensors did not go by shared memory"
        picture = (SHAPES / "common_640x480.jpg").read_bytes()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: instance.predict("shapes", picture), range(64)))
        assert all(one.status == 200 for one in answers)
        assert len({json.dumps(one.json()["detections"]) for one in answers}) == 1
        joined = max(batch_sizes(server.client, "shapes"))
        assert joined > 1, "no pictures were joined to a batch"
        client = through_nginx(instance)
        told = any_client(client)
        statistics = client.get_inference_statistics("floats")["model_stats"][0]
        assert statistics["inference_stats"]["success"]["count"] > 0
        client.close()
        return {"found": found, "family": described["family"], "classes": described["class_names"],
                "v2": told}
    finally:
        instance.stop()


def same(one, other):
    assert one == other, f"\n  there: {one}\n  here:  {other}"


# ---------------------------------------------------------------- the checks


def measure(models):
    """perf_analyzer on our model server, and through nginx."""
    program = perf_analyzer()

    def run(*options):
        told = subprocess.run(
            [*program, "-m", "floats", "--shape", "INPUT0:100000", "-p", "1000", "-r", "4", "-s", "60",
             "--concurrency-range", "2:2", *options], capture_output=True, text=True, timeout=120,
            check=False)
        line = next((line for line in told.stdout.splitlines() if "throughput:" in line), None)
        assert told.returncode == 0 and line, told.stdout + told.stderr
        print(f"      {' '.join(options)}: {line.split('throughput:')[1].strip()}")

    with OurServer(models, "--allow-client-shm=true") as server:
        for memory in ("none", "system"):
            run("-i", "grpc", "-u", server.target, "--shared-memory", memory,
                "--output-shared-memory-size", "400000")
        run("-i", "grpc", "-u", server.target, "--streaming")
        instance = gateway(server)
        try:
            run("-i", "http", "-u", f"https://localhost:{instance.port}",
                "--ssl-https-verify-peer", "0", "--ssl-https-verify-host", "0")
        finally:
            instance.stop()


def refusal(models):
    """A server that refuses its clients' shared memory, as Triton since 2.69, and is then allowed."""
    server = OurServer(models)
    with server:
        for call in (lambda: server.client.register_system_shared_memory("r", "/r", 8),
                     server.client.unregister_system_shared_memory):
            refused(call, text="Client shared memory is disabled")
        assert not server.client.get_system_shared_memory_status().regions
        instance = gateway(server, "auto")
        strict = gateway(server, wait_ready=False)
    try:
        server = OurServer(models, target=server.target)
        with server:
            eventually(lambda: instance.request("GET", "/readyz").status == 200, "auto is ready")
            detections(instance)
            eventually(lambda: b"--allow-client-shm=true" in strict.request("GET", "/readyz").body,
                       "shm alone says why it is not ready")
            assert strict.request("GET", "/readyz").status == 503
        with OurServer(models, "--allow-client-shm=true", target=server.target) as allowed:
            for one in (instance, strict):
                eventually(lambda one=one: one.request("GET", "/readyz").status == 200, "ready")

            def shared():
                detections(instance)
                detections(strict)
                return len(allowed.client.get_system_shared_memory_status().regions) >= 2
            eventually(shared, "both go by shared memory, without a reload")
    finally:
        instance.stop()
        strict.stop()


def main():
    models = repository()
    failed = 0

    def check(name, function, *arguments):
        nonlocal failed
        begin = time.monotonic()
        try:
            result = function(*arguments)
        except Exception:  # whatever it is, the other checks are made
            failed += 1
            traceback.print_exc()
            print(f"    FAILED: {name}")
            return None
        print(f"    {name} ({time.monotonic() - begin:.1f} s)", flush=True)
        return result

    with TritonServer(models) as theirs:
        metadata = theirs.client.get_server_metadata()
        print(f"    Triton {metadata.version}, the server of nvidia-pytriton's wheel")
        there = [check("the gateway before Triton", behind_the_gateway, theirs),
                 check("tritonclient's gRPC to Triton", any_client, theirs.client),
                 check("what is gRPC's alone, to Triton", by_grpc, theirs.client)]
    with OurServer(models, "--allow-client-shm=true") as ours:
        here = [check("the gateway before our model server", behind_the_gateway, ours),
                check("tritonclient's gRPC to our model server", any_client, ours.client),
                check("what is gRPC's alone, to our model server", by_grpc, ours.client)]
    for name, one, other in zip(("gateway", "clients", "gRPC"), there, here):
        check(f"the same: {name}", same, one, other)
    check("shared memory refused, then allowed", refusal, models)
    check("perf_analyzer", measure, models)
    shutil.rmtree(models)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

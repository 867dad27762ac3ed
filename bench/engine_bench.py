#!/usr/bin/env python3
"""An ONNX net served by our model server, beside ONNX Runtime called directly, and beside other builds.

    ops/interop onnx                  # leaves a Python that has onnxruntime and tritonclient
    build/interop/onnx/venv/bin/python3 bench/engine_bench.py yolov8n.onnx [other/bin/modelserver...]

Answers a second of our model server (release build), and of other builds of it, asked over a Unix socket with the
tensors in shared memory by 1, 2 and 8 callers; and of the runtime, called in this process by one thread and by as
many as there are cores. Each with one thread for a run, and in turns. ROUNDS and SECONDS take other amounts.
"""

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
os.environ.setdefault("INFERPOOL_BIN", str(SOURCE / "build/release/bin"))
sys.path.append(str(SOURCE / "tests/interop"))

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import tritonclient.grpc as triton  # noqa: E402
from tritonclient.utils import shared_memory  # noqa: E402

from model_server import PROGRAM, ModelServer  # noqa: E402

ROUNDS, SECONDS = int(os.environ.get("ROUNDS", "3")), float(os.environ.get("SECONDS", "5"))
CORES = len(os.sched_getaffinity(0))


def rate(callers):
    """Calls a second of all `callers`, functions, for a while, after one each."""
    counts, stop, start = [0] * len(callers), threading.Event(), threading.Barrier(len(callers) + 1)

    def call(i):
        callers[i]()
        start.wait()
        while not stop.is_set():
            callers[i]()
            counts[i] += 1

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(callers))]
    for thread in threads:
        thread.start()
    start.wait()
    begin = time.perf_counter()
    time.sleep(SECONDS)
    counted, seconds = sum(counts), time.perf_counter() - begin
    stop.set()
    for thread in threads:
        thread.join()
    return counted / seconds


def shared_memory_options(program):
    """What allows `program` regions of clients: older builds do so always, and do not know the option."""
    told = subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout
    return ["--allow-client-shm=true"] if "--allow-client-shm" in told else []


class Served:
    """A model server's answers, each caller with its own client and regions."""

    numbers_of_regions = itertools.count()

    def __init__(self, server, model, numbers, outputs):
        self.server, self.model, self.numbers, self.outputs = server, model, numbers, outputs
        self.made = []

    def caller(self):
        client = triton.InferenceServerClient(self.server.target)
        name = client.get_model_metadata(self.model).inputs[0].name
        asked = triton.InferInput(name, self.numbers.shape, "FP32")
        asked.set_shared_memory(self.region(client, self.numbers.nbytes, self.numbers), self.numbers.nbytes)
        wanted = []
        for output, size in self.outputs.items():
            wanted.append(triton.InferRequestedOutput(output))
            wanted[-1].set_shared_memory(self.region(client, size), size)
        return lambda: client.infer(self.model, [asked], outputs=wanted)

    def region(self, client, size, numbers=None):
        name = f"ipbench{os.getpid()}_{next(self.numbers_of_regions)}"
        handle = shared_memory.create_shared_memory_region(name, f"/{name}", size)
        if numbers is not None:
            shared_memory.set_shared_memory_region(handle, [numbers])
        client.register_system_shared_memory(name, f"/{name}", size)
        self.made.append(handle)
        return name

    def close(self):
        for handle in self.made:
            shared_memory.destroy_shared_memory_region(handle)


def main():
    path = Path(sys.argv[1]).resolve()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    shape = [size if isinstance(size, int) else (1 if i == 0 else 640) for i, size in enumerate(entry.shape)]
    numbers = np.random.default_rng(1).random(shape, dtype=np.float32)
    sizes = {output.name: array.nbytes for output, array in
             zip(session.get_outputs(), session.run(None, {entry.name: numbers}), strict=True)}
    direct = [lambda: session.run(None, {entry.name: numbers})] * CORES
    found = {}
    with tempfile.TemporaryDirectory(prefix="ipbench", dir="/tmp") as folder, ExitStack() as stack:
        model = Path(folder) / "net/1/model.onnx"
        model.parent.mkdir(parents=True)
        model.symlink_to(path)
        callers = {}
        for program in [PROGRAM, *map(Path, sys.argv[2:])]:
            server = stack.enter_context(ModelServer(folder, program, shared_memory_options(program)))
            server.client.load_model("net")
            served = Served(server, "net", numbers, sizes)
            stack.callback(served.close)
            callers[program] = [served.caller() for _ in range(8)]
        for _ in range(ROUNDS):
            for count in (1, CORES):
                found.setdefault(f"ONNX Runtime {onnxruntime.__version__}, called by {count}", []).append(
                    rate(direct[:count]))
            for program, each in callers.items():
                for count in (1, 2, 8):
                    found.setdefault(f"{program}, to {count}", []).append(rate(each[:count]))
    print(f"| {path.stem}, {shape} | answers/s, median | rounds |\n| --- | --- | --- |")
    for name, rates in found.items():
        print(f"| {name} | {statistics.median(rates):.1f} | {', '.join(f'{each:.1f}' for each in rates)} |")


if __name__ == "__main__":
    main()

"""The programs that Triton's packages bring along: its server and perf_analyzer."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

from harness import free_ports  # of tests/system
from program import Program  # of tests/interop

SITE = Path(sysconfig.get_paths()["purelib"])
LIBRARIES = SITE / "nvidia_pytriton.libs"
SERVER = SITE / "pytriton/tritonserver"
# perf_analyzer's own packages want a newer glibc than Debian 12 has; this is the last of the client's
# with the program in it that does not.
PERF_ANALYZER = "tritonclient==2.51.0"

# What the repository's models are to Triton: the wheel has the backend for Python alone.
PYTHON = {
    "identity": """
import triton_python_backend_utils as pb
import json, time

class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        delay = config["parameters"].get("execute_delay_ms", {"string_value": "0"})
        self.delay_s = int(delay["string_value"]) / 1000

    def execute(self, requests):
        time.sleep(self.delay_s)
        return [pb.InferenceResponse([pb.Tensor(
            "OUTPUT0", pb.get_input_tensor_by_name(one, "INPUT0").as_numpy())]) for one in requests]
""",
    "onnxruntime": """
import os
import onnxruntime
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        names = [one.name for one in self.session.get_inputs()]
        outputs = [one.name for one in self.session.get_outputs()]
        answers = []
        for one in requests:
            values = self.session.run(outputs, {
                name: pb.get_input_tensor_by_name(one, name).as_numpy() for name in names})
            answers.append(pb.InferenceResponse(
                [pb.Tensor(name, value) for name, value in zip(outputs, values)]))
        return answers
"""}


def for_triton(repository, folder):
    """A copy of a repository of ours for the Triton that the wheel has."""
    shutil.copytree(repository, folder)
    for config in folder.glob("*/config.pbtxt"):
        text = config.read_text()
        for backend, program in PYTHON.items():
            if f'backend: "{backend}"' in text:
                config.write_text(text.replace(f'backend: "{backend}"', 'backend: "python"'))
                version = config.parent / "1"
                version.mkdir(exist_ok=True)
                (version / "model.py").write_text(program)
    return folder


class TritonServer(Program):
    def __init__(self, repository):
        folder = Path(tempfile.mkdtemp(prefix="iptriton", dir="/tmp"))
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        shutil.copytree(SERVER / "backends", folder / "backends")
        stub = folder / "backends/python/triton_python_backend_stub"
        shutil.copy(SERVER / "python_backend_stubs" / version / stub.name, stub)
        stub.chmod(0o755)
        grpc_port, http_port = free_ports(2)
        self.target, self.http = f"127.0.0.1:{grpc_port}", f"127.0.0.1:{http_port}"
        environment = {**os.environ, "LD_LIBRARY_PATH": str(LIBRARIES), "CUDA_VISIBLE_DEVICES": "",
                       "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        super().__init__([
            SERVER / "bin/tritonserver", f"--model-repository={for_triton(repository, folder / 'm')}",
            f"--backend-directory={folder}/backends", "--model-control-mode=explicit",
            "--load-model=*", "--grpc-address=127.0.0.1", f"--grpc-port={grpc_port}",
            "--http-address=127.0.0.1", f"--http-port={http_port}", "--allow-metrics=false",
            "--exit-timeout-secs=10"], environment=environment)
        self.models = folder
        self.wait_ready(self.target)

    def __exit__(self, *problem):
        super().__exit__(*problem)
        shutil.rmtree(self.models)


def perf_analyzer():
    """The program, as a command line that begins with `env`."""
    folder = Path(sys.prefix).parent / "perf_analyzer"
    program = folder / "tritonclient-2.51.0.data/data/bin/perf_analyzer"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps",
                        "--only-binary=:all:", "--platform=manylinux1_x86_64", "-d", folder,
                        PERF_ANALYZER], check=True)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            wheel.extractall(folder)
        program.chmod(0o755)
        # It is linked with CUDA's runtime, which the server's wheel has under another name.
        (folder / "libcudart.so.12").symlink_to(next(LIBRARIES.glob("libcudart-*")))
    return ["env", f"LD_LIBRARY_PATH={folder}:{LIBRARIES}", str(program)]

"""The real MLServer behind a pool: metadata alone, an index, and 422 as FAILED_PRECONDITION."""

import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import gateway  # noqa: E402

MODULE = gateway.HEAD + '''

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import MLServerError
from mlserver.types import InferenceResponse


class Net(MLModel):
    async def predict(self, payload):
        if self.name == "unprocessable":
            raise MLServerError("this picture cannot be processed", 422)
        return InferenceResponse(model_name=self.name, model_version=self.version,
                                 outputs=[NumpyCodec.encode_output("output0", head())])
'''


def make(folder, ports):
    (folder / "settings.json").write_text(json.dumps({
        "host": "127.0.0.1", "http_port": ports[0], "grpc_port": ports[1], "metrics_port": ports[2],
        "parallel_workers": 0, "use_structured_logging": False}))
    for name in ("net", "bare", "unprocessable"):
        (folder / name).mkdir()
        (folder / name / "nets.py").write_text(MODULE)
        settings = {"name": name, "implementation": "nets.Net", "parameters": {"version": "v1"}}
        if name != "bare":
            settings |= {"inputs": gateway.INPUTS, "outputs": gateway.OUTPUTS}
        (folder / name / "model-settings.json").write_text(json.dumps(settings))


def main():
    print(f"    MLServer {version('mlserver')}, grpcio {version('grpcio')}")
    folder = gateway.folder()
    ports = gateway.free_ports(3)
    make(folder, ports)
    program = Path(sys.executable).parent / "mlserver"
    try:
        with gateway.Server([sys.executable, program, "start", "."], folder, ports[1]) as server:
            return gateway.look(server, has_index=True) > 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

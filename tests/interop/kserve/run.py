"""KServe's own Python server behind a pool: metadata alone, no index, no versions, typed answers."""

import shutil
import sys
from importlib.metadata import version
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import gateway  # noqa: E402

PROGRAM = gateway.HEAD + f'''

import sys

from kserve import InferOutput, InferResponse, Model, ModelServer
from kserve.errors import InvalidInput


class Bare(Model):
    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        if self.name == "unprocessable":
            raise InvalidInput("this picture cannot be processed")
        output = InferOutput(name="output0", shape=[1, 6, {gateway.ANCHORS}], datatype="FP32",
                             data=head().ravel().tolist())
        return InferResponse(response_id="", model_name=self.name, infer_outputs=[output])


class Net(Bare):
    def get_input_types(self):
        return {gateway.INPUTS!r}

    def get_output_types(self):
        return {gateway.OUTPUTS!r}


ModelServer(http_port=int(sys.argv[1]), grpc_port=int(sys.argv[2]), workers=1).start(
    [Net("net"), Bare("bare"), Net("unprocessable")])
'''


def main():
    print(f"    kserve {version('kserve')}, grpcio {version('grpcio')}")
    folder = gateway.folder()
    ports = gateway.free_ports(2)
    (folder / "serve.py").write_text(PROGRAM)
    try:
        command = [sys.executable, "serve.py", str(ports[0]), str(ports[1])]
        with gateway.Server(command, folder, ports[1]) as server:
            return gateway.look(server, has_index=False) > 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

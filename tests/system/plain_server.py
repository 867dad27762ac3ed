"""A KServe v2 server in the test's own process, with as few of the calls as a test wants: what other
people's model servers have and have not."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np

import harness

sys.path.append(str(Path(__file__).resolve().parent / "conformance"))

from kserve import pb  # noqa: E402, of the folder above

SERVICE = "inference.GRPCInferenceService"
# What the protocol itself has; the rest are Triton's extensions.
PROTOCOL = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")
SIDE = 64
ANCHORS = 84  # of a picture of that size: 64 + 16 + 4


class Net:
    """A YOLOv8 head with one object in it, whatever the picture: of the class `kind` of `classes`, at
    the middle of the picture. `how` it fails: a gRPC code and a text."""

    def __init__(self, kind=0, classes=2, side=SIDE, version="1", tensors=True, fails=None, typed=False,
                 ready=True):
        self.kind, self.classes, self.side, self.version = kind, classes, side, version
        self.tensors, self.fails, self.typed, self.ready = tensors, fails, typed, ready
        self.anchors = ANCHORS * (side // SIDE) ** 2

    def inputs(self):
        return [("images", "FP32", [1, 3, self.side, self.side])]

    def outputs(self):
        return [("output0", "FP32", [1, 4 + self.classes, self.anchors])]

    def head(self):
        table = np.zeros((1, 4 + self.classes, self.anchors), np.float32)
        half = self.side / 2
        table[0, :4] = np.array([[half], [half], [half], [half]])
        table[0, 4:] = 0.01
        table[0, 4 + self.kind, 7] = 0.9
        return table


class PlainServer:
    """`models`: {name: Net}, which may be changed at any time. Use stop(), or have a test do it."""

    def __init__(self, models, calls=PROTOCOL):
        self.models, self.calls = models, set(calls)
        [self.port] = harness.free_ports(1)
        self.target = f"ipv4:127.0.0.1:{self.port}"
        self.asked = []  # (call, model)
        self.hangs = set()  # calls that are not answered
        self._end = threading.Event()
        self.start()

    def start(self):
        self._end.clear()
        self._server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._handler(name), getattr(pb, name + "Request").FromString,
                getattr(pb, name + "Response").SerializeToString)
            for name in self.calls}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        assert self._server.add_insecure_port(f"127.0.0.1:{self.port}") == self.port
        self._server.start()

    def stop(self):
        self._end.set()
        self._server.stop(0).wait(10)

    def _handler(self, name):
        def answer(request, context):
            self.asked.append((name, getattr(request, "name", "") or getattr(request, "model_name", "")))
            if name in self.hangs:
                self._end.wait(60)
            return getattr(self, name)(request, context)
        return answer

    def _model(self, name, context):
        model = self.models.get(name)
        if model is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no {name}")
        if model.fails:
            context.abort(*model.fails)
        return model

    def ServerLive(self, request, context):
        return pb.ServerLiveResponse(live=True)

    def ServerReady(self, request, context):
        return pb.ServerReadyResponse(ready=True)

    def ServerMetadata(self, request, context):
        return pb.ServerMetadataResponse(name="plain", version="1")

    def ModelReady(self, request, context):
        return pb.ModelReadyResponse(ready=self._model(request.name, context).ready)

    def ModelMetadata(self, request, context):
        model = self._model(request.name, context)
        answer = pb.ModelMetadataResponse(
            name=request.name, versions=[model.version] if model.version else [])
        if model.tensors:
            for tensors, to in ((model.inputs(), answer.inputs), (model.outputs(), answer.outputs)):
                for name, datatype, shape in tensors:
                    to.add(name=name, datatype=datatype, shape=shape)
        return answer

    def ModelConfig(self, request, context):
        self._model(request.name, context)
        return pb.ModelConfigResponse()

    def RepositoryIndex(self, request, context):
        answer = pb.RepositoryIndexResponse()
        for name, model in list(self.models.items()):
            if model.ready or not request.ready:
                answer.models.add(name=name, version=model.version,
                                  state="READY" if model.ready else "UNAVAILABLE")
        return answer

    def ModelInfer(self, request, context):
        model = self._model(request.model_name, context)
        [(name, datatype, shape)] = model.inputs()
        [tensor] = request.inputs
        if (tensor.name, tensor.datatype, list(tensor.shape)) != (name, datatype, shape):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the input does not fit the model")
        answer = pb.ModelInferResponse(model_name=request.model_name, model_version=model.version)
        [(name, datatype, shape)] = model.outputs()
        output = answer.outputs.add(name=name, datatype=datatype, shape=shape)
        if model.typed:
            output.contents.fp32_contents.extend(model.head().ravel().tolist())
        else:
            answer.raw_output_contents.append(model.head().astype("<f4").tobytes())
        return answer

"""A client of KServe v2 whose messages are compiled from the .proto files when it is imported."""

import atexit
import importlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc
import numpy as np

HERE = Path(__file__).resolve().parent
SOURCE = Path(os.environ.get("INFERPOOL_SOURCE_DIR") or HERE.parents[2])


def _compile():
    folder = tempfile.mkdtemp(prefix="inferpool-proto-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run(["protoc", f"--python_out={folder}", f"-I{SOURCE}", f"-I{HERE}",
                    "proto/kserve.proto", "proto/model_config.proto", "health.proto"],
                   check=True, cwd=SOURCE)
    sys.path.insert(0, folder)
    try:
        return [importlib.import_module(name)
                for name in ("proto.kserve_pb2", "proto.model_config_pb2", "health_pb2")]
    finally:
        sys.path.remove(folder)


pb, config_pb, health_pb = _compile()

# KServe's name -> (the configuration's, numpy's, the list of typed contents). FP16 and BF16 travel
# raw only, and numpy has no BF16.
DATATYPES = {
    "BOOL": ("TYPE_BOOL", np.bool_, "bool_contents"),
    "UINT8": ("TYPE_UINT8", np.uint8, "uint_contents"),
    "UINT16": ("TYPE_UINT16", np.uint16, "uint_contents"),
    "UINT32": ("TYPE_UINT32", np.uint32, "uint_contents"),
    "UINT64": ("TYPE_UINT64", np.uint64, "uint64_contents"),
    "INT8": ("TYPE_INT8", np.int8, "int_contents"),
    "INT16": ("TYPE_INT16", np.int16, "int_contents"),
    "INT32": ("TYPE_INT32", np.int32, "int_contents"),
    "INT64": ("TYPE_INT64", np.int64, "int64_contents"),
    "FP16": ("TYPE_FP16", np.float16, None),
    "FP32": ("TYPE_FP32", np.float32, "fp32_contents"),
    "FP64": ("TYPE_FP64", np.float64, "fp64_contents"),
    "BYTES": ("TYPE_STRING", np.object_, "bytes_contents"),
    "BF16": ("TYPE_BF16", np.uint16, None),
}


def pack_bytes(elements):
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def unpack_bytes(raw):
    elements, at = [], 0
    while at < len(raw):
        (size,) = struct.unpack_from("<I", raw, at)
        elements.append(raw[at + 4:at + 4 + size])
        at += 4 + size
    return elements


def set_parameters(place, parameters):
    """True, 1, "a" and 1.0 become a bool, an int64, a string and a double parameter."""
    for key, value in (parameters or {}).items():
        kind = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}
        setattr(place[key], kind[type(value)], value)


def add_input(request, name, datatype, shape, raw=None, typed=None, parameters=None):
    tensor = request.inputs.add(name=name, datatype=datatype, shape=shape)
    set_parameters(tensor.parameters, parameters)
    if typed is not None:
        getattr(tensor.contents, DATATYPES[datatype][2]).extend(typed)
    if raw is not None:
        request.raw_input_contents.append(raw)
    return tensor


def add_output(request, name, parameters=None):
    set_parameters(request.outputs.add(name=name).parameters, parameters)


def in_memory(region, byte_size, offset=0):
    """The parameters of a tensor in shared memory."""
    return {"shared_memory_region": region, "shared_memory_byte_size": byte_size,
            **({"shared_memory_offset": offset} if offset else {})}


def infer_request(model, arrays, id="", version="", parameters=None):
    """Of {name: numpy array}; arrays of objects hold BYTES."""
    request = pb.ModelInferRequest(model_name=model, model_version=version, id=id)
    set_parameters(request.parameters, parameters)
    for name, array in arrays.items():
        datatype = next(kserve for kserve, (_, dtype, _) in DATATYPES.items()
                        if dtype == array.dtype.type)
        raw = pack_bytes(array.flatten()) if datatype == "BYTES" else array.tobytes()
        add_input(request, name, datatype, array.shape, raw)
    return request


def output_arrays(response):
    """{name: numpy array}; BF16 as its 16 bits."""
    arrays = {}
    assert len(response.outputs) == len(response.raw_output_contents), "one raw entry an output"
    for output, raw in zip(response.outputs, response.raw_output_contents):
        if output.datatype == "BYTES":
            array = np.array(unpack_bytes(raw) + [None], dtype=object)[:-1]
        else:
            array = np.frombuffer(raw, DATATYPES[output.datatype][1])
        arrays[output.name] = array.reshape(output.shape)
    return arrays


class Client:
    """One channel. Every RPC of the service is a method: client.ModelInfer(request)."""

    TIMEOUT_S = 60

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address, options=[
            ("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1)])
        for messages, service in ((pb, "GRPCInferenceService"), (health_pb, "Health")):
            for method in messages.DESCRIPTOR.services_by_name[service].methods:
                setattr(self, method.name, self._stub(messages, method))

    def _stub(self, messages, method):
        full = f"/{method.containing_service.full_name}/{method.name}"
        streams = {"ModelStreamInfer": self.channel.stream_stream,
                   "Watch": self.channel.unary_stream}
        return streams.get(method.name, self.channel.unary_unary)(
            full,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=getattr(messages, method.output_type.name).FromString)

    def close(self):
        self.channel.close()

    def infer(self, model, arrays, timeout=TIMEOUT_S, **options):
        """{name: numpy array} of the outputs."""
        return output_arrays(self.ModelInfer(infer_request(model, arrays, **options),
                                             timeout=timeout))

    def statistics(self, model, version=""):
        """Of one version of a model."""
        (one,) = self.ModelStatistics(
            pb.ModelStatisticsRequest(name=model, version=version)).model_stats
        return one

    def config(self, model):
        return self.ModelConfig(pb.ModelConfigRequest(name=model)).config

    def is_ready(self, model, version=""):
        try:
            return self.ModelReady(pb.ModelReadyRequest(name=model, version=version)).ready
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE):
                return False
            raise

    def index(self, ready=False):
        """{(model, version): entry}"""
        request = pb.RepositoryIndexRequest(ready=ready)
        return {(entry.name, entry.version): entry
                for entry in self.RepositoryIndex(request).models}

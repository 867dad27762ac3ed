"""Our model server alone, and the calls of a real client of Triton's to it."""

import os
from pathlib import Path

import numpy as np
from program import PATIENCE_S, Program, new_folder
from tritonclient.grpc import service_pb2 as pb

SOURCE = Path(os.environ.get("INFERPOOL_SOURCE_DIR") or Path(__file__).resolve().parents[2])
PROGRAM = Path(os.environ.get("INFERPOOL_BIN") or SOURCE / "build/debug/bin") / "modelserver"

# numpy's name of a type -> KServe's. ml_dtypes has those that numpy has not.
DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16",
    "float32": "FP32", "float64": "FP64", "bfloat16": "BF16", "object": "BYTES"}


class ModelServer(Program):
    """Models are loaded and unloaded by request. Use it as a context manager."""

    def __init__(self, repository, program=PROGRAM, options=()):
        folder = new_folder()
        self.target = f"unix:{folder}/socket"
        super().__init__([program, "--repository", repository, "--model-control-mode", "explicit",
                          "--listen", self.target, *options], folder)
        self.wait_ready(self.target)
        self.stub = self.client._client_stub  # for tensors that the client's own classes refuse

    def alive(self):
        return self.process.poll() is None

    def infer(self, model, inputs):
        """`inputs` and the result: {name: array}."""
        request = pb.ModelInferRequest(model_name=model)
        for name, array in inputs.items():
            request.inputs.append(pb.ModelInferRequest.InferInputTensor(
                name=name, datatype=DATATYPES[array.dtype.name], shape=array.shape))
            request.raw_input_contents.append(
                pack_strings(array) if array.dtype == object else
                np.ascontiguousarray(array).tobytes())
        response = self.stub.ModelInfer(request, timeout=PATIENCE_S)
        return {output.name: unpack(output, raw)
                for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)}


def pack_strings(array):
    texts = [text.encode() if isinstance(text, str) else bytes(text) for text in array.flat]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def unpack(output, raw):
    if output.datatype == "BYTES":
        texts, at = [], 0
        while at < len(raw):
            size = int.from_bytes(raw[at:at + 4], "little")
            texts.append(raw[at + 4:at + 4 + size].decode(errors="surrogateescape"))
            at += 4 + size
        return np.array(texts, dtype=object).reshape(tuple(output.shape))
    if output.datatype == "BF16":
        import ml_dtypes
        dtype = np.dtype(ml_dtypes.bfloat16)
    else:
        dtype = np.dtype({value: key for key, value in DATATYPES.items()}[output.datatype])
    return np.frombuffer(raw, dtype).reshape(tuple(output.shape))

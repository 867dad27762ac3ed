"""A client of KServe v2 over HTTP that speaks as tritonclient.http does: the same requests, headers
and layout of JSON and binary tensors, and answers read the same way."""

import gzip
import http.client
import json
import zlib

import http_client
import kserve
import numpy as np


def datatype_of(array):
    return next(name for name, (_, dtype, _) in kserve.DATATYPES.items()
                if dtype == array.dtype.type)


def pack(array):
    return kserve.pack_bytes(array.flatten()) if array.dtype == object else array.tobytes()


class Input:
    """InferInput with set_data_from_numpy(array, binary_data)."""

    def __init__(self, name, array, binary=True, datatype=None):
        self.tensor = {"name": name, "shape": list(array.shape),
                       "datatype": datatype or datatype_of(array)}
        self.raw = None
        if binary:
            self.raw = pack(array)
            self.tensor["parameters"] = {"binary_data_size": len(self.raw)}
        elif array.dtype == object:
            self.tensor["data"] = [element.decode() for element in array.flatten()]
        else:
            self.tensor["data"] = [value.item() for value in array.flatten()]


def output(name, binary=True, class_count=0):
    """InferRequestedOutput."""
    parameters = {"classification": class_count} if class_count else {}
    return {"name": name, "parameters": {**parameters, "binary_data": binary}}


def infer_body(inputs, outputs=None, request_id="", parameters=None):
    """(body, Inference-Header-Content-Length or none)."""
    request = {"id": request_id} if request_id else {}
    parameters = dict(parameters or {})
    request["inputs"] = [one.tensor for one in inputs]
    if outputs:
        request["outputs"] = outputs
    else:
        parameters["binary_data_output"] = True
    if parameters:
        request["parameters"] = parameters
    head = json.dumps(request).encode()
    raws = [one.raw for one in inputs if one.raw is not None]
    return head + b"".join(raws), len(head) if raws else None


class Result:
    """InferResult."""

    def __init__(self, answer):
        assert answer.status == 200, (answer.status, answer.body[:500])
        header = answer.header("Inference-Header-Content-Length")
        length = len(answer.body) if header is None else int(header)
        assert answer.header("Content-Type") == (
            "application/json" if header is None else "application/octet-stream")
        self.json = json.loads(answer.body[:length])
        self.raw = {}
        for tensor in self.json["outputs"]:
            size = tensor.get("parameters", {}).get("binary_data_size")
            if size is not None:
                assert "data" not in tensor, tensor
                self.raw[tensor["name"]] = answer.body[length:length + size]
                length += size
        assert length == len(answer.body), "bytes behind the outputs"

    def array(self, name):
        """as_numpy."""
        tensor = next(one for one in self.json["outputs"] if one["name"] == name)
        dtype = kserve.DATATYPES[tensor["datatype"]][1]
        if name not in self.raw:
            array = np.array(tensor["data"], dtype=dtype)
        elif dtype == np.object_:
            array = np.array(kserve.unpack_bytes(self.raw[name]) + [None], dtype=object)[:-1]
        else:
            array = np.frombuffer(self.raw[name], dtype)
        return array.reshape(tensor["shape"])


class V2Client:
    """On a connection that it keeps, as tritonclient's pool does. For one thread."""

    def __init__(self, instance):
        self.connection = http.client.HTTPSConnection("localhost", instance.port,
                                                      context=instance.context, timeout=120)

    def close(self):
        self.connection.close()

    def request(self, method, path, body=None, headers=None):
        self.connection.request(method, path, body, headers or {})
        response = self.connection.getresponse()
        return http_client.Answer(response.status, response.headers, response.read())

    def get(self, path):
        return self.request("GET", path)

    def infer_answer(self, model, inputs, outputs=None, request_id="", parameters=None, version="",
                     compression=None, headers=None):
        body, header = infer_body(inputs, outputs, request_id, parameters)
        headers = dict(headers or {})
        if header is not None:
            headers["Inference-Header-Content-Length"] = str(header)
        if compression is not None:
            headers["Content-Encoding"] = compression
            body = {"gzip": gzip.compress, "deflate": zlib.compress}[compression](body)
        path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
        return self.request("POST", path, body, headers)

    def infer(self, *arguments, **options):
        return Result(self.infer_answer(*arguments, **options))

#!/usr/bin/env python3
"""Writes the seeds of corpus/: small inputs, each of another kind, from which the fuzzers start.

    make_corpus.py          writes them all; what is there already and not made here stays
"""

import base64
import gzip
import io
import json
import struct
import sys
import zlib
from pathlib import Path

from PIL import Image

CORPUS = Path(__file__).resolve().parent / "corpus"


def save(target, name, content):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def encode(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def drawing(size=(16, 12)):
    image = Image.new("RGB", size)
    image.putdata([(x * 16 % 256, y * 20 % 256, (x * y) % 256)
                   for y in range(size[1]) for x in range(size[0])])
    return image


def tiny_png():
    return encode(drawing((4, 3)), "PNG")


def pictures():
    image = drawing()
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG", "WEBP"):
        save("picture", f"turned.{kind.lower()}", encode(image, kind, exif=exif.tobytes()))
    save("picture", "progressive.jpeg", encode(image, "JPEG", progressive=True))
    save("picture", "restart.jpeg", encode(drawing((40, 24)), "JPEG", subsampling=2, quality=40))
    save("picture", "grey.jpeg", encode(image.convert("L"), "JPEG"))
    save("picture", "cmyk.jpeg", encode(image.convert("CMYK"), "JPEG"))
    save("picture", "palette.png", encode(image.quantize(8), "PNG"))
    save("picture", "deep.png", encode(Image.new("I;16", (9, 7), 999), "PNG"))
    save("picture", "alpha.png", encode(image.convert("LA"), "PNG"))
    save("picture", "lossless.webp", encode(image.convert("RGBA"), "WEBP", lossless=True))
    frames = [drawing((10, 10)), Image.new("RGB", (10, 10), "red")]
    for kind in ("GIF", "WEBP", "PNG"):
        save("picture", f"animated.{kind.lower()}",
             encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=50))
    save("picture", "interlaced.gif", encode(image.quantize(8), "GIF", interlace=1))
    save("picture", "text", b"what is in this picture?")
    save("picture", "other.bmp", encode(drawing((3, 3)), "BMP"))


def form(boundary, fields, name="images"):
    body = b""
    for content in fields:
        body += (f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="a.png"'
                 "\r\nContent-Type: image/png\r\n\r\n").encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def forms():
    kind = b"multipart/form-data; boundary=edge\n"
    save("multipart", "one", kind + form("edge", [b"content"]))
    save("multipart", "two", kind + form("edge", [b"1", b"", b"2\r\n--edg"]))
    save("multipart", "preamble", kind + b"hello\r\n" + form("edge", [b"x"]) + b"goodbye")
    save("multipart", "quoted", b'multipart/form-data; charset=utf-8; boundary="e d\\"ge"\n'
         + form('e d"ge', [b"x"]))
    save("multipart", "other_field", kind + form("edge", [b"x"], name="picture"))
    save("multipart", "cut", kind + form("edge", [b"content"])[:-6])
    save("multipart", "blanks", kind + b"--edge \t\r\ncontent-disposition:form-data;name=images\r\n\r\n"
         b"x\r\n--edge--")
    save("multipart", "content", kind + b"any content")
    mixed = form("inner", [b"1", b"2"]).replace(b'form-data; name="images"', b"attachment")
    mixed = form("edge", [mixed.rstrip()]).replace(b"image/png", b"multipart/mixed; boundary=inner", 1)
    save("multipart", "mixed", kind + mixed)
    save("multipart", "folded", kind + form("edge", [b"x"]).replace(b"; ", b";\r\n "))
    save("multipart", "line_feeds", kind + form("edge", [b"x"]).replace(b"\r\n", b"\n"))
    save("multipart", "brackets", kind + form("edge", [b"x"], name="images%5B%5D"))
    save("multipart", "nothing_chosen", kind + form("edge", [b""]).replace(b"a.png", b""))
    save("multipart", "base64", kind
         + form("edge", [b"QQ=="]).replace(b"Content-Type", b"Content-Transfer-Encoding: base64\r\nContent-Type"))

    png = tiny_png()
    encoded = base64.b64encode(png)
    no_encoding = b"\n\n"
    save("picture_input", "form", b"multipart/form-data; boundary=e" + no_encoding
         + form("e", [png], name="image"))
    save("picture_input", "form_of_two", b"multipart/form-data; boundary=e" + no_encoding
         + form("e", [png, png]))
    save("picture_input", "form_with_fields", b"multipart/form-data; boundary=e" + no_encoding
         + form("e", [b"0.5"], name="confidence")[:-5] + form("e", [png], name="image[]"))
    save("picture_input", "raw", b"image/png\nidentity\n" + png)
    save("picture_input", "json", b"application/json" + no_encoding
         + b'{"image": "' + encoded + b'"}')
    save("picture_input", "json_url", b"application/json" + no_encoding
         + b'{"image": "data:image/png;base64,' + encoded + b'"}')
    save("picture_input", "json_url_escaped", b"application/json" + no_encoding
         + b'{"image": "data:;base64,' + encoded.replace(b"=", b"%3D").replace(b"/", b"%2f") + b'"}')
    save("picture_input", "json_list", b"application/json" + no_encoding
         + b'{"images": ["' + encoded + b'", "data:;base64,AAAA", 1, "http://a/", "=", ""]}')
    save("picture_input", "packed", b"image/png\ngzip\n" + png)
    save("picture_input", "base64", no_encoding + b"aGVs bG8=")
    save("picture_input", "base64_without_padding", no_encoding + b"aGVsbG8")
    save("picture_input", "base64_cut", no_encoding + b"aGVsb")


def headers():
    save("accept", "browser", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,"
         "image/webp,*/*;q=0.8")
    save("accept", "png", "image/png;q=0.9, image/jpeg;q=0.5, application/json;q=0.1")
    save("accept", "refused", "application/json;q=0, image/*;q=0.001")
    save("accept", "form", 'form-data; name="image"; filename="a\\"b;c=d.png"')
    save("accept", "odd", ' ; NAME = x y ;q="1"; ;=;name')
    boot = "0b5c1a9e-0001-4242-8888-0123456789ab"
    save("frame_handle", "file", f"inferpool.47-1f 7 42 5000 jpeg 0 0 0 {boot}")
    save("frame_handle", "pixels", f"inferpool.47-1f 0 18446744073709551614 921600 bgr 640 480 1920 {boot}")
    save("frame_handle", "planes", f"inferpool.a_B.c 255 2 460800 nv12 640 480 640 {boot}")
    save("frame_handle", "path", f"inferpool./../x 0 2 1 webp 0 0 0 {boot}")
    save("query", "all", "confidence=0.5&iou=0.4&max_detections=7&coordinates=normalized&render=png")
    save("query", "views", "roi=1,2.5,-3e1,40&classes=car,a%2Cb,7&confidence.car=0.5&confidence.7=1&class_agnostic=true"
                           "&tiles=4x3&tile_overlap=0.25")
    save("query", "tiles", "tiles=auto&roi=0,0,0.5,1&coordinates=normalized&tiles=65x1")
    save("query", "encoded", "con%66idence=%30.5&&render=j%70eg")
    save("query", "unknown", "a=1&%22%5c%0a%ff=+%2")
    save("query", "range", "max_detections=301&confidence=1e999")


def json_texts():
    save("json", "image", '{"image": "aGVsbG8="}')
    save("json", "kinds", '[null, true, false, -0.5e+3, 18446744073709551616, "\\u00e9\\ud83d\\ude00\\n"]')
    save("json", "nested", '{"a":{"b":[[{"c":[[]]}]]}}')
    save("json", "twice", '{"a":1,"a":2}')
    save("json", "comment", '{"a":1} // no')
    save("json", "bytes", b'["\xff\xfe\xed\xa0\x80"]')
    save("json", "deep", "[" * 100)


def kserve():
    def tensor(datatype, shape, data):
        return {"name": datatype, "datatype": datatype, "shape": shape, "data": data}

    inputs = [tensor("FP32", [2, 3], [[1, 2.5, -1e30], [0, -0.0, 3]]), tensor("BOOL", [2], [True, False]),
              tensor("INT64", [1], [-2 ** 63]), tensor("UINT8", [3], [0, 255, 7]),
              tensor("BYTES", [2, 1], [["a\u00e9\n"], [""]]), tensor("FP64", [], [0.1])]
    outputs = [{"name": "y", "parameters": {"binary_data": True}}, {"name": "z", "parameters": {"classification": 3}}]
    whole = json.dumps({"id": "1", "parameters": {"a": 1, "b": "x", "c": True, "d": 0.5,
                                                  "binary_data_output": True},
                        "inputs": inputs, "outputs": outputs})
    save("kserve_rest", "json", "\n" + whole)
    save("kserve_rest", "gzip", b"gzip\n" + gzip.compress(whole.encode(), mtime=0))
    save("kserve_rest", "deflate", b"deflate\n" + zlib.compress(b'{"inputs":[]}'))
    save("kserve_rest", "not_a_number", '\n{"inputs":[{"name":"x","datatype":"FP32","shape":[3],'
         '"data":[NaN,-Infinity,1e39]}]}')
    head = json.dumps({"inputs": [
        {"name": "x", "datatype": "FP16", "shape": [2], "parameters": {"binary_data_size": 4}},
        {"name": "y", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 7}}]})
    save("kserve_rest", "binary", f"{len(head)}\n{head}".encode() + b"\0\x3c\0\x3c" + b"\3\0\0\0abc")
    save("kserve_rest", "twice", '\n{"inputs":[],"inputs":[]}')
    save("request_options", "all", "1500\nhigh\n00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n"
         "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
    save("request_options", "odd", "0\nHIGH\n00-" + "0" * 32 + "-b7ad6b7169203331-00\n=,\xff")


def fastcgi():
    def record(kind, content=b"", padding=0):
        return (struct.pack(">BBHHBB", 1, kind, 1, len(content), padding, 0) + content
                + bytes(padding))

    def pair(name, value):
        def length(text):
            return bytes([len(text)]) if len(text) < 128 else struct.pack(">I", len(text) | 1 << 31)
        return length(name) + length(value) + name + value

    begin = record(1, struct.pack(">HB5x", 1, 0))
    params = (pair(b"REQUEST_METHOD", b"POST") + pair(b"REQUEST_URI", b"/v1/predict/faces?iou=1")
              + pair(b"CONTENT_TYPE", b"image/png") + pair(b"CONTENT_LENGTH", b"5")
              + pair(b"HTTP_X_REQUEST_ID", b"abc") + pair(b"INFERPOOL_HANDED_OFF", b"1.234"))
    save("fastcgi", "whole", begin + record(4, params) + record(4) + record(5, b"hello") + record(5))
    save("fastcgi", "padded", begin + record(4, params[:40], 7) + record(4, params[40:], 3) + record(4)
         + record(5, b"hel", 1) + record(5, b"lo", 255) + record(5))
    save("fastcgi", "long_value", begin + record(4, params + pair(b"HTTP_ACCEPT", b"a" * 200))
         + record(4) + record(5))
    save("fastcgi", "no_parameters", begin + record(4) + record(5))
    save("fastcgi", "short_body", begin + record(4, params) + record(4) + record(5, b"he") + record(5))
    save("fastcgi", "abort", begin + record(4, params) + record(4) + record(2))
    save("fastcgi", "lying_length", begin + record(4, b"\x7f\x7fshort") + record(4))
    save("fastcgi", "padded_begin", struct.pack(">BBHHBBHB5x", 1, 1, 1, 8, 196, 0, 1, 0)
         + record(4, params)[:196].ljust(196, b"\0") + record(4))
    save("fastcgi", "cut", begin + record(4, params)[:30])


def configurations():
    save("config", "empty", "{}")
    save("config", "some", '{"workers": 2, "limits": {"body_mb": 5}, "log": {"level": "debug"},\n'
         '"nginx": {"server_name": "a.example b.example", "rate_per_s": 0, "certificate": "a b.pem"}}')
    save("config", "comments", '// one\n{"state": "../run" /* two */, "user": "nobody"}')
    save("config", "overrides", b'{"threads": 4}\0listen.socket=/run/a.sock\nbackend.targets=["dns:a:1"]\n'
         b"predict.iou=0.1\nsidecar.address=::1")
    save("config", "wrong", '{"workers": -1, "nginx": {"server_name": "a; } evil {", "port": 70000},\n'
         '"timeouts": [], "unknown": {"a": 1}, "workers": 2}')
    save("config", "not_json", '{"workers": ')

    save("api_keys", "two", json.dumps({"keys": [
        {"name": "shop", "sha256": "ab" * 32, "models": ["faces", "shop-*"], "rate_per_s": 50, "burst": 100,
         "priority": "high", "expires": "2027-06-30"},
        {"name": "b.2", "sha256": "0" * 64, "models": [], "rate_per_s": 0.5, "priority": "low",
         "expires": "2027-06-30T12:00:00Z"}]}, indent=1))
    save("api_keys", "none", '{"keys": []}')
    save("api_keys", "wrong", '{"keys": [{"name": "a b", "sha256": "x", "rate_per_s": -1, "more": 1}]}')

    save("config_pbtxt", "net", """name: "model"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [{ name: "images" data_type: TYPE_FP32 dims: [ 3, 640, -1 ] }]
output { name: "output0" data_type: TYPE_FP32 dims: 5 }
instance_group [ { count: 2 kind: KIND_CPU } ]
dynamic_batching { preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 100 priority_levels: 3
  default_priority_level: 2 }
version_policy { specific { versions: [ 2, 5 ] } }
parameters { key: "input_size" value { string_value: "7" } }
""")
    save("config_pbtxt", "ensemble", """max_batch_size: 0
ensemble_scheduling { step [ { model_name: "a" model_version: -1 input_map { key: "X" value: "x" }
  output_map { key: "Y" value: "y" } } ] }
""")
    save("config_pbtxt", "maps", 'name: "model"\nbackend: "identity"\n' + "".join(
        f'parameters {{ key: "k{i}" value {{ string_value: "{i}" }} }}\n' for i in range(24)))
    save("config_pbtxt", "json", '{"name": "model", "maxBatchSize": 4, "input": [{"name": "a", '
         '"data_type": "TYPE_FP32", "dims": ["1", 2]}], "version_policy": {"all": {}}}')
    save("config_pbtxt", "other_name", 'name: "other"')
    save("config_pbtxt", "wrong", 'input { dims: [ 99999999999999999999 ] } nobody: 1 # a')


def onnx_files():
    sys.path.append(str(CORPUS.parents[1] / "system/conformance"))
    from onnx import TensorProto, helper
    from operator_nets import nets

    names = {"Add_1_constant", "Conv_pads", "MaxPool_ceil", "Resize_13_linear_half_pixel_8",
             "Gemm_01_scaled_5", "Softmax_13_1", "Pad_13_edge", "Slice_13_step", "Concat_1",
             "TopK", "ConstantOfShape", "NonZero", "QuantizeLinear", "Split_13"}
    for each in nets():
        if each.name in names:
            save("onnx", each.name, each.model)

    def write(name, nodes, inputs, outputs, constants=()):
        graph = helper.make_graph(nodes, name, inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 7
        entry = model.metadata_props.add()
        entry.key, entry.value = "names", "{0: 'a'}"
        save("onnx", name, model.SerializeToString())

    def value(name, shape, kind=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, shape)

    body = helper.make_graph(
        [helper.make_node("Add", ["a", "a"], ["b"]), helper.make_node("Identity", ["go"], ["on"])],
        "body", [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL),
                 value("a", [2])], [value("on", [], TensorProto.BOOL), value("b", [2])])
    write("loop", [helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)], [value("x", [2])],
          [value("y", [2])], [helper.make_tensor("n", TensorProto.INT64, [], [3])])
    write("texts", [helper.make_node("Identity", ["x"], ["y"])],
          [value("x", ["batch", 2], TensorProto.STRING)],
          [value("y", ["batch", 2], TensorProto.STRING)])
    outside = helper.make_tensor("w", TensorProto.FLOAT, [2], [1, 2])
    outside.ClearField("float_data")
    outside.data_location = TensorProto.EXTERNAL
    entry = outside.external_data.add()
    entry.key, entry.value = "location", "weights.bin"
    write("outside", [helper.make_node("Add", ["x", "w"], ["y"])], [value("x", ["batch", 2])],
          [value("y", ["batch", 2])], [outside])


if __name__ == "__main__":
    onnx_files()
    pictures()
    forms()
    headers()
    json_texts()
    kserve()
    fastcgi()
    configurations()

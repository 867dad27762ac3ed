"""A model repository with one model of each kind that the samples lack, all of a few hundred bytes.

    colours      a classification: how red, green and blue the picture is
    fingerprint  the same three numbers as an embedding
    letter       a reader of lines: "b" where red is strongest, "a" for green, nothing for blue
    unusable     of no known family
"""

import shutil

from harness import MODELS

_SIDE = 8


def _varint(number):
    data = b""
    while number > 0x7f:
        data += bytes([number & 0x7f | 0x80])
        number >>= 7
    return data + bytes([number])


def _field(number, value):
    """One field of a protobuf message: a number, or bytes (a text, a message)."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    value = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _value(name, shape):
    """onnx.ValueInfoProto of FP32."""
    dimensions = b"".join(_field(1, _field(1, size)) for size in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, dimensions)))


def _node(operator, source, result):
    return _field(1, _field(1, source) + _field(2, result) + _field(3, result) + _field(4, operator))


def average(output):
    """ONNX: the average of each colour, [1, 3, 8, 8] to [1, 3]."""
    graph = (_node("GlobalAveragePool", "images", "pooled") + _node("Flatten", "pooled", output)
             + _field(2, "average") + _field(11, _value("images", (1, 3, _SIDE, _SIDE)))
             + _field(12, _value(output, (1, 3))))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13))


def make_repository(folder):
    """The sample models and these."""
    shutil.copytree(MODELS, folder, dirs_exist_ok=True)
    for name, output, labels in (("colours", "scores", "red\ngreen\nblue\n"),
                                 ("fingerprint", "embedding", ""), ("letter", "steps", "a\nb\n")):
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "1/model.onnx").write_bytes(average(output))
        if labels:
            (folder / name / "labels.txt").write_text(labels)
            (folder / name / "config.pbtxt").write_text(
                'parameters { key: "scores" value { string_value: "probabilities" } }\n')
    (folder / "letter/config.pbtxt").write_text("".join(
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
        for key, value in (("family", "text_line"), ("scores", "logits"), ("channels", "bgr"))))
    (folder / "unusable").mkdir()
    (folder / "unusable/config.pbtxt").write_text(
        'name: "unusable" backend: "identity" max_batch_size: 0\n'
        'input { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] }\n'
        'output { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] }\n')
    return folder

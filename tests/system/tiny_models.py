"""A model repository with one model of each kind that the samples lack, all of a few hundred bytes.

    colours      a classification: how red, green and blue the picture is
    fingerprint  the same three numbers as an embedding
    letter       a reader of lines: "b" where red is strongest, "a" for green, nothing for blue
    unusable     of no known family
"""

import shutil

from harness import MODELS

_SIDE = 8


def varint(number):
    data = b""
    while number > 0x7f:
        data += bytes([number & 0x7f | 0x80])
        number >>= 7
    return data + bytes([number])


def field(number, value):
    """One field of a protobuf message: a number, or bytes (a text, a message)."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def value(name, shape):
    """onnx.ValueInfoProto of FP32. Sizes are numbers, or names of open ones."""
    dimensions = b"".join(field(1, field(1 if isinstance(size, int) else 2, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dimensions)))


def node(operator, source, result, attributes=b""):
    """One of a graph, which has the name of its result."""
    return field(1, field(1, source) + field(2, result) + field(3, result) + field(4, operator) + attributes)


def average(output):
    """ONNX: the average of each colour, [1, 3, 8, 8] to [1, 3]."""
    graph = (node("GlobalAveragePool", "images", "pooled") + node("Flatten", "pooled", output)
             + field(2, "average") + field(11, value("images", (1, 3, _SIDE, _SIDE)))
             + field(12, value(output, (1, 3))))
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))


def constant(outputs, metadata=(), side=64):
    """ONNX: whatever picture of [1, 3, side, side] comes, these outputs, numpy arrays by name."""
    graph = field(2, "constant")
    for name, array in outputs.items():
        values = (b"".join(field(1, size) for size in array.shape) + field(2, 1)
                  + field(8, name + "_values") + field(9, array.astype("<f4").tobytes()))
        graph += node("Identity", name + "_values", name) + field(5, values)
    graph += field(11, value("images", (1, 3, side, side)))
    for name, array in outputs.items():
        graph += field(12, value(name, array.shape))
    return (field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))
            + b"".join(field(14, field(1, key) + field(2, value)) for key, value in metadata))


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

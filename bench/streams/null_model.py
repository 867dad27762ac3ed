"""A model that costs nothing: its net reads the first pixel of each picture of a batch."""

import contextlib
import tempfile
from pathlib import Path

from tiny_models import field as _field, node as _node, value as _value


def _numbers(name, numbers):
    return _field(5, _field(1, name) + b"".join(_field(8, number) for number in numbers) + _field(20, 7))


def net(side):
    """ONNX: [N, 3, side, side] to [N, 3], the colours of the first pixel."""
    corner = _numbers("axes", (2, 3)) + _numbers("starts", (0, 0)) + _numbers("ends", (1, 1))
    graph = (_node("Slice", "images", "corner", corner) + _node("Flatten", "corner", "scores") + _field(2, "null")
             + _field(11, _value("images", ("N", 3, side, side))) + _field(12, _value("scores", ("N", 3))))
    return _field(1, 4) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 9))


@contextlib.contextmanager
def repository(side):
    """A model repository that has the model as `null`."""
    with tempfile.TemporaryDirectory(prefix="inferpool-null-") as folder:
        place = Path(folder) / "null"
        (place / "1").mkdir(parents=True)
        (place / "1/model.onnx").write_bytes(net(side))
        (place / "labels.txt").write_text("red\ngreen\nblue\n")
        (place / "config.pbtxt").write_text(
            'max_batch_size: 32\nparameters { key: "scores" value { string_value: "probabilities" } }\n')
        Path(folder).chmod(0o755)
        yield folder

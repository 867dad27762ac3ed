"""An ONNX graph that grows node by node, and the tensors in it.

TensorFlow lays pictures out as [number, height, width, channels], ONNX as [number, channels, height, width]
("planar" below). A tensor may be in the graph in either layout or in both. A node asks for the layout that it
needs, and the graph transposes at most once.
"""

import numpy as np
from onnx import checker, helper, mapping, numpy_helper

OPSET = 17

# The place of each of TensorFlow's axes in a planar tensor, and the permutations there and back.
PLANAR_AXIS = (0, 2, 3, 1)
TO_PLANAR = (0, 3, 1, 2)
TO_PLAIN = (0, 2, 3, 1)


class Tensor:
    """A value in the graph. `shape` is TensorFlow's; `value` is a constant's. `plain` and `planar` are its names
    in the graph, where it is there in that layout."""

    def __init__(self, shape, dtype, value=None, plain=None, planar=None):
        self.shape = tuple(int(size) for size in shape)
        self.dtype = np.dtype(dtype)
        self.value = value
        self.plain = plain
        self.planar = planar

    @property
    def rank(self):
        return len(self.shape)

    @property
    def is_planar(self):
        """Whether it is cheapest to go on in the planar layout."""
        return self.planar is not None and self.value is None


def constant(value):
    value = np.asarray(value)
    return Tensor(value.shape, value.dtype, value)


class Graph:
    def __init__(self):
        self._nodes = []
        self._initializers = []
        self._inputs = []
        self._outputs = []
        self._names = 0

    def _name(self, stem):
        self._names += 1
        return f"{stem}_{self._names}"

    def input(self, name, dtype, shape):
        self._inputs.append(helper.make_tensor_value_info(name, onnx_type(dtype), shape))
        return Tensor(shape, dtype, plain=name)

    def output(self, name, tensor):
        """Makes `tensor` an output of the graph, in TensorFlow's layout."""
        self._nodes.append(helper.make_node("Identity", [self.plain(tensor)], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, onnx_type(tensor.dtype), tensor.shape))

    def initializer(self, value):
        """Returns the name of a constant in the graph."""
        name = self._name("constant")
        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, operator, *inputs, outputs=1, **attributes):
        """Adds a node. An input is a name, or an array, which becomes a constant. Returns the output's name, or
        a list of names when there are several."""
        names = [one if isinstance(one, str) else self.initializer(one) for one in inputs]
        results = [self._name(operator) for _ in range(outputs)]
        self._nodes.append(helper.make_node(operator, names, results, **attributes))
        return results[0] if outputs == 1 else results

    def plain(self, tensor):
        """Returns the tensor's name in TensorFlow's layout."""
        if tensor.plain is None:
            if tensor.value is not None:
                tensor.plain = self.initializer(tensor.value)
            else:
                tensor.plain = self.node("Transpose", tensor.planar, perm=TO_PLAIN)
        return tensor.plain

    def planar(self, tensor):
        """Returns the name in the planar layout of a tensor of four dimensions, or of a constant of up to four
        that is broadcast against one."""
        if tensor.planar is None:
            if tensor.value is not None:
                tensor.planar = self.initializer(_planar_constant(tensor.value))
            else:
                tensor.planar = self.node("Transpose", self.plain(tensor), perm=TO_PLANAR)
        return tensor.planar

    def elementwise(self, emit, *tensors, dtype=None):
        """Returns the tensor whose name is `emit(names)`, for an operator that works on each element, broadcasts
        as numpy does, and hence may work in either layout."""
        shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
        dtype = tensors[0].dtype if dtype is None else dtype
        if any(one.is_planar for one in tensors) and all(one.rank == 4 or one.value is not None for one in tensors):
            return Tensor(shape, dtype, planar=emit(*(self.planar(one) for one in tensors)))
        return Tensor(shape, dtype, plain=emit(*(self.plain(one) for one in tensors)))

    def model(self, name):
        """Returns the finished model, checked."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="inferpool")
        model.ir_version = 8
        checker.check_model(model)
        return model


def onnx_type(dtype):
    return mapping.NP_TYPE_TO_TENSOR_TYPE[np.dtype(dtype)]


def _planar_constant(value):
    if value.ndim == 0:
        return value
    value = value.reshape((1,) * (4 - value.ndim) + value.shape).transpose(TO_PLANAR)
    return value[0] if value.shape[0] == 1 else value

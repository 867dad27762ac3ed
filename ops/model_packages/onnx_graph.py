"""An ONNX graph that grows node by node, and the tensors in it."""

import numpy as np
from onnx import checker, helper, mapping, numpy_helper

OPSET = 17


class Tensor:
    """A value in the graph, by its name there, or a constant, which has a `value` and gets a name when a node
    needs one."""

    def __init__(self, shape, dtype, name=None, value=None):
        self.shape = tuple(int(size) for size in shape)
        self.dtype = np.dtype(dtype)
        self.name = name
        self.value = value

    @property
    def rank(self):
        return len(self.shape)


def constant(value):
    value = np.asarray(value)
    return Tensor(value.shape, value.dtype, value=value)


def onnx_type(dtype):
    return mapping.NP_TYPE_TO_TENSOR_TYPE[np.dtype(dtype)]


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
        return Tensor(shape, dtype, name)

    def output(self, name, tensor):
        """Makes `tensor` an output of the graph."""
        self._nodes.append(helper.make_node("Identity", [self._source(tensor)], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, onnx_type(tensor.dtype), tensor.shape))

    def node(self, operator, *inputs, outputs=1, **attributes):
        """Adds a node. An input is a Tensor, a name, or an array, which becomes a constant. Returns the output's
        name, or a list of names when there are several."""
        names = [self._source(one) for one in inputs]
        results = [self._name(operator) for _ in range(outputs)]
        self._nodes.append(helper.make_node(operator, names, results, **attributes))
        return results[0] if outputs == 1 else results

    def _source(self, one):
        if isinstance(one, str):
            return one
        if not isinstance(one, Tensor):
            one = constant(one)
        if one.name is None:
            one.name = self._name("constant")
            self._initializers.append(numpy_helper.from_array(np.array(one.value, order="C"), one.name))
        return one.name

    def model(self, name):
        """Returns the finished model, checked."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="inferpool")
        model.ir_version = 8
        checker.check_model(model)
        return model

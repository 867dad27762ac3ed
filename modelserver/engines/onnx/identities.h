// Pass: removes Identity nodes. Nodes that used their output use their input instead.
//
// Reason: of several equal initializers, PyTorch's exporter keeps one and makes the others from it
// with Identity. The biases of a detector's three heads can be such, because training starts them
// at the same value. OpenCV 4.6 refuses an Identity whose input is not the output of a layer.
// Condition: the node's output is not an output of the graph, because that name must stay.
#pragma once

#include <onnx/onnx_pb.h>

namespace inferpool::modelserver::onnx_graph {

void RemoveIdentities(onnx::GraphProto& graph);

}  // namespace inferpool::modelserver::onnx_graph

// Pass: removes Identity nodes; who used their output uses their input.
//
// Reason: PyTorch's exporter keeps one of several equal initializers (the biases of a detector's
// three heads, which training starts at the same value) and makes the others of it by Identity.
// OpenCV 4.6 refuses an Identity whose input is no layer's output.
// Condition: its output is not an output of the graph, whose name must stay.
#pragma once

#include <onnx/onnx_pb.h>

namespace inferpool::modelserver::onnx_graph {

void RemoveIdentities(onnx::GraphProto& graph);

}  // namespace inferpool::modelserver::onnx_graph

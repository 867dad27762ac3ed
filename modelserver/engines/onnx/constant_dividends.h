// Pass: writes constant / x as constant * Reciprocal(x).
//
// Reason: when the constant has more than one element, OpenCV 4.6 computes x / constant instead and
// reports no error.
// Condition: the node is Div, its first operand is an initializer of floats with more than one
// element, its second is computed. The answer may differ in the last bit.
#pragma once

#include <onnx/onnx_pb.h>

namespace inferpool::modelserver::onnx_graph {

void RewriteConstantDividends(onnx::GraphProto& graph);

}  // namespace inferpool::modelserver::onnx_graph

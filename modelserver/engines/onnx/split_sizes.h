// Pass: writes the sizes of a Split as its attribute instead of its second input.
//
// Reason: ONNX moved the sizes from the attribute to the input in opset 13. OpenCV 4.6 only looks
// for the attribute, and without it splits into equal parts. Condition: the second input is an
// initializer that holds as many sizes as there are outputs.
#pragma once

#include <onnx/onnx_pb.h>

namespace inferpool::modelserver::onnx_graph {

void WriteSplitSizes(onnx::GraphProto& graph);

}  // namespace inferpool::modelserver::onnx_graph

// Pass: gives a constant operand the full shape of the other operand.
//
// Reason: OpenCV 4.6 scales by a constant from the second dimension on. It accepts the constants
// [3, 1, 1] and [3, 4, 5] with [1, 3, 4, 5], but not [5], [1, 5] or [1, 1, 4, 5]: the import or the
// run fails when a dimension is broadcast before one that is not. The strides of a detector's
// anchors, [1, 8400] with [1, 4, 8400], are such a constant. Condition: the node is Add, Sub, Mul
// or Div; one operand is an initializer with a dimension that is broadcast before one that is not,
// the other is computed and its shape, from value_info, is known and is the result's too. A
// constant that would have over kMaxElements elements stays.
#pragma once

#include <onnx/onnx_pb.h>

namespace inferpool::modelserver::onnx_graph {

void ExpandConstantOperands(onnx::GraphProto& graph);

}  // namespace inferpool::modelserver::onnx_graph

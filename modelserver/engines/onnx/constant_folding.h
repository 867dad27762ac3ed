// Pass: computes what follows from constants and known shapes, and writes it as initializers.
//
// Reason: OpenCV 4.6 wants the arguments of Slice, Reshape, Resize and their like as constants. An
// exporter computes them: `chunk` is Shape, Gather, Add, Div, Mul, Slice; anchors are Range, Expand
// and Concat over the shapes of the feature maps.
// Condition, per node: all its inputs are constants, or it is Shape of a tensor whose shape is
// known; evaluate.h knows its operator; its output is not an output of the graph. All results of
// one call together have a bounded size. Shapes are inferred node by node by libonnx; where it does
// not know the operator, what follows is left alone.
#pragma once

#include <onnx/onnx_pb.h>

#include "shared/base/status.h"

namespace inferpool::modelserver::onnx_graph {

// Also leaves what it found out in graph().value_info() and in the types of graph().output(), for
// passes that need shapes. Error: INVALID_ARGUMENT when a node contradicts its operator's
// definition or its inputs' shapes, with libonnx's reason. OpenCV does not look: an axis that is
// none, or a Split that does not come out even, crashes it.
absl::Status FoldConstants(onnx::ModelProto& model);

}  // namespace inferpool::modelserver::onnx_graph

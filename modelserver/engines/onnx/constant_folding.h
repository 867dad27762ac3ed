// Pass: computes tensors that depend only on constants and known shapes, and writes them as
// initializers.
//
// Reason: OpenCV 4.6 needs the arguments of Slice, Reshape, Resize and similar operators as
// constants. Exporters compute them in the graph: `chunk` becomes Shape, Gather, Add, Div, Mul,
// Slice; anchors become Range, Expand and Concat over the shapes of the feature maps. Condition,
// per node: all its inputs are constants, or it is Shape of a tensor whose shape is known;
// evaluate.h knows its operator; its output is not an output of the graph. The results of one call
// have a limited total size. libonnx infers the shapes node by node. Where it does not know an
// operator, the nodes that depend on it are left alone.
#pragma once

#include <onnx/onnx_pb.h>

#include "shared/base/status.h"

namespace inferpool::modelserver::onnx_graph {

// Also writes the inferred shapes to graph().value_info() and to the types of graph().output(), for
// passes that need them. INVALID_ARGUMENT with libonnx's reason when a node contradicts its
// operator's definition or its inputs' shapes. OpenCV does not check that: an axis that does not
// exist, or a Split whose sizes do not add up, crashes it.
absl::Status FoldConstants(onnx::ModelProto& model);

}  // namespace inferpool::modelserver::onnx_graph

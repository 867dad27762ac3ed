// Evaluate's operators that only move numbers. Each returns the node's output, or nullopt as
// Evaluate does. Pure.
#pragma once

#include <onnx/onnx_pb.h>

#include "modelserver/engines/onnx/operands.h"

namespace inferpool::modelserver::onnx_graph {

Result Gather(const onnx::NodeProto& node, Inputs inputs);
Result Concat(const onnx::NodeProto& node, Inputs inputs);
Result Slice(const onnx::NodeProto& node, Inputs inputs);
Result Unsqueeze(const onnx::NodeProto& node, Inputs inputs);
Result Squeeze(const onnx::NodeProto& node, Inputs inputs);
Result Reshape(const onnx::NodeProto& node, Inputs inputs);
Result Transpose(const onnx::NodeProto& node, Inputs inputs);
Result Expand(const onnx::NodeProto& node, Inputs inputs);

}  // namespace inferpool::modelserver::onnx_graph

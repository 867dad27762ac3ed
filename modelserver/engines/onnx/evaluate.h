// What one node gives for constant inputs.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "modelserver/engines/onnx/value.h"

namespace inferpool::modelserver::onnx_graph {

// The node's single output, by the definitions of ONNX's operators from opset 7 on
// (https://github.com/onnx/onnx/blob/main/docs/Operators.md). The operators are those with which
// exporters compute shapes and anchors. `inputs` are the node's, null where it leaves one out.
// Nothing when the operator is none of them, an attribute or shape is not as defined, a result is
// not a Value, or has over kMaxElements.
std::optional<Value> Evaluate(const onnx::NodeProto& node, std::span<const Value* const> inputs);

}  // namespace inferpool::modelserver::onnx_graph

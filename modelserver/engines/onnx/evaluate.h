// Computes the output of one node from constant inputs.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "modelserver/engines/onnx/value.h"

namespace inferpool::modelserver::onnx_graph {

// Returns the node's single output, by the definitions of ONNX's operators from opset 7 on
// (https://github.com/onnx/onnx/blob/main/docs/Operators.md). It knows the operators with which
// exporters compute shapes and anchors. `inputs` are the node's, null where it leaves one out.
// nullopt when it does not know the operator, an attribute or shape is not as defined, or the
// result is not a Value or has over kMaxElements elements.
std::optional<Value> Evaluate(const onnx::NodeProto& node, std::span<const Value* const> inputs);

}  // namespace inferpool::modelserver::onnx_graph

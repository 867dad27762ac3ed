// Pass: removes what no wanted output needs: other outputs, nodes, constants.
//
// Reason: OpenCV imports every node, also those that nobody needs, and fails on the first that it
// does not know; and it converts every constant, which fails for a BOOL. FoldConstants leaves such
// constants behind.
// Condition: `outputs` names outputs that the graph has; the inputs of the graph stay.
#pragma once

#include <onnx/onnx_pb.h>

#include <span>
#include <string>

namespace inferpool::modelserver::onnx_graph {

void RemoveUnused(std::span<const std::string> outputs, onnx::GraphProto& graph);

}  // namespace inferpool::modelserver::onnx_graph

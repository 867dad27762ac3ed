// Pass: removes the outputs, nodes and constants that no wanted output needs.
//
// Reason: OpenCV imports every node, even one that nobody needs, and fails at the first that it
// does not know. It also converts every constant, which fails for BOOL; FoldConstants leaves such
// constants behind. Condition: the graph has all of `outputs`. The inputs of the graph stay.
#pragma once

#include <onnx/onnx_pb.h>

#include <span>
#include <string>

namespace inferpool::modelserver::onnx_graph {

void RemoveUnused(std::span<const std::string> outputs, onnx::GraphProto& graph);

}  // namespace inferpool::modelserver::onnx_graph

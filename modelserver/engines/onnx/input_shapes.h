// Pass: gives the graph's inputs the shapes with which they will be run.
//
// Reason: an export with an open batch, height or width computes sizes in the graph (Shape, Gather,
// Slice), which OpenCV 4.6 refuses or evaluates wrongly when it imports. The engine runs every row
// with the same shape, so the sizes are constants, which FoldConstants can compute.
// Condition, per input: all of its dimensions are known and the file's own do not contradict them.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace inferpool::modelserver::onnx_graph {

// `shapes` by the input's name; -1 is an unknown size, which leaves that input alone.
using InputShapes = std::map<std::string, std::vector<std::int64_t>>;

void SetInputShapes(const InputShapes& shapes, onnx::GraphProto& graph);

}  // namespace inferpool::modelserver::onnx_graph

// Pass: gives the graph's inputs the shapes with which they will run.
//
// Reason: an export with an open batch, height or width computes sizes in the graph (Shape, Gather,
// Slice). OpenCV 4.6 refuses such nodes when it imports the file, or evaluates them wrongly. The
// engine runs every row with the same shape, so the sizes are constants, which FoldConstants can
// compute. Condition, per input: all of its dimensions are known, and those in the file do not
// contradict them.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace inferpool::modelserver::onnx_graph {

// Shapes by the input's name. An input with a size of -1, which stands for unknown, is left alone.
using InputShapes = std::map<std::string, std::vector<std::int64_t>>;

void SetInputShapes(const InputShapes& shapes, onnx::GraphProto& graph);

}  // namespace inferpool::modelserver::onnx_graph

// Rewrites ONNX graphs, as exporters write them, so that OpenCV 4.6 imports them and runs them fast
// (docs/decisions/0008). The answers stay the same up to rounding.
#pragma once

#include <onnx/onnx_pb.h>

#include <span>
#include <string>

#include "modelserver/engines/onnx/input_shapes.h"
#include "shared/base/status.h"

namespace inferpool::modelserver::onnx_graph {

// Runs all passes; each has a header that describes it. `shapes` are the shapes with which the
// inputs will run, and `outputs` the names of the outputs that will be wanted. A graph that
// contains graphs (If, Loop) is not changed. Time and memory are limited by the file's size and by
// fixed limits. INVALID_ARGUMENT when the model is not valid ONNX (CheckModel, FoldConstants), has
// too large tensors (CheckSizes), or does not have a wanted output.
absl::Status RewriteForOpenCv(const InputShapes& shapes, std::span<const std::string> outputs,
                              onnx::ModelProto& model);

}  // namespace inferpool::modelserver::onnx_graph

// ONNX graphs as their exporters write them, made such that OpenCV 4.6 imports them and runs them
// fast (docs/decisions/0008). The answers stay the same up to rounding.
#pragma once

#include <onnx/onnx_pb.h>

#include <span>
#include <string>

#include "modelserver/engines/onnx/input_shapes.h"
#include "shared/base/status.h"

namespace inferpool::modelserver::onnx_graph {

// Runs the passes, each described in its own header. `shapes` are the inputs' as they will be run,
// `outputs` the names that will be asked for. A graph that contains graphs (If, Loop) is left as it
// is. Time and memory are bounded by the file's size and fixed limits. Error: INVALID_ARGUMENT when
// the model is not valid ONNX (CheckModel, FoldConstants), makes tensors beyond measure
// (CheckSizes), or has no such output.
absl::Status RewriteForOpenCv(const InputShapes& shapes, std::span<const std::string> outputs,
                              onnx::ModelProto& model);

}  // namespace inferpool::modelserver::onnx_graph

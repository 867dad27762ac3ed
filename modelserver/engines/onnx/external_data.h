// Reads weights that are stored beside an ONNX file (ONNX's ExternalData: "model.onnx.data" beside
// "model.onnx").
#pragma once

#include <onnx/onnx_pb.h>

#include <filesystem>

#include "shared/base/status.h"

namespace inferpool::modelserver::onnx_graph {

// Reads the tensors' external data from `folder`, which is the model file's, into `model`. Graphs
// within nodes are left alone. INVALID_ARGUMENT when a file is missing or too short, a location
// leads out of `folder`, or there are over 2 GiB in all, which OpenCV could not get in one message.
absl::Status ReadExternalData(const std::filesystem::path& folder, onnx::ModelProto& model);

}  // namespace inferpool::modelserver::onnx_graph

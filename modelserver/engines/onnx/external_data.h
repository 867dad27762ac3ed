// Weights that lie beside an ONNX file (ONNX's ExternalData: "model.onnx" and "model.onnx.data").
#pragma once

#include <onnx/onnx_pb.h>

#include <filesystem>

#include "shared/base/status.h"

namespace inferpool::modelserver::onnx_graph {

// Fetches the tensors' external data from below `folder`, the model file's, into `model`; no more
// than 2 GiB, as OpenCV is to get it in one message. Graphs within nodes are left alone.
//
// Error: INVALID_ARGUMENT for a file that is not there or is too short, and for a location that
// leads out of `folder`.
absl::Status ReadExternalData(const std::filesystem::path& folder, onnx::ModelProto& model);

}  // namespace inferpool::modelserver::onnx_graph

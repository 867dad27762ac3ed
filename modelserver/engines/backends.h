// The table of this server's backends. Only this file knows their names.
#pragma once

#include <filesystem>
#include <string_view>

#include "modelserver/engines/loaded_model.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

struct Backend {
  std::string_view name;
  // False when the backend reads no files of a version. A model without version folders then has
  // the version 1.
  bool needs_version_folder;
  // Loads the model in `version_folder`: completes what the configuration leaves out, and checks
  // the rest against the model.
  absl::StatusOr<LoadedModel> (*load)(const std::filesystem::path& version_folder,
                                      inference::ModelConfig config);
};

// Finds the backend that `backend` names, or `platform` when `backend` is empty; onnxruntime when
// both are, and for its platform "onnxruntime_onnx", as in Triton. INVALID_ARGUMENT, with the names
// that there are, when there is no such backend.
absl::StatusOr<const Backend*> FindBackend(const inference::ModelConfig& config);

}  // namespace inferpool::modelserver

// The backends this server has: the one place that knows their names.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

struct Backend {
  std::string_view name;
  // A model without version folders is its version 1: nothing of it need lie in one.
  bool needs_version_folder;
  // Completes what the configuration leaves out and checks the rest against the model in
  // `version_folder`. `class_names` gets the model file's own, if it has any.
  absl::Status (*complete)(const std::filesystem::path& version_folder,
                           inference::ModelConfig& config, std::vector<std::string>& class_names);
  // Makes one instance of a completed and checked configuration.
  absl::StatusOr<std::unique_ptr<Engine>> (*make)(const inference::ModelConfig& config,
                                                  const std::filesystem::path& version_folder);
};

// The backend of a configuration, by `backend`, else by `platform`; opencv_dnn when both are empty.
// Triton's ONNX backend (backend "onnxruntime", platform "onnxruntime_onnx") is served by
// opencv_dnn, so one repository does for both servers. Error: INVALID_ARGUMENT, with what there is.
absl::StatusOr<const Backend*> FindBackend(const inference::ModelConfig& config);

}  // namespace inferpool::modelserver

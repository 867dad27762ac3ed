// The table of this server's backends. Only this file knows their names.
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
  // False when the backend reads no files of a version. A model without version folders then has
  // the version 1.
  bool needs_version_folder;
  // Completes what the configuration leaves out, and checks the rest against the model in
  // `version_folder`. `class_names` gets the class names in the model's file, if it has any.
  absl::Status (*complete)(const std::filesystem::path& version_folder,
                           inference::ModelConfig& config, std::vector<std::string>& class_names);
  // Makes one instance of a configuration that is completed and has passed CheckConfig.
  absl::StatusOr<std::unique_ptr<Engine>> (*make)(const inference::ModelConfig& config,
                                                  const std::filesystem::path& version_folder);
};

// Finds the backend that `backend` names, or `platform` when `backend` is empty; opencv_dnn when
// both are. opencv_dnn also serves models of Triton's ONNX backend (backend "onnxruntime", platform
// "onnxruntime_onnx"), so that a repository can be used by both servers. INVALID_ARGUMENT, with the
// names that there are, when there is no such backend.
absl::StatusOr<const Backend*> FindBackend(const inference::ModelConfig& config);

}  // namespace inferpool::modelserver

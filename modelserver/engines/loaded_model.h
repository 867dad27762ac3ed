// What a backend has made of a version of a model.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

struct LoadedModel {
  // With what it left out completed, and the rest checked against the model.
  inference::ModelConfig config;
  // The class names in the model's file, if it has any.
  std::vector<std::string> class_names = {};
  // Makes one instance of the model. `config` is the one above after CheckConfig.
  std::function<absl::StatusOr<std::unique_ptr<Engine>>(const inference::ModelConfig& config)>
      make_engine = {};
};

}  // namespace inferpool::modelserver

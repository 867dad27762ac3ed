// What the operator says of a model in inferpool's own configuration, for model servers that do not
// say it themselves.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "proto/model_description.h"
#include "shared/base/status.h"

namespace inferpool::backend {

// What is given here wins over what the model server says.
struct ModelSettings {
  std::optional<std::int64_t> max_batch_size;
  std::vector<std::string> class_names;           // empty: the server's
  std::map<std::string, std::string> parameters;  // as in config.pbtxt, one by one
  std::vector<TensorSpec> inputs;                 // empty: the server's
  std::vector<TensorSpec> outputs;                // likewise
};

using SettingsByModel = std::map<std::string, ModelSettings>;

// Writes the settings over the description.
void Apply(const ModelSettings& settings, ModelDescription& description);

// INVALID_ARGUMENT names a parameter that there is not, or whose value is not allowed, and says
// what is.
absl::Status Check(const ModelSettings& settings);

// FAILED_PRECONDITION for a model of which neither the server nor the settings say what it is fed
// with; the text says what to set.
absl::Status CheckHasTensors(const ModelDescription& description);

}  // namespace inferpool::backend

#include "worker/backend/model_settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "worker/vision/parameters.h"

namespace inferpool::backend {

void Apply(const ModelSettings& settings, ModelDescription& description) {
  if (settings.max_batch_size) description.max_batch_size = *settings.max_batch_size;
  if (!settings.class_names.empty()) description.class_names = settings.class_names;
  for (const auto& [key, value] : settings.parameters) description.parameters[key] = value;
  if (!settings.inputs.empty()) description.inputs = settings.inputs;
  if (!settings.outputs.empty()) description.outputs = settings.outputs;
}

absl::Status Check(const ModelSettings& settings) {
  const auto names = vision::ParameterNames();
  for (const auto& [key, value] : settings.parameters) {
    if (std::ranges::find(names, key) != names.end()) continue;
    return absl::InvalidArgumentError(
        fmt::format("{} is not known; there are class_names, max_batch_size, inputs, outputs, {}",
                    key, fmt::join(names, ", ")));
  }
  const auto parameters = vision::ReadParameters(settings.parameters);
  return parameters.ok() ? absl::OkStatus()
                         : absl::InvalidArgumentError(std::string(Message(parameters.status())));
}

absl::Status CheckHasTensors(const ModelDescription& description) {
  const bool no_inputs = description.inputs.empty();
  const bool no_outputs = description.outputs.empty();
  if (!no_inputs && !no_outputs) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "model {0}: its model server does not name its {1}; set them in inferpool's configuration, "
      "for example \"models\": {{\"{0}\": {{\"family\": \"yolov8\", \"inputs\": [{{\"name\": "
      "\"images\", \"datatype\": \"FP32\", \"shape\": [1, 3, 640, 640]}}], \"outputs\": "
      "[{{\"name\": "
      "\"output0\", \"datatype\": \"FP32\", \"shape\": [1, 84, 8400]}}]}}}}",
      description.name,
      no_inputs && no_outputs ? "inputs and outputs" : (no_inputs ? "inputs" : "outputs")));
}

}  // namespace inferpool::backend

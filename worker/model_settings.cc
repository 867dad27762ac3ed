#include "worker/model_settings.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "shared/base/status.h"

namespace inferpool::worker {
namespace {

std::vector<TensorSpec> SpecsOf(const std::vector<Config::Model::Tensor>& tensors) {
  std::vector<TensorSpec> specs;
  std::ranges::transform(tensors, std::back_inserter(specs), [](const auto& tensor) {
    return TensorSpec{tensor.name, tensor.datatype, tensor.shape};
  });
  return specs;
}

}  // namespace

backend::SettingsByModel SettingsOf(const Config& config) {
  backend::SettingsByModel settings;
  for (const auto& [name, model] : config.models) {
    settings[name] = {.max_batch_size = model.max_batch_size,
                      .class_names = model.class_names,
                      .parameters = model.parameters,
                      .inputs = SpecsOf(model.inputs),
                      .outputs = SpecsOf(model.outputs)};
  }
  return settings;
}

std::vector<ConfigProblem> CheckModels(const Config& config) {
  std::vector<ConfigProblem> problems;
  for (const auto& [name, settings] : SettingsOf(config)) {
    if (const absl::Status status = backend::Check(settings); !status.ok()) {
      problems.push_back(
          {config.models.at(name).line, "models." + name, std::string(Message(status))});
    }
  }
  return problems;
}

}  // namespace inferpool::worker

#include "modelserver/model.h"

#include <fmt/format.h>

#include <algorithm>

#include "modelserver/backends.h"
#include "modelserver/class_names.h"
#include "modelserver/config_file.h"
#include "modelserver/request.h"

namespace inferpool::modelserver {
namespace {

// Callers that may wait for one model: enough for the busiest pool of workers (each has some ten
// threads), few enough that the last is served before its client has given up.
constexpr std::size_t kMaxWaiting = 256;

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> Model::Load(const std::filesystem::path& model_folder,
                                                   std::int64_t version,
                                                   inference::ModelConfig config) {
  const absl::StatusOr<const Backend*> backend = FindBackend(config);
  RETURN_IF_ERROR(backend.status());
  const std::filesystem::path version_folder = model_folder / std::to_string(version);
  if (config.backend().empty()) {
    config.set_backend(std::string((*backend)->name));
  }
  std::vector<std::string> class_names;
  RETURN_IF_ERROR((*backend)->complete(version_folder, config, class_names));
  RETURN_IF_ERROR(CheckConfig(config));
  RETURN_IF_ERROR(AddClassNames(model_folder, class_names, config));

  std::vector<std::unique_ptr<Engine>> instances;
  for (int i = 0; i < InstanceCount(config); ++i) {
    absl::StatusOr<std::unique_ptr<Engine>> instance = (*backend)->make(config, version_folder);
    RETURN_IF_ERROR(instance.status());
    instances.push_back(*std::move(instance));
  }
  return std::make_unique<Model>(std::move(config), version, std::move(instances));
}

Model::Model(inference::ModelConfig config, std::int64_t version,
             std::vector<std::unique_ptr<Engine>> instances)
    : config_(std::move(config)),
      version_(version),
      instances_(std::move(instances), kMaxWaiting) {}

absl::StatusOr<std::vector<OutputTensor>> Model::Infer(const TensorList& inputs,
                                                       std::span<const std::string_view> requested,
                                                       const Caller& caller) {
  const absl::StatusOr<std::vector<TensorView>> ordered = OrderInputs(config_, inputs);
  RETURN_IF_ERROR(ordered.status());
  RETURN_IF_ERROR(CheckRequestedOutputs(config_, requested));

  absl::StatusOr<std::vector<OutputTensor>> outputs = [&] {
    const absl::StatusOr<InstancePool::Lease> lease =
        instances_.Acquire(caller.deadline, caller.cancelled);
    return lease.ok() ? lease->engine().Run(*ordered) : lease.status();
  }();
  if (!outputs.ok() || requested.empty()) {
    return outputs;
  }
  std::vector<OutputTensor> chosen;
  for (const std::string_view name : requested) {
    const auto found = std::ranges::find(*outputs, name, &OutputTensor::name);
    if (found == outputs->end()) {
      return absl::InternalError(fmt::format("the engine made no output '{}'", name));
    }
    chosen.push_back(std::move(*found));
  }
  return chosen;
}

}  // namespace inferpool::modelserver

#include "modelserver/model.h"

#include <fmt/format.h>

#include "modelserver/backends.h"
#include "modelserver/class_names.h"
#include "modelserver/config_check.h"
#include "modelserver/config_file.h"
#include "modelserver/instance_pool.h"
#include "modelserver/request.h"
#include "modelserver/warmup.h"

namespace inferpool::modelserver {
namespace {

// Callers that may wait for one model: enough for the busiest pool of workers (each has some ten
// threads), few enough that the last is served before its client has given up.
constexpr std::size_t kMaxWaiting = 256;

class PoolRunner : public Runner {
 public:
  explicit PoolRunner(std::vector<std::unique_ptr<Engine>> instances)
      : instances_(std::move(instances), kMaxWaiting) {}

  absl::Status Run(std::span<const TensorView> inputs, Outputs& outputs, const Caller& caller,
                   Timings& /*timings*/) override {
    const absl::StatusOr<InstancePool::Lease> lease =
        instances_.Acquire(caller.deadline, caller.cancelled);
    RETURN_IF_ERROR(lease.status());
    Execution execution{.inputs = inputs, .outputs = &outputs, .status = {}};
    lease->engine().Run({&execution, 1});
    return execution.status;
  }

 private:
  InstancePool instances_;
};

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
  RETURN_IF_ERROR(WarmUp(config, model_folder, instances));
  return std::make_unique<Model>(std::move(config), version,
                                 std::make_unique<PoolRunner>(std::move(instances)));
}

Model::Model(inference::ModelConfig config, std::int64_t version, std::unique_ptr<Runner> runner)
    : config_(std::move(config)), version_(version), runner_(std::move(runner)) {}

absl::Status Model::Infer(const TensorList& inputs, Outputs& outputs, const Caller& caller) {
  const absl::StatusOr<std::vector<TensorView>> ordered = OrderInputs(config_, inputs);
  RETURN_IF_ERROR(ordered.status());
  Timings timings;
  RETURN_IF_ERROR(runner_->Run(*ordered, outputs, caller, timings));
  for (const Outputs::Output& output : outputs.wanted()) {
    if (!output.added) {
      return absl::InternalError(
          fmt::format("the engine made no output '{}'", config_.output(output.index).name()));
    }
  }
  return absl::OkStatus();
}

}  // namespace inferpool::modelserver

#include "modelserver/repository/model.h"

#include <fmt/format.h>

#include "modelserver/config/config_check.h"
#include "modelserver/config/config_file.h"
#include "modelserver/config/request_check.h"
#include "modelserver/config/reshape.h"
#include "modelserver/engines/backends.h"
#include "modelserver/execution/scheduler.h"
#include "modelserver/execution/warmup.h"
#include "shared/base/check.h"

namespace inferpool::modelserver {
namespace {

// Why a request failed that an executor was given. Executors are UNAVAILABLE only when they do not
// take a request, or no longer.
FailureReason ReasonOf(const absl::Status& status, bool ensemble) {
  switch (status.code()) {
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kDeadlineExceeded:
      return FailureReason::kCanceled;
    case absl::StatusCode::kUnavailable:
      return ensemble ? FailureReason::kOther : FailureReason::kRejected;
    default:
      return ensemble ? FailureReason::kOther : FailureReason::kBackend;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> Model::Load(const std::filesystem::path& model_folder,
                                                   std::int64_t version,
                                                   inference::ModelConfig config,
                                                   std::shared_ptr<AdmissionLimiter> limiter) {
  ASSIGN_OR_RETURN(const Backend* backend, FindBackend(config));
  const std::filesystem::path version_folder = model_folder / std::to_string(version);
  if (config.backend().empty()) {
    config.set_backend(std::string(backend->name));
  }
  ASSIGN_OR_RETURN(inference::ModelConfig engine_config, EngineConfig(config));
  ASSIGN_OR_RETURN(const LoadedModel loaded,
                   backend->load(version_folder, std::move(engine_config)));
  RETURN_IF_ERROR(CheckConfig(loaded.config));
  config = ClientConfig(loaded.config, config);
  ASSIGN_OR_RETURN(OutputLabels labels, AddClassNames(model_folder, loaded.class_names, config));
  FillDefaults(config);

  std::vector<std::unique_ptr<Engine>> instances;
  for (int i = 0; i < InstanceCount(config); ++i) {
    ASSIGN_OR_RETURN(std::unique_ptr<Engine> instance, loaded.make_engine(loaded.config));
    instances.push_back(std::move(instance));
  }
  RETURN_IF_ERROR(WarmUp(config, model_folder, instances));
  auto statistics = std::make_unique<ModelStatistics>();
  auto scheduler =
      std::make_unique<Scheduler>(config, std::move(instances), *statistics, std::move(limiter));
  return std::make_unique<Model>(std::move(config), std::move(labels), version,
                                 std::move(statistics), std::move(scheduler));
}

Model::Model(inference::ModelConfig config, OutputLabels labels, std::int64_t version,
             std::unique_ptr<ModelStatistics> statistics, std::unique_ptr<ModelExecutor> executor)
    : config_(std::move(config)),
      labels_(std::move(labels)),
      version_(version),
      statistics_(std::move(statistics)),
      executor_(std::move(executor)) {
  CHECK(labels_.size() == static_cast<std::size_t>(config_.output_size()));
  CHECK(statistics_ != nullptr && executor_ != nullptr);
}

absl::Status Model::Infer(const TensorList& inputs, Outputs& outputs, const InferContext& context) {
  const TimePoint start = Clock::now();
  absl::StatusOr<std::vector<TensorView>> ordered = OrderInputs(config_, inputs);
  RunTimes times;
  absl::Status status = ordered.status();
  const bool ensemble = config_.has_ensemble_scheduling();
  std::vector<std::vector<std::int64_t>> shapes;  // which `ordered` points to
  if (status.ok()) {
    shapes = ReshapeInputs(config_, *ordered);
    status = executor_->Run(*ordered, outputs, context, times);
  }
  if (status.ok()) {
    status = CheckComplete(outputs);
  }
  const Clock::duration total = Clock::now() - start;
  if (status.ok()) {
    const std::int64_t rows = config_.max_batch_size() > 0 ? RowsOf(*ordered) : 1;
    statistics_->Success(rows, total, times);
    if (ensemble) statistics_->Execution(rows, times);
  } else {
    statistics_->Failure(ordered.ok() ? ReasonOf(status, ensemble) : FailureReason::kOther, total);
  }
  return status;
}

absl::Status Model::CheckComplete(const Outputs& outputs) const {
  for (const Outputs::Output& output : outputs.wanted()) {
    if (!output.added) {
      return absl::InternalError(
          fmt::format("the engine made no output '{}'", config_.output(output.index).name()));
    }
  }
  return absl::OkStatus();
}

}  // namespace inferpool::modelserver

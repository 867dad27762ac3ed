// One version of one model that is ready to serve: its completed configuration and what runs it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "modelserver/config/class_names.h"
#include "modelserver/execution/admission_limiter.h"
#include "modelserver/execution/engine.h"
#include "modelserver/execution/model_executor.h"
#include "modelserver/execution/outputs.h"
#include "modelserver/execution/statistics.h"
#include "proto/model_config.pb.h"
#include "proto/tensor.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Thread safe. Its configuration does not change.
class Model {
 public:
  // Loads a version. `config` is what config.pbtxt says (ReadConfigFile); Load completes it. All
  // models of a server share `limiter`. Returns when all files are read and all instances made and
  // warmed up, or with the reason why the version cannot be served.
  static absl::StatusOr<std::unique_ptr<Model>> Load(
      const std::filesystem::path& model_folder, std::int64_t version,
      inference::ModelConfig config,
      std::shared_ptr<AdmissionLimiter> limiter = std::make_shared<AdmissionLimiter>());

  // `config` is complete, and `labels` has an element for each of its outputs.
  Model(inference::ModelConfig config, OutputLabels labels, std::int64_t version,
        std::unique_ptr<ModelStatistics> statistics, std::unique_ptr<ModelExecutor> executor);

  const inference::ModelConfig& config() const { return config_; }
  std::int64_t version() const { return version_; }

  // The names of the classes of output `index` of config(); empty when they are not known.
  std::span<const std::string> labels(int index) const {
    return labels_[static_cast<std::size_t>(index)];
  }

  // Checks the inputs, runs them, and counts the request in the statistics. `outputs` was made of
  // config(). When this is OK, all outputs that it wants are put. INVALID_ARGUMENT for inputs that
  // do not fit the configuration (request_check.h); the executor's errors.
  absl::Status Infer(const TensorList& inputs, Outputs& outputs, const InferContext& context);

  // Counts a request for this model that was refused before Infer, after `total`.
  void CountFailure(Clock::duration total) { statistics_->Failure(FailureReason::kOther, total); }

  ModelStatistics::Values statistics() const { return statistics_->Get(); }
  // The number of requests that wait to run.
  std::size_t pending() const { return executor_->pending(); }

 private:
  // INTERNAL when a wanted output is missing.
  absl::Status CheckComplete(const Outputs& outputs) const;

  const inference::ModelConfig config_;
  const OutputLabels labels_;
  const std::int64_t version_;
  const std::unique_ptr<ModelStatistics> statistics_;
  const std::unique_ptr<ModelExecutor> executor_;
};

}  // namespace inferpool::modelserver

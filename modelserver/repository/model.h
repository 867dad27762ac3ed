// One version of one model, ready to serve: its completed configuration and its instances.
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

// Immutable but for its executor; any number of threads may call Infer.
class Model {
 public:
  // Loads a version: `config` is what config.pbtxt says (ReadConfigFile), completed here. Takes as
  // long as reading the files and making all instances takes. Models that are served side by side
  // share `limiter`. Error: why it cannot be served.
  static absl::StatusOr<std::unique_ptr<Model>> Load(
      const std::filesystem::path& model_folder, std::int64_t version,
      inference::ModelConfig config,
      std::shared_ptr<AdmissionLimiter> limiter = std::make_shared<AdmissionLimiter>());

  // `config` is complete; `labels` has an element for each of its outputs.
  Model(inference::ModelConfig config, OutputLabels labels, std::int64_t version,
        std::unique_ptr<ModelStatistics> statistics, std::unique_ptr<ModelExecutor> executor);

  const inference::ModelConfig& config() const { return config_; }
  std::int64_t version() const { return version_; }

  // What the classes of output `index` of config() are called, as far as it is known.
  std::span<const std::string> labels(int index) const {
    return labels_[static_cast<std::size_t>(index)];
  }

  // Checks the inputs and runs them. `outputs` was made of config(); all its wanted outputs are put
  // when this is OK. Errors: INVALID_ARGUMENT for inputs that do not fit (request_check.h), the
  // executor's, the engine's.
  absl::Status Infer(const TensorList& inputs, Outputs& outputs, const InferContext& context);

  // A request for this model that was refused before Infer, after `total`.
  void CountFailure(Clock::duration total) { statistics_->Failure(total); }

  ModelStatistics::Values statistics() const { return statistics_->Get(); }
  std::size_t pending() const { return executor_->pending(); }

 private:
  // INTERNAL when the executor left a wanted output out.
  absl::Status CheckComplete(const Outputs& outputs) const;

  const inference::ModelConfig config_;
  const OutputLabels labels_;
  const std::int64_t version_;
  const std::unique_ptr<ModelStatistics> statistics_;
  const std::unique_ptr<ModelExecutor> executor_;
};

}  // namespace inferpool::modelserver

// One version of one model, ready to serve: its completed configuration and its instances.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "modelserver/engine.h"
#include "modelserver/instance_pool.h"
#include "proto/model_config.pb.h"
#include "proto/tensor.h"
#include "shared/deadline.h"
#include "shared/status.h"

namespace inferpool::modelserver {

// How long a caller is willing to wait. `cancelled` may be asked from the calling thread at any
// time.
struct Caller {
  Deadline deadline;
  std::function<bool()> cancelled;
};

// Immutable but for its pool; any number of threads may call Infer.
class Model {
 public:
  // Loads a version: `config` is what config.pbtxt says (ReadConfigFile), completed here. Takes as
  // long as reading the files and making all instances takes. Error: why it cannot be served.
  static absl::StatusOr<std::unique_ptr<Model>> Load(const std::filesystem::path& model_folder,
                                                     std::int64_t version,
                                                     inference::ModelConfig config);

  // `config` is complete; `instances` is not empty.
  Model(inference::ModelConfig config, std::int64_t version,
        std::vector<std::unique_ptr<Engine>> instances);

  const inference::ModelConfig& config() const { return config_; }
  std::int64_t version() const { return version_; }

  // Checks the request, waits for an instance (instance_pool.h has fairness and errors), runs.
  // `requested` names the outputs to answer, in that order; empty means all. Errors besides:
  // INVALID_ARGUMENT for a request that does not fit (request.h), the engine's.
  absl::StatusOr<std::vector<OutputTensor>> Infer(const TensorList& inputs,
                                                  std::span<const std::string_view> requested,
                                                  const Caller& caller);

 private:
  const inference::ModelConfig config_;
  const std::int64_t version_;
  InstancePool instances_;
};

}  // namespace inferpool::modelserver

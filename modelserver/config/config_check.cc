#include "modelserver/config/config_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "modelserver/config/config_file.h"
#include "proto/tensor.h"

namespace inferpool::modelserver {
namespace {

constexpr int kMaxInstances = 64;   // each holds its own weights
constexpr int kMaxBatch = 1024;     // far more than a CPU gains from
constexpr int kMaxTensors = 256;    // inputs, outputs
constexpr int kMaxDimensions = 16;  // OpenCV accepts 32, the batch included

template <typename Tensor>
absl::Status CheckTensors(std::string_view kind,
                          const google::protobuf::RepeatedPtrField<Tensor>& tensors) {
  if (tensors.empty() || tensors.size() > kMaxTensors) {
    return InvalidArgument("a model has 1 to {} {}s, this one {}", kMaxTensors, kind,
                           tensors.size());
  }
  std::unordered_set<std::string_view> names;
  for (const Tensor& tensor : tensors) {
    if (tensor.name().empty() || !names.insert(tensor.name()).second) {
      return InvalidArgument("{} '{}' needs a name of its own", kind, tensor.name());
    }
    if (DatatypeName(tensor.data_type()).empty()) {
      return InvalidArgument("{} '{}' has no data_type", kind, tensor.name());
    }
    if (tensor.dims_size() > kMaxDimensions) {
      return InvalidArgument("{} '{}' has over {} dims", kind, tensor.name(), kMaxDimensions);
    }
    if (std::ranges::any_of(tensor.dims(),
                            [](std::int64_t size) { return size < -1 || size == 0; })) {
      return InvalidArgument("{} '{}': a dimension is positive, or -1 when its size is free", kind,
                             tensor.name());
    }
    if (tensor.is_shape_tensor()) {
      return InvalidArgument("{} '{}': is_shape_tensor: shape tensors are not supported", kind,
                             tensor.name());
    }
    if (tensor.has_reshape()) {
      return InvalidArgument("{} '{}': an ensemble has no reshape: its models have it", kind,
                             tensor.name());
    }
  }
  return absl::OkStatus();
}

absl::Status CheckInstances(const inference::ModelConfig& config) {
  for (const inference::ModelInstanceGroup& group : config.instance_group()) {
    if (group.count() < 0 || group.count() > kMaxInstances) {
      return InvalidArgument("an instance_group's count is {}, allowed is 0 to {}", group.count(),
                             kMaxInstances);
    }
  }
  if (InstanceCount(config) > kMaxInstances) {
    return InvalidArgument("more than {} instances", kMaxInstances);
  }
  return absl::OkStatus();
}

absl::Status CheckPriorities(const inference::ModelDynamicBatching& batching) {
  const std::uint64_t levels = batching.priority_levels();
  const std::uint64_t level = batching.default_priority_level();
  if (levels == 0 ? level != 0 : level < 1 || level > levels) {
    return InvalidArgument("dynamic_batching.default_priority_level is {}, allowed is {}", level,
                           levels == 0 ? "0 as there are no priority_levels"
                                       : fmt::format("1 to the {} priority_levels", levels));
  }
  for (const auto& [of_level, policy] : batching.priority_queue_policy()) {
    if (of_level < 1 || of_level > levels) {
      return InvalidArgument(
          "dynamic_batching.priority_queue_policy is for level {} of {} priority_levels", of_level,
          levels);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckDynamicBatching(const inference::ModelConfig& config) {
  const inference::ModelDynamicBatching& batching = config.dynamic_batching();
  if (config.max_batch_size() == 0) {
    return InvalidArgument("dynamic_batching needs a max_batch_size of at least 1");
  }
  for (const int size : batching.preferred_batch_size()) {
    if (size < 1 || size > config.max_batch_size()) {
      return InvalidArgument(
          "dynamic_batching.preferred_batch_size is {}, allowed is 1 to max_batch_size {}", size,
          config.max_batch_size());
    }
  }
  return CheckPriorities(batching);
}

absl::Status CheckScheduling(const inference::ModelConfig& config) {
  if (config.has_sequence_batching()) {
    return InvalidArgument("sequence_batching: sequences of requests are not supported");
  }
  if (config.model_transaction_policy().decoupled()) {
    return InvalidArgument(
        "model_transaction_policy: decoupled models (any number of responses to a request) are not "
        "supported");
  }
  if (!config.batch_input().empty() || !config.batch_output().empty()) {
    return InvalidArgument(
        "batch_input, batch_output: tensors that the server makes of a batch, or deals out to its "
        "requests, are not supported");
  }
  if (!IsEnsemble(config)) {
    return config.has_dynamic_batching() ? CheckDynamicBatching(config) : absl::OkStatus();
  }
  if (!config.has_ensemble_scheduling() ||
      (config.platform() != "ensemble" && !config.platform().empty())) {
    return InvalidArgument("an ensemble has the platform \"ensemble\" and ensemble_scheduling");
  }
  if (!config.instance_group().empty() || !config.backend().empty()) {
    return InvalidArgument(
        "an ensemble has no backend and no instance_group: its models have them");
  }
  return absl::OkStatus();
}

}  // namespace

bool IsEnsemble(const inference::ModelConfig& config) {
  return config.has_ensemble_scheduling() || config.platform() == "ensemble";
}

bool IsOnnx(const inference::ModelConfig& config) {
  const std::string& name = config.backend().empty() ? config.platform() : config.backend();
  return !IsEnsemble(config) &&
         (name.empty() || name == "onnxruntime" || name == "onnxruntime_onnx");
}

absl::Status CheckConfig(const inference::ModelConfig& config) {
  RETURN_IF_ERROR(CheckScheduling(config));
  if (config.max_batch_size() < 0 || config.max_batch_size() > kMaxBatch) {
    return InvalidArgument("max_batch_size is {}, allowed is 0 to {}", config.max_batch_size(),
                           kMaxBatch);
  }
  RETURN_IF_ERROR(CheckTensors("input", config.input()));
  RETURN_IF_ERROR(CheckTensors("output", config.output()));
  return CheckInstances(config);
}

std::vector<std::string> UnusedSettings(const inference::ModelConfig& config) {
  std::vector<std::string> unused;
  const auto unused_when = [&unused](bool set, const char* name) {
    if (set) unused.emplace_back(name);
  };
  const auto any_group = [&config](auto uses) {
    return std::ranges::any_of(config.instance_group(), uses);
  };
  const auto any_input = [&config](auto uses) { return std::ranges::any_of(config.input(), uses); };
  using Input = inference::ModelInput;
  unused_when(!IsOnnx(config) && any_input([](const Input& input) { return input.optional(); }),
              "input.optional: requests must have it");
  unused_when(any_input([](const Input& input) { return input.allow_ragged_batch(); }),
              "input.allow_ragged_batch: other shapes run in batches of their own");
  using Group = inference::ModelInstanceGroup;
  unused_when(config.response_cache().enable(), "response_cache");
  inference::ModelOptimizationPolicy optimization = config.optimization();
  if (IsOnnx(config)) {
    optimization.clear_graph();
  }
  unused_when(optimization.ByteSizeLong() > 0, "optimization");
  unused_when(!config.cc_model_filenames().empty(), "cc_model_filenames");
  unused_when(!config.model_operations().op_library_filename().empty(), "model_operations");
  unused_when(!config.model_repository_agents().agents().empty(), "model_repository_agents");
  unused_when(!config.model_metrics().metric_control().empty(), "model_metrics");
  const auto non_linear = [](const auto& tensor) { return tensor.is_non_linear_format_io(); };
  unused_when(std::ranges::any_of(config.input(), non_linear) ||
                  std::ranges::any_of(config.output(), non_linear),
              "is_non_linear_format_io");
  unused_when(!config.metric_tags().empty(), "metric_tags");
  unused_when(!config.runtime().empty(), "runtime");
  unused_when(any_group([](const Group& group) { return group.kind() == Group::KIND_GPU; }),
              "instance_group.kind: KIND_GPU");
  unused_when(any_group([](const Group& group) {
                return group.has_rate_limiter() || group.passive() || !group.profile().empty() ||
                       !group.secondary_devices().empty() || !group.host_policy().empty();
              }),
              "instance_group: rate_limiter, passive, profile, secondary_devices, host_policy");
  unused_when(IsEnsemble(config) && !config.model_warmup().empty(), "model_warmup of an ensemble");
  unused_when(config.ensemble_scheduling().max_inflight_requests() > 0,
              "ensemble_scheduling.max_inflight_requests");
  unused_when(std::ranges::any_of(config.ensemble_scheduling().step(),
                                  [](const inference::ModelEnsembling::Step& step) {
                                    return !step.model_namespace().empty();
                                  }),
              "ensemble_scheduling.step.model_namespace");
  return unused;
}

}  // namespace inferpool::modelserver

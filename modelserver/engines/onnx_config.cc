#include "modelserver/engines/onnx_config.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <span>

#include "modelserver/config/config_file.h"
#include "proto/datatype.h"

namespace inferpool::modelserver {
namespace {

constexpr int kMaxThreads = 1024;
constexpr unsigned kMaxInstances = 64;

bool Batches(const ort::TensorType& tensor) {
  return !tensor.shape.empty() && tensor.shape[0] == -1;
}

// An engine that runs a batch row by row serves any batch with a file made for one row.
bool CanBatch(const ort::TensorType& tensor) {
  return Batches(tensor) || (!tensor.shape.empty() && tensor.shape[0] == 1);
}

// Whether the tensors that the configuration describes are written without the batch dimension.
template <typename Tensor>
bool WrittenWithoutBatch(const google::protobuf::RepeatedPtrField<Tensor>& configured,
                         const std::vector<ort::TensorType>& tensors) {
  return std::ranges::all_of(configured, [&](const Tensor& tensor) {
    const auto found = std::ranges::find(tensors, tensor.name(), &ort::TensorType::name);
    return found == tensors.end() || tensor.dims().empty() ||
           static_cast<std::size_t>(tensor.dims_size()) + 1 == found->shape.size();
  });
}

template <typename Tensor>
absl::Status CompleteTensor(std::string_view kind, const ort::TensorType& file, bool batch,
                            Tensor& tensor) {
  std::span<const std::int64_t> shape = file.shape;
  if (file.datatype == inference::TYPE_INVALID) {
    return InvalidArgument(
        "the model file's {} '{}' is not a tensor of a type that KServe has; config.pbtxt may name "
        "the outputs to serve",
        kind, file.name);
  }
  if (batch) {
    if (!CanBatch(file)) {
      return InvalidArgument(
          "max_batch_size is over 0, but the model file's {} '{}' has the shape {}, whose first "
          "dimension is neither open nor 1",
          kind, file.name, ShapeText(shape));
    }
    shape = shape.subspan(1);
  }
  if (tensor.data_type() == inference::TYPE_INVALID) {
    tensor.set_data_type(file.datatype);
  }
  if (tensor.data_type() != file.datatype) {
    return InvalidArgument("{} '{}' is {} in the configuration, {} in the model file", kind,
                           file.name, DatatypeName(tensor.data_type()),
                           DatatypeName(file.datatype));
  }
  if (tensor.dims().empty()) {
    tensor.mutable_dims()->Add(shape.begin(), shape.end());
  }
  // A file may leave the number of dimensions open too; the runtime then gives none.
  const bool any_shape = file.shape.empty();
  if (!any_shape &&
      !std::ranges::equal(tensor.dims(), shape, [](std::int64_t configured, std::int64_t actual) {
        return actual == -1 || configured == actual;
      })) {
    const std::vector<std::int64_t> dims(tensor.dims().begin(), tensor.dims().end());
    return InvalidArgument("{} '{}' has the dims {} in the configuration, {} in the model file{}",
                           kind, file.name, ShapeText(dims), ShapeText(shape),
                           batch ? " after the batch" : " (max_batch_size is 0)");
  }
  return absl::OkStatus();
}

template <typename Tensor>
absl::Status CompleteTensors(std::string_view kind, const std::vector<ort::TensorType>& file,
                             bool batch, bool add_missing,
                             google::protobuf::RepeatedPtrField<Tensor>& tensors) {
  for (const Tensor& tensor : tensors) {
    if (std::ranges::find(file, tensor.name(), &ort::TensorType::name) == file.end()) {
      return InvalidArgument("the model file has no {} '{}'", kind, tensor.name());
    }
  }
  for (const ort::TensorType& wanted : file) {
    auto found = std::ranges::find(tensors, wanted.name, &Tensor::name);
    if (found == tensors.end()) {
      if (!add_missing || wanted.optional) {
        continue;
      }
      tensors.Add()->set_name(wanted.name);
      found = tensors.end() - 1;
    }
    RETURN_IF_ERROR(CompleteTensor(kind, wanted, batch, *found));
  }
  return absl::OkStatus();
}

// Gives the pictures among the inputs, if their sides are open and the configuration says nothing
// of them, the sides that the network was made for: who sends pictures has to know a size.
void NameSides(const std::vector<ort::TensorType>& inputs, const UltralyticsSize& size, bool batch,
               inference::ModelConfig& config) {
  for (const ort::TensorType& input : inputs) {
    std::vector<std::int64_t> shape = input.shape;
    if (shape.size() != 4 || shape[2] != -1 || shape[3] != -1) {
      continue;
    }
    shape[2] = size.height;
    shape[3] = size.width;
    auto configured =
        std::ranges::find(*config.mutable_input(), input.name, &inference::ModelInput::name);
    if (configured == config.mutable_input()->end()) {
      config.add_input()->set_name(input.name);
      configured = config.mutable_input()->end() - 1;
    }
    if (configured->dims().empty()) {
      configured->mutable_dims()->Add(shape.begin() + (batch ? 1 : 0), shape.end());
    }
  }
}

// Calls `visit` with each tensor that the configuration has and its type in the file.
template <typename Tensor, typename Visit>
void ForEach(const google::protobuf::RepeatedPtrField<Tensor>& tensors,
             const std::vector<ort::TensorType>& file, Visit visit) {
  for (const Tensor& tensor : tensors) {
    const auto found = std::ranges::find(file, tensor.name(), &ort::TensorType::name);
    if (found != file.end()) {
      visit(tensor, *found);
    }
  }
}

absl::StatusOr<int> WholeParameter(const inference::ModelConfig& config, const std::string& key,
                                   int max, int fallback) {
  ASSIGN_OR_RETURN(const double value, NumberParameter(config, key, 0, max, fallback));
  if (value != std::floor(value)) {
    return InvalidArgument("parameter '{}' is not a whole number", key);
  }
  return static_cast<int>(value);
}

absl::StatusOr<ort::OptimizationLevel> OptimizationOf(const inference::ModelConfig& config) {
  switch (config.optimization().graph().level()) {
    case -1:
      return ort::kBasic;
    case 0:
      return ort::kAll;
    case 1:
      return ort::kExtended;
    case 2:
      return ort::kDisableAll;
    default:
      return InvalidArgument(
          "optimization.graph.level is {}; -1 is basic, 0 all, 1 extended, 2 no optimizations",
          config.optimization().graph().level());
  }
}

}  // namespace

absl::Status CompleteFromOnnx(const OnnxDescription& file, bool may_batch,
                              inference::ModelConfig& config) {
  const auto batches = [](const ort::TensorType& input) {
    return input.optional || Batches(input);
  };
  if (may_batch && config.max_batch_size() == 0 && std::ranges::all_of(file.inputs, batches) &&
      std::ranges::all_of(file.outputs, Batches) &&
      WrittenWithoutBatch(config.input(), file.inputs) &&
      WrittenWithoutBatch(config.output(), file.outputs)) {
    config.set_max_batch_size(kDefaultMaxBatchSize);
  }
  const bool batch = config.max_batch_size() > 0;
  if (file.picture_size) {
    NameSides(file.inputs, *file.picture_size, batch, config);
  }
  RETURN_IF_ERROR(CompleteTensors("input", file.inputs, batch, true, *config.mutable_input()));
  for (const inference::ModelInput& input : config.input()) {
    const auto found = std::ranges::find(file.inputs, input.name(), &ort::TensorType::name);
    if (input.optional() && !found->optional) {
      return InvalidArgument(
          "input '{}' is optional in the configuration, but has no value in the model file",
          input.name());
    }
  }
  return CompleteTensors("output", file.outputs, batch, config.output().empty(),
                         *config.mutable_output());
}

bool RunsRowByRow(const OnnxDescription& file, const inference::ModelConfig& config) {
  bool fixed = false;
  const auto look = [&fixed](const auto& /*tensor*/, const ort::TensorType& type) {
    fixed = fixed || !Batches(type);
  };
  ForEach(config.input(), file.inputs, look);
  ForEach(config.output(), file.outputs, look);
  return config.max_batch_size() > 0 && fixed;
}

absl::StatusOr<std::vector<std::pair<std::string, std::int64_t>>> NamedSizes(
    const OnnxDescription& file, const inference::ModelConfig& config) {
  const std::size_t skipped = config.max_batch_size() > 0 ? 1 : 0;
  std::map<std::string, std::int64_t> sizes;
  absl::Status status;
  ForEach(config.input(), file.inputs,
          [&](const inference::ModelInput& input, const ort::TensorType& type) {
            for (int i = 0; i < input.dims_size(); ++i) {
              const std::size_t at = static_cast<std::size_t>(i) + skipped;
              const std::int64_t size = input.dims(i);
              if (size == -1 || at >= type.shape.size() || type.shape[at] != -1 ||
                  type.symbols[at].empty()) {
                continue;
              }
              const auto [found, added] = sizes.emplace(type.symbols[at], size);
              if (!added && found->second != size) {
                status = InvalidArgument(
                    "the configuration gives the model file's dimension '{}' the sizes {} and {}",
                    found->first, found->second, size);
              }
            }
          });
  RETURN_IF_ERROR(status);
  if (skipped > 0) {
    for (const ort::TensorType& input : file.inputs) {
      if (!input.symbols.empty()) sizes.erase(input.symbols[0]);  // the batch
    }
  }
  return std::vector<std::pair<std::string, std::int64_t>>(sizes.begin(), sizes.end());
}

absl::StatusOr<ort::SessionSettings> SettingsOf(const inference::ModelConfig& config) {
  ort::SessionSettings settings{.log_id = config.name()};
  ASSIGN_OR_RETURN(settings.intra_op_threads,
                   WholeParameter(config, "intra_op_thread_count", kMaxThreads, 1));
  ASSIGN_OR_RETURN(settings.inter_op_threads,
                   WholeParameter(config, "inter_op_thread_count", kMaxThreads, 1));
  ASSIGN_OR_RETURN(const int mode, WholeParameter(config, "execution_mode", 1, 0));
  settings.parallel = mode == 1;
  ASSIGN_OR_RETURN(settings.optimization, OptimizationOf(config));
  return settings;
}

void CompleteInstances(const ort::SessionSettings& settings, unsigned cores,
                       inference::ModelConfig& config) {
  if (!config.instance_group().empty()) {
    return;
  }
  const auto threads = static_cast<unsigned>(settings.intra_op_threads);
  const unsigned count = threads == 0 ? 1 : std::clamp(cores / threads, 1U, kMaxInstances);
  inference::ModelInstanceGroup& group = *config.add_instance_group();
  group.set_name(config.name());
  group.set_count(static_cast<int>(count));
}

}  // namespace inferpool::modelserver

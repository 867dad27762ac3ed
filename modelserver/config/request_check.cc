#include "modelserver/config/request_check.h"

#include <algorithm>
#include <numeric>

#include "modelserver/config/config_check.h"

namespace inferpool::modelserver {
namespace {

bool Fits(std::span<const std::int64_t> shape, std::span<const std::int64_t> expected) {
  return std::ranges::equal(shape, expected, [](std::int64_t size, std::int64_t wanted) {
    return wanted == -1 || size == wanted;
  });
}

absl::Status CheckInput(const inference::ModelConfig& config, const inference::ModelInput& input,
                        const TensorView& tensor) {
  if (tensor.datatype != input.data_type()) {
    return InvalidArgument("input '{}' of model '{}' has datatype {}, expected {}", input.name(),
                           config.name(), DatatypeName(tensor.datatype),
                           DatatypeName(input.data_type()));
  }
  const std::vector<std::int64_t> expected = WireShape(config, input.dims());
  if (!Fits(tensor.shape, expected)) {
    return InvalidArgument("input '{}' of model '{}' has shape {}, expected {}", input.name(),
                           config.name(), ShapeText(tensor.shape), ShapeText(expected));
  }
  if (config.max_batch_size() > 0 &&
      (tensor.shape[0] < 1 || tensor.shape[0] > config.max_batch_size())) {
    return InvalidArgument("input '{}' of model '{}' has a batch of {}, allowed is 1 to {}",
                           input.name(), config.name(), tensor.shape[0], config.max_batch_size());
  }
  return absl::OkStatus();
}

}  // namespace

std::int64_t RowsOf(std::span<const TensorView> inputs) {
  const auto input = std::ranges::find_if(inputs, IsThere);
  return input == inputs.end() || input->shape.empty() ? 1 : input->shape[0];
}

absl::StatusOr<std::vector<TensorView>> OrderInputs(const inference::ModelConfig& config,
                                                    const TensorList& inputs) {
  std::vector<TensorView> ordered;
  std::size_t missing = 0;
  ordered.reserve(inputs.tensors().size());
  for (const inference::ModelInput& input : config.input()) {
    const TensorView* tensor = inputs.Find(input.name());
    if (tensor == nullptr && input.optional() && IsOnnx(config)) {
      ordered.push_back({.name = input.name(), .shape = {}, .data = {}});
      ++missing;
      continue;
    }
    if (tensor == nullptr) {
      return InvalidArgument("the request lacks input '{}' of model '{}'{}", input.name(),
                             config.name(),
                             input.optional() ? "; optional inputs are ONNX models' alone" : "");
    }
    RETURN_IF_ERROR(CheckInput(config, input, *tensor));
    if (config.max_batch_size() > 0 && ordered.size() > missing &&
        RowsOf(ordered) != tensor->shape[0]) {
      return InvalidArgument("the inputs of model '{}' differ in their batch", config.name());
    }
    ordered.push_back(*tensor);
  }
  if (inputs.tensors().size() != ordered.size() - missing) {
    return InvalidArgument("model '{}' takes {} inputs, the request has {}", config.name(),
                           config.input_size(), inputs.tensors().size());
  }
  return ordered;
}

absl::StatusOr<std::vector<int>> ChooseOutputs(const inference::ModelConfig& config,
                                               std::span<const std::string_view> requested) {
  std::vector<int> chosen;
  if (requested.empty()) {
    chosen.resize(static_cast<std::size_t>(config.output_size()));
    std::iota(chosen.begin(), chosen.end(), 0);
    return chosen;
  }
  for (const std::string_view name : requested) {
    const auto found = std::ranges::find(config.output(), name, &inference::ModelOutput::name);
    if (found == config.output().end()) {
      return InvalidArgument("unexpected inference output '{}' for model '{}'", name,
                             config.name());
    }
    const auto index = static_cast<int>(found - config.output().begin());
    if (std::ranges::find(chosen, index) != chosen.end()) {
      return InvalidArgument("output '{}' of model '{}' is requested twice", name, config.name());
    }
    chosen.push_back(index);
  }
  return chosen;
}

std::vector<std::int64_t> WireShape(const inference::ModelConfig& config,
                                    const google::protobuf::RepeatedField<std::int64_t>& dims) {
  std::vector<std::int64_t> shape;
  if (config.max_batch_size() > 0) {
    shape.push_back(-1);
  }
  shape.insert(shape.end(), dims.begin(), dims.end());
  return shape;
}

}  // namespace inferpool::modelserver

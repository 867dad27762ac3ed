#include "modelserver/config/reshape.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "shared/base/check.h"

namespace inferpool::modelserver {
namespace {

std::span<const std::int64_t> View(const Dims& dims) {
  return {dims.data(), static_cast<std::size_t>(dims.size())};
}

// The numbers of elements before, between and after the dimensions of -1.
absl::StatusOr<std::vector<std::int64_t>> Counts(std::span<const std::int64_t> shape) {
  std::vector<std::int64_t> counts;
  while (true) {
    const auto open = std::ranges::find(shape, -1);
    const auto known = static_cast<std::size_t>(open - shape.begin());
    ASSIGN_OR_RETURN(const std::int64_t count, ElementCount(shape.first(known)));
    counts.push_back(count);
    if (open == shape.end()) {
      return counts;
    }
    shape = shape.subspan(known + 1);
  }
}

template <typename Tensor>
absl::Status ToEngine(std::string_view kind, google::protobuf::RepeatedPtrField<Tensor>& tensors) {
  for (Tensor& tensor : tensors) {
    if (!tensor.has_reshape()) {
      continue;
    }
    const auto dims = Counts(View(tensor.dims()));
    const auto shape = Counts(View(tensor.reshape().shape()));
    if (tensor.dims().empty() || !dims.ok() || !shape.ok() || *dims != *shape) {
      return InvalidArgument("{} '{}': reshape to {} does not have the elements of the dims {}",
                             kind, tensor.name(), ShapeText(View(tensor.reshape().shape())),
                             ShapeText(View(tensor.dims())));
    }
    *tensor.mutable_dims() = tensor.reshape().shape();
    tensor.clear_reshape();
  }
  return absl::OkStatus();
}

// Backends only add tensors after the configured ones, so the indices agree.
template <typename Tensor>
void ToClient(const google::protobuf::RepeatedPtrField<Tensor>& configured,
              google::protobuf::RepeatedPtrField<Tensor>& tensors) {
  for (int i = 0; i < std::min(configured.size(), tensors.size()); ++i) {
    if (configured[i].has_reshape()) {
      *tensors[i].mutable_dims() = configured[i].dims();
      *tensors[i].mutable_reshape() = configured[i].reshape();
    }
  }
}

}  // namespace

absl::StatusOr<inference::ModelConfig> EngineConfig(inference::ModelConfig config) {
  RETURN_IF_ERROR(ToEngine("input", *config.mutable_input()));
  RETURN_IF_ERROR(ToEngine("output", *config.mutable_output()));
  return config;
}

inference::ModelConfig ClientConfig(inference::ModelConfig completed,
                                    const inference::ModelConfig& configured) {
  ToClient(configured.input(), *completed.mutable_input());
  ToClient(configured.output(), *completed.mutable_output());
  return completed;
}

absl::StatusOr<std::vector<std::int64_t>> Reshaped(std::span<const std::int64_t> shape, bool batch,
                                                   const Dims& from, const Dims& to) {
  const std::size_t rows = batch ? 1 : 0;
  if (shape.size() != rows + static_cast<std::size_t>(from.size())) {
    return absl::InternalError(fmt::format("a tensor that is to have the dims {} has the shape {}",
                                           ShapeText(View(from)), ShapeText(shape)));
  }
  std::vector<std::int64_t> reshaped(shape.begin(), shape.begin() + static_cast<int>(rows));
  int open = -1;
  for (const std::int64_t size : to) {
    if (size == -1) {
      open = static_cast<int>(std::find(from.begin() + open + 1, from.end(), -1) - from.begin());
      reshaped.push_back(shape[rows + static_cast<std::size_t>(open)]);
    } else {
      reshaped.push_back(size);
    }
  }
  return reshaped;
}

std::vector<std::vector<std::int64_t>> ReshapeInputs(const inference::ModelConfig& config,
                                                     std::span<TensorView> inputs) {
  std::vector<std::vector<std::int64_t>> shapes;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const inference::ModelInput& input = config.input(static_cast<int>(i));
    if (input.has_reshape() && inputs[i].datatype != inference::TYPE_INVALID) {
      absl::StatusOr<std::vector<std::int64_t>> shape = Reshaped(
          inputs[i].shape, config.max_batch_size() > 0, input.dims(), input.reshape().shape());
      CHECK(shape.ok());  // OrderInputs has checked the number of dimensions
      shapes.push_back(*std::move(shape));
      inputs[i].shape = shapes.back();
    }
  }
  return shapes;
}

}  // namespace inferpool::modelserver

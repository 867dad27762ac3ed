// Inference on a model, for tests that want its outputs as values.
#pragma once

#include <chrono>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "modelserver/config/request_check.h"
#include "modelserver/repository/model.h"

namespace inferpool::modelserver {

struct OutputTensor {
  std::string name;
  inference::DataType datatype = inference::TYPE_INVALID;
  std::vector<std::int64_t> shape;
  std::string data;
};

inline InferContext Patient() {
  return {.deadline = Deadline::After(std::chrono::minutes(1)), .gone = {}};
}

// The outputs in `requested`'s order; all when it is empty.
inline absl::StatusOr<std::vector<OutputTensor>> Infer(
    Model& model, const inference::ModelInferRequest& request,
    const std::vector<std::string_view>& requested = {}, const InferContext& context = Patient()) {
  const auto inputs = ReadInputs(request);
  RETURN_IF_ERROR(inputs.status());
  const auto chosen = ChooseOutputs(model.config(), requested);
  RETURN_IF_ERROR(chosen.status());
  Outputs outputs(model.config());
  for (const int index : *chosen) outputs.Want(index);
  RETURN_IF_ERROR(model.Infer(*inputs, outputs, context));
  std::vector<OutputTensor> answered;
  for (const Outputs::Output& output : outputs.wanted()) {
    const TensorView view = outputs.View(output);
    answered.push_back(
        {std::string(view.name),
         view.datatype,
         {view.shape.begin(), view.shape.end()},
         std::string(reinterpret_cast<const char*>(view.data.data()), view.data.size())});
  }
  return answered;
}

template <typename T>
std::vector<T> Values(const OutputTensor& tensor) {
  std::vector<T> values(tensor.data.size() / sizeof(T));
  std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  return values;
}

}  // namespace inferpool::modelserver

#include "modelserver/engines/add_sub.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace inferpool::modelserver {
namespace {

// Integers in their unsigned type, where overflow is defined and means the same bits. In at least
// 32 bits, as smaller ones would be promoted to int.
template <typename T>
struct Arithmetic {
  using Type = T;
};
template <typename T>
requires std::is_integral_v<T>
struct Arithmetic<T> {
  using Type = std::conditional_t<(sizeof(T) > 4), std::uint64_t, std::uint32_t>;
};

template <typename T>
T Sum(T a, T b) {
  using Wide = typename Arithmetic<T>::Type;
  return static_cast<T>(static_cast<Wide>(a) + static_cast<Wide>(b));
}

template <typename T>
T Difference(T a, T b) {
  using Wide = typename Arithmetic<T>::Type;
  return static_cast<T>(static_cast<Wide>(a) - static_cast<Wide>(b));
}

// `calculate` on each pair of elements. Tensors of other origin than a message, shared memory say,
// need not be aligned.
template <typename T, typename Calculate>
absl::Status PutNumbers(std::span<const TensorView> inputs, int index, Calculate calculate,
                        Outputs& outputs) {
  if (!outputs.Wanted(index)) {
    return absl::OkStatus();
  }
  const std::span<const std::byte> a = inputs[0].data;
  const std::span<const std::byte> b = inputs[1].data;
  ASSIGN_OR_RETURN(const std::span<std::byte> memory,
                   outputs.Add(index, inputs[0].shape, a.size()));
  for (std::size_t at = 0; at + sizeof(T) <= a.size(); at += sizeof(T)) {
    T left{};
    T right{};
    std::memcpy(&left, a.data() + at, sizeof left);
    std::memcpy(&right, b.data() + at, sizeof right);
    const T result = calculate(left, right);
    std::memcpy(memory.data() + at, &result, sizeof result);
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status AddNumbers(std::span<const TensorView> inputs, Outputs& outputs) {
  RETURN_IF_ERROR(PutNumbers<T>(inputs, 0, Sum<T>, outputs));
  return PutNumbers<T>(inputs, 1, Difference<T>, outputs);
}

absl::StatusOr<std::vector<std::int64_t>> ReadIntegers(const TensorView& tensor) {
  ASSIGN_OR_RETURN(const std::int64_t count, ElementCount(tensor.shape));
  ASSIGN_OR_RETURN(const std::vector<std::string_view> elements, DecodeBytes(tensor.data, count));
  std::vector<std::int64_t> numbers;
  numbers.reserve(elements.size());
  for (const std::string_view element : elements) {
    std::int64_t number = 0;
    const char* end = element.data() + element.size();
    const auto [rest, error] = std::from_chars(element.data(), end, number);
    if (error != std::errc() || rest != end) {
      return InvalidArgument("input '{}': '{}' is no 64-bit integer", tensor.name,
                             element.substr(0, 40));
    }
    numbers.push_back(number);
  }
  return numbers;
}

absl::Status AddTexts(std::span<const TensorView> inputs, Outputs& outputs) {
  ASSIGN_OR_RETURN(const std::vector<std::int64_t> a, ReadIntegers(inputs[0]));
  ASSIGN_OR_RETURN(const std::vector<std::int64_t> b, ReadIntegers(inputs[1]));
  std::string sums;
  std::string differences;
  for (std::size_t i = 0; i < a.size(); ++i) {
    AppendBytesElement(std::to_string(Sum(a[i], b[i])), sums);
    AppendBytesElement(std::to_string(Difference(a[i], b[i])), differences);
  }
  RETURN_IF_ERROR(outputs.Put(0, inputs[0].shape, std::as_bytes(std::span(sums))));
  return outputs.Put(1, inputs[0].shape, std::as_bytes(std::span(differences)));
}

using Operation = absl::Status (*)(std::span<const TensorView> inputs, Outputs& outputs);

// Null for a datatype that cannot be added.
Operation OperationOf(inference::DataType datatype) {
  switch (datatype) {
    case inference::TYPE_UINT8:
      return AddNumbers<std::uint8_t>;
    case inference::TYPE_UINT16:
      return AddNumbers<std::uint16_t>;
    case inference::TYPE_UINT32:
      return AddNumbers<std::uint32_t>;
    case inference::TYPE_UINT64:
      return AddNumbers<std::uint64_t>;
    case inference::TYPE_INT8:
      return AddNumbers<std::int8_t>;
    case inference::TYPE_INT16:
      return AddNumbers<std::int16_t>;
    case inference::TYPE_INT32:
      return AddNumbers<std::int32_t>;
    case inference::TYPE_INT64:
      return AddNumbers<std::int64_t>;
    case inference::TYPE_FP32:
      return AddNumbers<float>;
    case inference::TYPE_FP64:
      return AddNumbers<double>;
    case inference::TYPE_STRING:
      return AddTexts;
    default:
      return nullptr;
  }
}

class AddSubEngine : public OneByOneEngine {
 public:
  explicit AddSubEngine(Operation operation) : operation_(operation) {}

  bool instant() const override { return true; }

 private:
  absl::Status RunOne(std::span<const TensorView> inputs, Outputs& outputs) override {
    if (!std::ranges::equal(inputs[0].shape, inputs[1].shape)) {
      return InvalidArgument("inputs '{}' and '{}' differ in their shape: {} and {}",
                             inputs[0].name, inputs[1].name, ShapeText(inputs[0].shape),
                             ShapeText(inputs[1].shape));
    }
    try {
      return operation_(inputs, outputs);
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError("out of memory");
    }
  }

  const Operation operation_;
};

}  // namespace

absl::Status CompleteAddSub(inference::ModelConfig& config) {
  if (config.output().empty() && !config.input().empty()) {
    for (const char* name : {"OUTPUT0", "OUTPUT1"}) {
      inference::ModelOutput& output = *config.add_output();
      output.set_name(name);
      output.set_data_type(config.input(0).data_type());
      *output.mutable_dims() = config.input(0).dims();
    }
  }
  const auto same = [&config](const auto& tensor) {
    return tensor.data_type() == config.input(0).data_type() &&
           std::ranges::equal(tensor.dims(), config.input(0).dims());
  };
  if (config.input_size() != 2 || config.output_size() != 2 ||
      OperationOf(config.input(0).data_type()) == nullptr || !same(config.input(1)) ||
      !std::ranges::all_of(config.output(), same)) {
    return InvalidArgument(
        "backend 'add_sub' has two inputs and two outputs, all of one data_type (integers, FP32, "
        "FP64, STRING) and the same dims");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Engine>> MakeAddSubEngine(const inference::ModelConfig& config) {
  return std::make_unique<AddSubEngine>(OperationOf(config.input(0).data_type()));
}

}  // namespace inferpool::modelserver

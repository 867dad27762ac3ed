#include "modelserver/engines/onnx/value.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace inferpool::modelserver::onnx_graph {
namespace {

using onnx::TensorProto;

constexpr double kMaxExact = 9007199254740992.0;  // 2^53
constexpr double kInt64End = 9223372036854775808.0;

std::int64_t ToInt64(double number) {
  return number >= kInt64End ? std::numeric_limits<std::int64_t>::max()
                             : static_cast<std::int64_t>(number);
}

std::optional<double> FromInt64(std::int64_t number) {
  if (number == std::numeric_limits<std::int64_t>::max()) {
    return kInt64End;
  }
  return Rounded(static_cast<double>(number), TensorProto::INT64);
}

template <typename Number>
bool ReadRaw(const std::string& raw, std::vector<double>& numbers) {
  if (raw.size() != numbers.size() * sizeof(Number)) {
    return false;
  }
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    Number number;
    std::memcpy(&number, raw.data() + i * sizeof(Number), sizeof(Number));
    if constexpr (std::is_same_v<Number, std::int64_t>) {
      const std::optional<double> exact = FromInt64(number);
      if (!exact.has_value()) {
        return false;
      }
      numbers[i] = *exact;
    } else {
      numbers[i] = static_cast<double>(number);
    }
  }
  return true;
}

template <typename Field>
bool ReadField(const Field& field, std::vector<double>& numbers) {
  if (static_cast<std::size_t>(field.size()) != numbers.size()) {
    return false;
  }
  for (int i = 0; i < field.size(); ++i) {
    std::optional<double> number = static_cast<double>(field[i]);
    if constexpr (std::is_same_v<typename Field::value_type, std::int64_t>) {
      number = FromInt64(field[i]);
    }
    if (!number.has_value()) {
      return false;
    }
    numbers[static_cast<std::size_t>(i)] = *number;
  }
  return true;
}

}  // namespace

std::optional<std::int64_t> Elements(const std::vector<std::int64_t>& dims) {
  std::int64_t count = 1;
  bool empty = false;
  for (const std::int64_t size : dims) {
    if (size < 0 || size > kMaxElements) {
      return std::nullopt;
    }
    empty = empty || size == 0;
    count *= std::max<std::int64_t>(size, 1);
    if (count > kMaxElements) {
      return std::nullopt;
    }
  }
  return empty ? 0 : count;
}

bool Whole(const Value& value) {
  const std::optional<std::int64_t> count = Elements(value.dims);
  return count.has_value() && static_cast<std::size_t>(*count) == value.numbers.size();
}

std::optional<double> Rounded(double number, std::int32_t type) {
  switch (type) {
    case TensorProto::FLOAT:
      return static_cast<double>(static_cast<float>(number));
    case TensorProto::DOUBLE:
      return number;
    case TensorProto::INT64:
      if (number == kInt64End || number == -kInt64End) {
        return number;
      }
      break;
    case TensorProto::INT32:
      if (!(std::abs(number) <= std::numeric_limits<std::int32_t>::max())) {
        return std::nullopt;
      }
      break;
    case TensorProto::BOOL:
      return number != 0 ? 1 : 0;
    default:
      return std::nullopt;
  }
  if (!(std::abs(number) <= kMaxExact)) {
    return std::nullopt;  // also what is not a number
  }
  return std::trunc(number);
}

std::optional<Value> ReadValue(const TensorProto& tensor) {
  Value value;
  value.type = tensor.data_type();
  value.dims.assign(tensor.dims().begin(), tensor.dims().end());
  const std::optional<std::int64_t> count = Elements(value.dims);
  if (!count.has_value() || tensor.has_segment() ||
      tensor.data_location() != TensorProto::DEFAULT) {
    return std::nullopt;
  }
  value.numbers.resize(static_cast<std::size_t>(*count));
  const std::string& raw = tensor.raw_data();
  const bool is_raw = tensor.has_raw_data();
  bool good = false;
  switch (value.type) {
    case TensorProto::FLOAT:
      good = is_raw ? ReadRaw<float>(raw, value.numbers)
                    : ReadField(tensor.float_data(), value.numbers);
      break;
    case TensorProto::DOUBLE:
      good = is_raw ? ReadRaw<double>(raw, value.numbers)
                    : ReadField(tensor.double_data(), value.numbers);
      break;
    case TensorProto::INT64:
      good = is_raw ? ReadRaw<std::int64_t>(raw, value.numbers)
                    : ReadField(tensor.int64_data(), value.numbers);
      break;
    case TensorProto::INT32:
      good = is_raw ? ReadRaw<std::int32_t>(raw, value.numbers)
                    : ReadField(tensor.int32_data(), value.numbers);
      break;
    case TensorProto::BOOL:
      good = is_raw ? ReadRaw<std::uint8_t>(raw, value.numbers)
                    : ReadField(tensor.int32_data(), value.numbers);
      break;
    default:
      break;
  }
  return good ? std::optional(std::move(value)) : std::nullopt;
}

TensorProto WriteValue(const Value& value, const std::string& name) {
  TensorProto tensor;
  tensor.set_name(name);
  tensor.set_data_type(value.type);
  tensor.mutable_dims()->Add(value.dims.begin(), value.dims.end());
  std::string& raw = *tensor.mutable_raw_data();
  const auto write = [&]<typename Number>(Number (*convert)(double)) {
    raw.resize(value.numbers.size() * sizeof(Number));
    for (std::size_t i = 0; i < value.numbers.size(); ++i) {
      const Number number = convert(value.numbers[i]);
      std::memcpy(raw.data() + i * sizeof(Number), &number, sizeof(Number));
    }
  };
  switch (value.type) {
    case TensorProto::FLOAT:
      write(+[](double number) { return static_cast<float>(number); });
      break;
    case TensorProto::DOUBLE:
      write(+[](double number) { return number; });
      break;
    case TensorProto::INT32:
      write(+[](double number) { return static_cast<std::int32_t>(number); });
      break;
    case TensorProto::BOOL:
      write(+[](double number) { return static_cast<std::uint8_t>(number != 0); });
      break;
    default:
      write(+[](double number) { return ToInt64(number); });
      break;
  }
  return tensor;
}

}  // namespace inferpool::modelserver::onnx_graph

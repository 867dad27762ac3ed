// A constant tensor in hand: what constant_folding.h computes with.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace inferpool::modelserver::onnx_graph {

// More than the anchors of a 2560 x 2560 picture need by far; weights are never in hand.
inline constexpr std::int64_t kMaxElements = std::int64_t{1} << 20;

// A tensor of FLOAT, DOUBLE, INT32, INT64 or BOOL. All numbers are doubles: they hold every float
// and every integer up to 2^53, and the four operations and the root of two floats, computed in
// double and rounded to float, are what float arithmetic gives. INT64's extreme values, which mean
// "to the end", are kept as they are; other integers beyond 2^53 are not representable.
struct Value {
  std::int32_t type = 0;  // onnx::TensorProto::DataType
  std::vector<std::int64_t> dims;
  std::vector<double> numbers;  // as many as the product of dims
};

// The product of `dims`; nothing when one is negative, or the product of those that are not 0 is
// over kMaxElements.
std::optional<std::int64_t> Elements(const std::vector<std::int64_t>& dims);

// Whether `value` has as many numbers as its dims say.
bool Whole(const Value& value);

// Rounds `number` to what `type` can hold: nothing when the type is none of Value's, or it cannot.
std::optional<double> Rounded(double number, std::int32_t type);

// Nothing when the tensor is no Value: another type, too many elements, data elsewhere or damaged.
std::optional<Value> ReadValue(const onnx::TensorProto& tensor);
onnx::TensorProto WriteValue(const Value& value, const std::string& name);

}  // namespace inferpool::modelserver::onnx_graph

// A constant tensor, with which FoldConstants (constant_folding.h) computes.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace inferpool::modelserver::onnx_graph {

// Far more than the anchors of a 2560 x 2560 picture need. Weights are never computed with.
inline constexpr std::int64_t kMaxElements = std::int64_t{1} << 20;

// A tensor of FLOAT, DOUBLE, INT32, INT64 or BOOL. All numbers are doubles, which can hold every
// float and every integer up to 2^53. When floats are added, subtracted, multiplied, divided or
// square-rooted in double and the result is rounded to float, that is the result of float
// arithmetic. INT64's extreme values, which mean "to the end", are kept; other integers beyond 2^53
// cannot be held.
struct Value {
  std::int32_t type = 0;  // onnx::TensorProto::DataType
  std::vector<std::int64_t> dims;
  std::vector<double> numbers;  // as many as the product of dims
};

// The product of `dims`; nullopt when one is negative, or the product of those that are not 0 is
// over kMaxElements.
std::optional<std::int64_t> Elements(const std::vector<std::int64_t>& dims);

// Whether `value` has as many numbers as its dimensions say.
bool Whole(const Value& value);

// Rounds `number` to a number of `type`; nullopt when the type cannot hold it, or is not one of
// Value's.
std::optional<double> Rounded(double number, std::int32_t type);

// nullopt when the tensor cannot be a Value: it has another type, too many elements, or damaged or
// external data.
std::optional<Value> ReadValue(const onnx::TensorProto& tensor);
onnx::TensorProto WriteValue(const Value& value, const std::string& name);

}  // namespace inferpool::modelserver::onnx_graph

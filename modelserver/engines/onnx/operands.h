// What Evaluate's operators share: access to their inputs, and reading numbers by strides. Pure.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "modelserver/engines/onnx/value.h"

namespace inferpool::modelserver::onnx_graph {

using Dims = std::vector<std::int64_t>;
using Inputs = std::span<const Value* const>;  // null where the node leaves one out
using Result = std::optional<Value>;           // nullopt: the output cannot be computed

// Input `i`; null when there is none.
const Value* Input(Inputs inputs, std::size_t i);

// A list of integers, which is an attribute in older opsets and the input `at` in newer ones.
std::optional<Dims> IntList(const onnx::NodeProto& node, std::string_view attribute, Inputs inputs,
                            std::size_t at);

// The dimension that `axis` stands for in a tensor with `rank` dimensions. A negative axis counts
// from the end. nullopt when there is no such dimension.
std::optional<std::size_t> Axis(std::int64_t axis, std::size_t rank);

// The distance between neighbours of each dimension in row-major order.
Dims Strides(const Dims& dims);

// Returns a value with the dimensions `dims`, whose number at each index is that of `from` at
// offset + sum(strides[i] * index[i]). No stride is negative. nullopt when `from` is not whole or
// has no number there.
Result View(const Value& from, const Dims& dims, const Dims& strides, std::int64_t offset);

// The dimensions that `a` and `b` have after broadcasting as in numpy
// (https://github.com/onnx/onnx/blob/main/docs/Broadcasting.md); nullopt when they do not fit.
std::optional<Dims> CommonDims(const Dims& a, const Dims& b);

// Broadcasts `value` to the dimensions `dims`, which must be possible. nullopt when the result has
// over kMaxElements elements.
Result Broadcast(const Value& value, const Dims& dims);

}  // namespace inferpool::modelserver::onnx_graph

// What the operators that Evaluate knows have in common: their inputs, and reading numbers by
// strides. Pure.
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
using Result = std::optional<Value>;           // nothing: not to be computed

const Value* Input(Inputs inputs, std::size_t i);

// A list of integers that older opsets give as an attribute, newer ones as an input.
std::optional<Dims> IntList(const onnx::NodeProto& node, std::string_view attribute, Inputs inputs,
                            std::size_t at);

// `axis` of a tensor with `rank` dimensions, negative ones counted from the end.
std::optional<std::size_t> Axis(std::int64_t axis, std::size_t rank);

Dims Strides(const Dims& dims);

// Reads `from` at offset + sum(strides[i] * index[i]) for every index into `dims`; no stride is
// negative. Nothing when `from` is not whole or does not reach that far.
Result View(const Value& from, const Dims& dims, const Dims& strides, std::int64_t offset);

// The dimensions that both have after numpy's broadcasting:
// https://github.com/onnx/onnx/blob/main/docs/Broadcasting.md
std::optional<Dims> CommonDims(const Dims& a, const Dims& b);

// `value` with the shape `dims`, by numpy's broadcasting
// (https://github.com/onnx/onnx/blob/main/docs/Broadcasting.md), which must allow it. Nothing when
// that has over kMaxElements.
Result Broadcast(const Value& value, const Dims& dims);

}  // namespace inferpool::modelserver::onnx_graph

#include "modelserver/engines/onnx/operands.h"

#include <algorithm>
#include <cmath>

#include "modelserver/engines/onnx/graph.h"

namespace inferpool::modelserver::onnx_graph {

const Value* Input(Inputs inputs, std::size_t i) {
  return i < inputs.size() ? inputs[i] : nullptr;
}

std::optional<Dims> IntList(const onnx::NodeProto& node, std::string_view attribute, Inputs inputs,
                            std::size_t at) {
  const Value* value = Input(inputs, at);
  if (value == nullptr) {
    return IntsAttribute(node, attribute);
  }
  Dims list;
  for (const double number : value->numbers) {
    constexpr double kEnd = 9e18;
    if (!std::isfinite(number)) {
      return std::nullopt;
    }
    list.push_back(static_cast<std::int64_t>(std::clamp(number, -kEnd, kEnd)));
  }
  return list;
}

std::optional<std::size_t> Axis(std::int64_t axis, std::size_t rank) {
  const auto count = static_cast<std::int64_t>(rank);
  if (axis < -count || axis >= count) {
    return std::nullopt;
  }
  return static_cast<std::size_t>(axis < 0 ? axis + count : axis);
}

Dims Strides(const Dims& dims) {
  Dims strides(dims.size(), 1);
  for (std::size_t i = dims.size(); i-- > 1;) {
    strides[i - 1] = strides[i] * dims[i];
  }
  return strides;
}

Result View(const Value& from, const Dims& dims, const Dims& strides, std::int64_t offset) {
  const std::optional<std::int64_t> count = Elements(dims);
  if (!count.has_value() || !Whole(from)) {
    return std::nullopt;
  }
  std::int64_t last = offset;
  for (std::size_t axis = 0; axis < dims.size(); ++axis) {
    last += strides[axis] * (dims[axis] - 1);
  }
  if (*count > 0 && (offset < 0 || last >= static_cast<std::int64_t>(from.numbers.size()))) {
    return std::nullopt;
  }
  Value to{.type = from.type, .dims = dims, .numbers = {}};
  to.numbers.reserve(static_cast<std::size_t>(*count));
  Dims index(dims.size(), 0);
  std::int64_t at = offset;
  for (std::int64_t i = 0; i < *count; ++i) {
    to.numbers.push_back(from.numbers[static_cast<std::size_t>(at)]);
    for (std::size_t axis = dims.size(); axis-- > 0;) {
      at += strides[axis];
      if (++index[axis] < dims[axis]) {
        break;
      }
      at -= strides[axis] * dims[axis];
      index[axis] = 0;
    }
  }
  return to;
}

std::optional<Dims> CommonDims(const Dims& a, const Dims& b) {
  Dims common(std::max(a.size(), b.size()));
  for (std::size_t i = 1; i <= common.size(); ++i) {
    const std::int64_t x = i <= a.size() ? a[a.size() - i] : 1;
    const std::int64_t y = i <= b.size() ? b[b.size() - i] : 1;
    if (x != y && x != 1 && y != 1) {
      return std::nullopt;
    }
    common[common.size() - i] = x == 1 ? y : x;
  }
  return common;
}

std::optional<Value> Broadcast(const Value& value, const std::vector<std::int64_t>& dims) {
  Dims strides(dims.size(), 0);
  const Dims own = Strides(value.dims);
  if (own.size() > dims.size()) {
    return std::nullopt;
  }
  for (std::size_t i = 1; i <= value.dims.size(); ++i) {
    if (value.dims[value.dims.size() - i] != 1) {
      strides[dims.size() - i] = own[own.size() - i];
    }
  }
  return View(value, dims, strides, 0);
}

}  // namespace inferpool::modelserver::onnx_graph

#include "modelserver/engines/onnx/movement.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "modelserver/engines/onnx/graph.h"

namespace inferpool::modelserver::onnx_graph {

Result Gather(const onnx::NodeProto& node, Inputs inputs) {
  const Value* data = Input(inputs, 0);
  const Value* indices = Input(inputs, 1);
  if (data == nullptr || indices == nullptr) {
    return std::nullopt;
  }
  const std::optional<std::size_t> axis = Axis(IntAttribute(node, "axis", 0), data->dims.size());
  if (!axis.has_value()) {
    return std::nullopt;
  }
  const auto at = static_cast<std::ptrdiff_t>(*axis);
  Value value{.type = data->type, .dims = {}, .numbers = {}};
  value.dims.assign(data->dims.begin(), data->dims.begin() + at);
  value.dims.insert(value.dims.end(), indices->dims.begin(), indices->dims.end());
  value.dims.insert(value.dims.end(), data->dims.begin() + at + 1, data->dims.end());
  const std::int64_t size = data->dims[*axis];
  const bool in_range = std::ranges::all_of(indices->numbers, [size](double number) {
    return number >= static_cast<double>(-size) && number < static_cast<double>(size);
  });
  if (!Elements(value.dims).has_value() || !in_range) {
    return std::nullopt;
  }
  const std::int64_t block = Strides(data->dims)[*axis];
  const std::int64_t blocks = block * size;
  for (std::int64_t outer = 0; outer < static_cast<std::int64_t>(data->numbers.size());
       outer += blocks) {
    for (const double number : indices->numbers) {
      const auto index = static_cast<std::int64_t>(number);
      const auto first = data->numbers.begin() + outer + (index < 0 ? index + size : index) * block;
      value.numbers.insert(value.numbers.end(), first, first + block);
    }
  }
  return value;
}

Result Concat(const onnx::NodeProto& node, Inputs inputs) {
  const Value* first = Input(inputs, 0);
  const onnx::AttributeProto* attribute = FindAttribute(node, "axis");
  if (first == nullptr || attribute == nullptr) {
    return std::nullopt;
  }
  const std::optional<std::size_t> axis = Axis(attribute->i(), first->dims.size());
  if (!axis.has_value()) {
    return std::nullopt;
  }
  Value value{.type = first->type, .dims = first->dims, .numbers = {}};
  value.dims[*axis] = 0;
  for (const Value* input : inputs) {
    if (input == nullptr || input->type != first->type ||
        input->dims.size() != first->dims.size()) {
      return std::nullopt;
    }
    for (std::size_t i = 0; i < first->dims.size(); ++i) {
      if (i != *axis && input->dims[i] != first->dims[i]) {
        return std::nullopt;
      }
    }
    value.dims[*axis] += input->dims[*axis];
    if (!Elements(value.dims).has_value()) {
      return std::nullopt;
    }
  }
  const auto middle = first->dims.begin() + static_cast<std::ptrdiff_t>(*axis);
  const std::int64_t outer =
      std::accumulate(first->dims.begin(), middle, std::int64_t{1}, std::multiplies<>());
  for (std::int64_t i = 0; i < outer; ++i) {
    for (const Value* input : inputs) {
      const auto part = static_cast<std::int64_t>(input->numbers.size()) / outer;
      const auto begin = input->numbers.begin() + i * part;
      value.numbers.insert(value.numbers.end(), begin, begin + part);
    }
  }
  return value;
}

Result Slice(const onnx::NodeProto& node, Inputs inputs) {
  const Value* data = Input(inputs, 0);
  const std::optional<Dims> starts = IntList(node, "starts", inputs, 1);
  const std::optional<Dims> ends = IntList(node, "ends", inputs, 2);
  if (data == nullptr || !starts.has_value() || !ends.has_value() ||
      starts->size() != ends->size()) {
    return std::nullopt;
  }
  Dims every(starts->size());
  std::iota(every.begin(), every.end(), 0);
  const Dims axes = IntList(node, "axes", inputs, 3).value_or(every);
  const Dims steps = IntList(node, "steps", inputs, 4).value_or(Dims(starts->size(), 1));
  if (axes.size() != starts->size() || steps.size() != starts->size()) {
    return std::nullopt;
  }
  Dims dims = data->dims;
  Dims strides = Strides(dims);
  const Dims own = strides;
  std::int64_t offset = 0;
  std::vector<bool> cut(dims.size(), false);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const std::optional<std::size_t> axis = Axis(axes[i], dims.size());
    // Backwards and twice along one axis: nobody computes shapes so.
    if (!axis.has_value() || cut[*axis] || steps[i] < 1) {
      return std::nullopt;
    }
    cut[*axis] = true;
    const std::int64_t size = dims[*axis];
    const auto place = [size](std::int64_t at) {
      return std::clamp<std::int64_t>(at < 0 ? at + size : at, 0, size);
    };
    const std::int64_t step = std::min(steps[i], std::max<std::int64_t>(size, 1));
    const std::int64_t start = place((*starts)[i]);
    const std::int64_t length = std::max<std::int64_t>(place((*ends)[i]) - start, 0);
    dims[*axis] = (length + step - 1) / step;
    strides[*axis] = own[*axis] * step;
    offset += own[*axis] * start;
  }
  return View(*data, dims, strides, offset);
}

namespace {

// `value` with other dimensions, when they have as many elements.
Result WithDims(const Value& value, Dims dims) {
  const std::optional<std::int64_t> count = Elements(dims);
  if (!count.has_value() || static_cast<std::size_t>(*count) != value.numbers.size()) {
    return std::nullopt;
  }
  return Value{.type = value.type, .dims = std::move(dims), .numbers = value.numbers};
}

}  // namespace

Result Unsqueeze(const onnx::NodeProto& node, Inputs inputs) {
  const Value* data = Input(inputs, 0);
  const std::optional<Dims> axes = IntList(node, "axes", inputs, 1);
  if (data == nullptr || !axes.has_value()) {
    return std::nullopt;
  }
  const std::size_t rank = data->dims.size() + axes->size();
  std::vector<bool> added(rank, false);
  for (const std::int64_t one : *axes) {
    const std::optional<std::size_t> axis = Axis(one, rank);
    if (!axis.has_value() || added[*axis]) {
      return std::nullopt;
    }
    added[*axis] = true;
  }
  Dims dims;
  auto next = data->dims.begin();
  for (const bool one : added) {
    dims.push_back(one ? 1 : *next++);
  }
  return WithDims(*data, std::move(dims));
}

Result Squeeze(const onnx::NodeProto& node, Inputs inputs) {
  const Value* data = Input(inputs, 0);
  if (data == nullptr) {
    return std::nullopt;
  }
  const std::optional<Dims> axes = IntList(node, "axes", inputs, 1);
  std::vector<bool> removed(data->dims.size(), false);
  for (std::size_t i = 0; !axes.has_value() && i < removed.size(); ++i) {
    removed[i] = data->dims[i] == 1;
  }
  for (const std::int64_t one : axes.value_or(Dims())) {
    const std::optional<std::size_t> axis = Axis(one, removed.size());
    if (!axis.has_value() || data->dims[*axis] != 1) {
      return std::nullopt;
    }
    removed[*axis] = true;
  }
  Dims dims;
  for (std::size_t i = 0; i < removed.size(); ++i) {
    if (!removed[i]) {
      dims.push_back(data->dims[i]);
    }
  }
  return WithDims(*data, std::move(dims));
}

Result Reshape(const onnx::NodeProto& node, Inputs inputs) {
  const Value* data = Input(inputs, 0);
  std::optional<Dims> dims = IntList(node, "shape", inputs, 1);
  if (data == nullptr || !dims.has_value() || IntAttribute(node, "allowzero", 0) != 0) {
    return std::nullopt;
  }
  std::int64_t* open = nullptr;
  std::int64_t known = 1;
  for (std::size_t i = 0; i < dims->size(); ++i) {
    std::int64_t& size = (*dims)[i];
    if (size == -1 && open == nullptr) {
      open = &size;
      continue;
    }
    if (size == 0 && i < data->dims.size()) {
      size = data->dims[i];
    }
    if (size < 0 || size > kMaxElements || known * size > kMaxElements) {
      return std::nullopt;
    }
    known *= size;
  }
  if (open != nullptr) {
    if (known == 0) {
      return std::nullopt;
    }
    *open = static_cast<std::int64_t>(data->numbers.size()) / known;
  }
  return WithDims(*data, *std::move(dims));
}

Result Transpose(const onnx::NodeProto& node, Inputs inputs) {
  const Value* data = Input(inputs, 0);
  if (data == nullptr) {
    return std::nullopt;
  }
  Dims reversed(data->dims.size());
  std::iota(reversed.rbegin(), reversed.rend(), 0);
  const Dims order = IntsAttribute(node, "perm").value_or(reversed);
  Dims sorted = order;
  std::ranges::sort(sorted);
  if (!std::equal(sorted.begin(), sorted.end(), reversed.rbegin(), reversed.rend())) {
    return std::nullopt;
  }
  Dims dims;
  Dims strides;
  const Dims own = Strides(data->dims);
  for (const std::int64_t axis : order) {
    dims.push_back(data->dims[static_cast<std::size_t>(axis)]);
    strides.push_back(own[static_cast<std::size_t>(axis)]);
  }
  return View(*data, dims, strides, 0);
}

Result Expand(const onnx::NodeProto& node, Inputs inputs) {
  const Value* data = Input(inputs, 0);
  const std::optional<Dims> wanted = IntList(node, "", inputs, 1);
  if (data == nullptr || !wanted.has_value()) {
    return std::nullopt;
  }
  const std::optional<Dims> dims = CommonDims(data->dims, *wanted);
  return dims.has_value() ? Broadcast(*data, *dims) : std::nullopt;
}

}  // namespace inferpool::modelserver::onnx_graph

#include "modelserver/onnx/evaluate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>

#include "modelserver/onnx/graph.h"

namespace inferpool::modelserver::onnx_graph {
namespace {

using Dims = std::vector<std::int64_t>;
using Inputs = std::span<const Value* const>;
using Result = std::optional<Value>;

const Value* Input(Inputs inputs, std::size_t i) {
  return i < inputs.size() ? inputs[i] : nullptr;
}

// A list of integers that older opsets give as an attribute, newer ones as an input.
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

// `axis` of a tensor with `rank` dimensions, negative ones counted from the end.
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

// Reads `from` at offset + sum(strides[i] * index[i]) for every index into `dims`; no stride is
// negative. Nothing when `from` is not whole or does not reach that far.
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

// numpy's broadcasting: https://github.com/onnx/onnx/blob/main/docs/Broadcasting.md
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

// Gives `value`, which was computed, its type's numbers; nothing when one is out of reach.
Result Settled(Value value) {
  constexpr double kMaxExact = 9007199254740992.0;  // 2^53
  const bool exact = value.type == onnx::TensorProto::INT64;
  for (double& number : value.numbers) {
    const std::optional<double> rounded = Rounded(number, value.type);
    if (!rounded.has_value() || (exact && std::abs(*rounded) > kMaxExact)) {
      return std::nullopt;
    }
    number = *rounded;
  }
  return value;
}

struct Binary {
  std::string_view name;
  double (*function)(double, double);  // not a number when there is no result
  bool logical = false;                // answers BOOL
};

// Integers divide towards zero, as C++ does; Rounded truncates.
constexpr std::array<Binary, 9> kBinary = {{
    {"Add", [](double a, double b) { return a + b; }},
    {"Sub", [](double a, double b) { return a - b; }},
    {"Mul", [](double a, double b) { return a * b; }},
    {"Div", [](double a, double b) { return a / b; }},
    {"Equal", [](double a, double b) { return a == b ? 1.0 : 0.0; }, true},
    {"Less", [](double a, double b) { return a < b ? 1.0 : 0.0; }, true},
    {"Greater", [](double a, double b) { return a > b ? 1.0 : 0.0; }, true},
    {"And", [](double a, double b) { return a != 0 && b != 0 ? 1.0 : 0.0; }, true},
    {"Or", [](double a, double b) { return a != 0 || b != 0 ? 1.0 : 0.0; }, true},
}};

Result ApplyBinary(const Binary& binary, Inputs inputs) {
  const Value* a = Input(inputs, 0);
  const Value* b = Input(inputs, 1);
  if (a == nullptr || b == nullptr || a->type != b->type) {
    return std::nullopt;
  }
  const std::optional<Dims> dims = CommonDims(a->dims, b->dims);
  if (!dims.has_value()) {
    return std::nullopt;
  }
  Result left = Broadcast(*a, *dims);
  const Result right = Broadcast(*b, *dims);
  if (!left.has_value() || !right.has_value()) {
    return std::nullopt;
  }
  if (binary.logical) {
    left->type = onnx::TensorProto::BOOL;
  }
  std::ranges::transform(left->numbers, right->numbers, left->numbers.begin(), binary.function);
  return Settled(*std::move(left));
}

struct Unary {
  std::string_view name;
  double (*function)(double);
};

constexpr std::array<Unary, 6> kUnary = {{
    {"Identity", [](double a) { return a; }},
    {"Neg", [](double a) { return -a; }},
    {"Floor", [](double a) { return std::floor(a); }},
    {"Ceil", [](double a) { return std::ceil(a); }},
    {"Sqrt", [](double a) { return std::sqrt(a); }},
    {"Not", [](double a) { return a == 0 ? 1.0 : 0.0; }},
}};

Result ApplyUnary(const Unary& unary, Inputs inputs) {
  if (Input(inputs, 0) == nullptr) {
    return std::nullopt;
  }
  Value value = *inputs[0];
  std::ranges::transform(value.numbers, value.numbers.begin(), unary.function);
  return Settled(std::move(value));
}

Result Constant(const onnx::NodeProto& node, Inputs /*inputs*/) {
  const onnx::AttributeProto* value = FindAttribute(node, "value");
  return value != nullptr && value->has_t() ? ReadValue(value->t()) : std::nullopt;
}

Result ConstantOfShape(const onnx::NodeProto& node, Inputs inputs) {
  const std::optional<Dims> dims = IntList(node, "", inputs, 0);
  if (!dims.has_value()) {
    return std::nullopt;
  }
  Result filler = Value{.type = onnx::TensorProto::FLOAT, .dims = {1}, .numbers = {0}};
  if (const onnx::AttributeProto* value = FindAttribute(node, "value"); value != nullptr) {
    filler = ReadValue(value->t());
  }
  if (!filler.has_value() || filler->numbers.size() != 1) {
    return std::nullopt;
  }
  return View(*filler, *dims, Dims(dims->size(), 0), 0);
}

Result Cast(const onnx::NodeProto& node, Inputs inputs) {
  if (Input(inputs, 0) == nullptr) {
    return std::nullopt;
  }
  Value value = *inputs[0];
  value.type = static_cast<std::int32_t>(IntAttribute(node, "to", 0));
  return Settled(std::move(value));
}

Result Range(const onnx::NodeProto& /*node*/, Inputs inputs) {
  if (inputs.size() != 3 || std::ranges::any_of(inputs, [&](const Value* input) {
        return input == nullptr || input->numbers.size() != 1 || input->type != inputs[0]->type;
      })) {
    return std::nullopt;
  }
  const double start = inputs[0]->numbers[0];
  const double step = inputs[2]->numbers[0];
  const double count = std::max(std::ceil((inputs[1]->numbers[0] - start) / step), 0.0);
  if (!(count <= static_cast<double>(kMaxElements))) {
    return std::nullopt;
  }
  Value value{.type = inputs[0]->type, .dims = {static_cast<std::int64_t>(count)}, .numbers = {}};
  for (double i = 0; i < count; ++i) {
    value.numbers.push_back(start + i * step);
  }
  return Settled(std::move(value));
}

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

// `value` with other dimensions, when they have as many elements.
Result WithDims(const Value& value, Dims dims) {
  const std::optional<std::int64_t> count = Elements(dims);
  if (!count.has_value() || static_cast<std::size_t>(*count) != value.numbers.size()) {
    return std::nullopt;
  }
  return Value{.type = value.type, .dims = std::move(dims), .numbers = value.numbers};
}

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

Result Where(const onnx::NodeProto& /*node*/, Inputs inputs) {
  if (inputs.size() != 3 || std::ranges::count(inputs, nullptr) != 0 ||
      inputs[1]->type != inputs[2]->type) {
    return std::nullopt;
  }
  std::optional<Dims> dims = CommonDims(inputs[0]->dims, inputs[1]->dims);
  dims = dims.has_value() ? CommonDims(*dims, inputs[2]->dims) : std::nullopt;
  if (!dims.has_value()) {
    return std::nullopt;
  }
  const Result condition = Broadcast(*inputs[0], *dims);
  Result yes = Broadcast(*inputs[1], *dims);
  const Result no = Broadcast(*inputs[2], *dims);
  if (!condition.has_value() || !yes.has_value() || !no.has_value()) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < yes->numbers.size(); ++i) {
    if (condition->numbers[i] == 0) {
      yes->numbers[i] = no->numbers[i];
    }
  }
  return yes;
}

struct Operator {
  std::string_view name;
  Result (*function)(const onnx::NodeProto&, Inputs);
};

constexpr std::array<Operator, 13> kOperators = {{
    {"Constant", Constant},
    {"ConstantOfShape", ConstantOfShape},
    {"Cast", Cast},
    {"Range", Range},
    {"Gather", Gather},
    {"Concat", Concat},
    {"Slice", Slice},
    {"Unsqueeze", Unsqueeze},
    {"Squeeze", Squeeze},
    {"Reshape", Reshape},
    {"Transpose", Transpose},
    {"Expand", Expand},
    {"Where", Where},
}};

Result Dispatch(const onnx::NodeProto& node, Inputs inputs) {
  const std::string_view type = node.op_type();
  if (const auto* found = std::ranges::find(kBinary, type, &Binary::name); found != kBinary.end()) {
    return ApplyBinary(*found, inputs);
  }
  if (const auto* found = std::ranges::find(kUnary, type, &Unary::name); found != kUnary.end()) {
    return ApplyUnary(*found, inputs);
  }
  const auto* found = std::ranges::find(kOperators, type, &Operator::name);
  return found == kOperators.end() ? std::nullopt : found->function(node, inputs);
}

}  // namespace

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

std::optional<Value> Evaluate(const onnx::NodeProto& node, std::span<const Value* const> inputs) {
  if (node.output_size() != 1 || !Is(node, node.op_type()) ||
      !std::ranges::all_of(inputs, [](const Value* in) { return in == nullptr || Whole(*in); })) {
    return std::nullopt;
  }
  // Every operator counts on this of the one before it.
  Result result = Dispatch(node, inputs);
  return result.has_value() && Whole(*result) ? result : std::nullopt;
}

}  // namespace inferpool::modelserver::onnx_graph

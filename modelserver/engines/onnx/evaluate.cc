#include "modelserver/engines/onnx/evaluate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>

#include "modelserver/engines/onnx/graph.h"
#include "modelserver/engines/onnx/movement.h"
#include "modelserver/engines/onnx/operands.h"

namespace inferpool::modelserver::onnx_graph {
namespace {

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
  const double steps = std::max(std::ceil((inputs[1]->numbers[0] - start) / step), 0.0);
  if (!(steps <= static_cast<double>(kMaxElements))) {
    return std::nullopt;
  }
  const auto count = static_cast<std::int64_t>(steps);
  Value value{.type = inputs[0]->type, .dims = {count}, .numbers = {}};
  for (std::int64_t i = 0; i < count; ++i) {
    value.numbers.push_back(start + static_cast<double>(i) * step);
  }
  return Settled(std::move(value));
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

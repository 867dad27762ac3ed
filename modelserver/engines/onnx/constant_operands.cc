#include "modelserver/engines/onnx/constant_operands.h"

#include <algorithm>
#include <string>
#include <unordered_map>

#include "modelserver/engines/onnx/graph.h"
#include "modelserver/engines/onnx/operands.h"
#include "modelserver/engines/onnx/value.h"

namespace inferpool::modelserver::onnx_graph {
namespace {

using Dims = std::vector<std::int64_t>;

// All the work of one call: the tensors of a hostile graph could otherwise fill the memory.
constexpr std::int64_t kMaxMade = std::int64_t{1} << 24;

// Whether OpenCV fails at `constant` as an operand of a tensor of `shape`, although ONNX allows it
// and the result has `shape`.
bool NeedsExpansion(const Dims& constant, const Dims& shape) {
  if (constant.size() > shape.size()) {
    return false;
  }
  const std::size_t added = shape.size() - constant.size();
  bool broadcast = false;
  bool needed = false;
  for (std::size_t i = 1; i < shape.size(); ++i) {
    const std::int64_t size = i < added ? 1 : constant[i - added];
    if (size != 1 && size != shape[i]) {
      return false;
    }
    needed = needed || (broadcast && size != 1);
    broadcast = broadcast || size != shape[i];
  }
  return needed && (added > 0 || constant[0] == 1 || constant[0] == shape[0]);
}

}  // namespace

void ExpandConstantOperands(onnx::GraphProto& graph) {
  std::unordered_map<std::string, const onnx::TensorProto*> constants;
  for (const onnx::TensorProto& tensor : graph.initializer()) {
    constants[tensor.name()] = &tensor;
  }
  std::unordered_map<std::string, Dims> shapes;
  for (const auto* infos : {&graph.value_info(), &graph.input()}) {
    for (const onnx::ValueInfoProto& info : *infos) {
      if (std::optional<Dims> shape = KnownShape(info.type()); shape.has_value()) {
        shapes[info.name()] = *std::move(shape);
      }
    }
  }
  FreshNames names(graph);
  std::int64_t made = 0;
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    if (!(Is(node, "Add") || Is(node, "Sub") || Is(node, "Mul") || Is(node, "Div")) ||
        node.input_size() != 2) {
      continue;
    }
    for (int i = 0; i < 2; ++i) {
      const auto constant = constants.find(node.input(i));
      const auto shape = shapes.find(node.input(1 - i));
      if (constant == constants.end() || shape == shapes.end() ||
          !NeedsExpansion({constant->second->dims().begin(), constant->second->dims().end()},
                          shape->second)) {
        continue;
      }
      const std::optional<Value> value = ReadValue(*constant->second);
      const std::optional<Value> full =
          value.has_value() ? Broadcast(*value, shape->second) : std::nullopt;
      if (!full.has_value() || made > kMaxMade) {
        continue;
      }
      made += static_cast<std::int64_t>(full->numbers.size());
      const std::string name = names.Make(constant->first + "_expanded");
      node.set_input(i, name);
      *graph.add_initializer() = WriteValue(*full, name);
    }
  }
}

}  // namespace inferpool::modelserver::onnx_graph

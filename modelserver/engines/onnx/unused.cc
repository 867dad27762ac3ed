#include "modelserver/engines/onnx/unused.h"

#include <algorithm>
#include <unordered_set>

#include "modelserver/engines/onnx/graph.h"

namespace inferpool::modelserver::onnx_graph {
namespace {

// Removes those elements of a repeated field for which `unwanted` is true.
template <typename Field, typename Predicate>
void Remove(Field& field, Predicate unwanted) {
  int kept = 0;
  for (int i = 0; i < field.size(); ++i) {
    if (!unwanted(field[i])) {
      field.SwapElements(kept++, i);
    }
  }
  field.DeleteSubrange(kept, field.size() - kept);
}

}  // namespace

void RemoveUnused(std::span<const std::string> outputs, onnx::GraphProto& graph) {
  Remove(*graph.mutable_output(), [&](const onnx::ValueInfoProto& output) {
    return std::ranges::find(outputs, output.name()) == outputs.end();
  });
  std::unordered_set<std::string> needed(outputs.begin(), outputs.end());
  std::vector<bool> gone(static_cast<std::size_t>(graph.node_size()));
  for (int i = graph.node_size(); i-- > 0;) {
    const onnx::NodeProto& node = graph.node(i);
    gone[static_cast<std::size_t>(i)] = std::ranges::none_of(
        node.output(), [&](const std::string& output) { return needed.contains(output); });
    if (!gone[static_cast<std::size_t>(i)]) {
      needed.insert(node.input().begin(), node.input().end());
    }
  }
  RemoveNodes(gone, graph);
  // Until IR version 4 every initializer was listed among the inputs, as their default.
  std::unordered_set<std::string> unneeded;
  for (const onnx::TensorProto& tensor : graph.initializer()) {
    if (!needed.contains(tensor.name())) {
      unneeded.insert(tensor.name());
    }
  }
  Remove(*graph.mutable_input(),
         [&](const onnx::ValueInfoProto& input) { return unneeded.contains(input.name()); });
  Remove(*graph.mutable_initializer(),
         [&](const onnx::TensorProto& tensor) { return unneeded.contains(tensor.name()); });
}

}  // namespace inferpool::modelserver::onnx_graph

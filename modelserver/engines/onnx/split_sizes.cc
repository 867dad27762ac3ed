#include "modelserver/engines/onnx/split_sizes.h"

#include <algorithm>

#include "modelserver/engines/onnx/graph.h"
#include "modelserver/engines/onnx/value.h"

namespace inferpool::modelserver::onnx_graph {

void WriteSplitSizes(onnx::GraphProto& graph) {
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    if (!Is(node, "Split") || node.input_size() != 2 || FindAttribute(node, "split") != nullptr) {
      continue;
    }
    const auto constant =
        std::ranges::find(graph.initializer(), node.input(1), &onnx::TensorProto::name);
    if (constant == graph.initializer().end()) {
      continue;
    }
    const std::optional<Value> sizes = ReadValue(*constant);
    if (!sizes.has_value() ||
        sizes->numbers.size() != static_cast<std::size_t>(node.output_size())) {
      continue;
    }
    onnx::AttributeProto& attribute = *node.add_attribute();
    attribute.set_name("split");
    attribute.set_type(onnx::AttributeProto::INTS);
    for (const double size : sizes->numbers) {
      attribute.add_ints(static_cast<std::int64_t>(size));
    }
    node.mutable_input()->RemoveLast();
  }
}

}  // namespace inferpool::modelserver::onnx_graph

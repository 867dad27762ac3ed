#include "modelserver/engines/onnx/silu.h"

#include <string>
#include <unordered_map>

#include "modelserver/engines/onnx/graph.h"

namespace inferpool::modelserver::onnx_graph {

void UseFastSigmoids(onnx::GraphProto& graph) {
  const Uses uses(graph);
  std::unordered_map<std::string, int> sigmoids;  // by output, those that a SiLU may take in
  std::vector<bool> gone(static_cast<std::size_t>(graph.node_size()));
  for (int at = 0; at < graph.node_size(); ++at) {
    onnx::NodeProto& node = *graph.mutable_node(at);
    if (Is(node, "Sigmoid") && node.input_size() == 1 && node.output_size() == 1) {
      node.set_op_type(std::string(kSigmoidLayer));
      if (uses.Count(node.output(0)) == 1 && !uses.IsOutput(node.output(0))) {
        sigmoids[node.output(0)] = at;
      }
    }
    if (!Is(node, "Mul") || node.input_size() != 2) {
      continue;
    }
    for (int i = 0; i < 2; ++i) {
      const auto sigmoid = sigmoids.find(node.input(i));
      if (sigmoid == sigmoids.end() || graph.node(sigmoid->second).input(0) != node.input(1 - i)) {
        continue;
      }
      const std::string input = node.input(1 - i);
      node.set_op_type(std::string(kSiluLayer));
      node.clear_input();
      node.add_input(input);
      gone[static_cast<std::size_t>(sigmoid->second)] = true;
      break;
    }
  }
  RemoveNodes(gone, graph);
}

}  // namespace inferpool::modelserver::onnx_graph

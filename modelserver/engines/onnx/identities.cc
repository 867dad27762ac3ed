#include "modelserver/engines/onnx/identities.h"

#include <string>
#include <unordered_map>

#include "modelserver/engines/onnx/graph.h"

namespace inferpool::modelserver::onnx_graph {

void RemoveIdentities(onnx::GraphProto& graph) {
  const Uses uses(graph);
  std::unordered_map<std::string, std::string> sources;
  std::vector<bool> gone;
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    // Nodes are in order, so the name found here is an Identity's no more.
    for (std::string& input : *node.mutable_input()) {
      if (const auto found = sources.find(input); found != sources.end()) {
        input = found->second;
      }
    }
    const bool remove = Is(node, "Identity") && node.input_size() == 1 && node.output_size() == 1 &&
                        !node.input(0).empty() && !uses.IsOutput(node.output(0));
    gone.push_back(remove);
    if (remove) {
      sources[node.output(0)] = node.input(0);
    }
  }
  RemoveNodes(gone, graph);
}

}  // namespace inferpool::modelserver::onnx_graph

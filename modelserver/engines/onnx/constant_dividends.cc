#include "modelserver/engines/onnx/constant_dividends.h"

#include <string>
#include <unordered_map>

#include "modelserver/engines/onnx/graph.h"
#include "modelserver/engines/onnx/value.h"

namespace inferpool::modelserver::onnx_graph {

void RewriteConstantDividends(onnx::GraphProto& graph) {
  std::unordered_map<std::string, const onnx::TensorProto*> constants;
  for (const onnx::TensorProto& tensor : graph.initializer()) {
    constants[tensor.name()] = &tensor;
  }
  FreshNames names(graph);
  google::protobuf::RepeatedPtrField<onnx::NodeProto> nodes;
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    const auto constant = constants.find(node.input_size() == 2 ? node.input(0) : "");
    if (Is(node, "Div") && constant != constants.end() && !constants.contains(node.input(1)) &&
        constant->second->data_type() == onnx::TensorProto::FLOAT &&
        Elements({constant->second->dims().begin(), constant->second->dims().end()}) != 1) {
      const std::string name = names.Make(node.input(1) + "_reciprocal");
      onnx::NodeProto& reciprocal = *nodes.Add();
      reciprocal.set_op_type("Reciprocal");
      reciprocal.set_name(name);
      reciprocal.add_input(node.input(1));
      reciprocal.add_output(name);
      node.set_op_type("Mul");
      node.set_input(1, name);
    }
    *nodes.Add() = std::move(node);
  }
  graph.mutable_node()->Swap(&nodes);
}

}  // namespace inferpool::modelserver::onnx_graph

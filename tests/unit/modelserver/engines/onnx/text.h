// ONNX models written as text, for tests: https://github.com/onnx/onnx/blob/main/docs/Syntax.md.
#pragma once

#include <gtest/gtest.h>
#include <onnx/defs/parser.h>
#include <onnx/onnx_pb.h>

#include <map>
#include <string>
#include <vector>

#include "modelserver/engines/onnx/graph.h"
#include "modelserver/engines/onnx/value.h"

namespace inferpool::modelserver::onnx_graph {

// The model of "g (float[1,2] x) => (float[1,2] y) { y = Neg(x) }"; Constant nodes are
// initializers.
inline onnx::ModelProto ParseModel(const std::string& text, int opset = 12) {
  onnx::ModelProto model;
  const std::string header =
      "<ir_version: 7, opset_import: [\"\" : " + std::to_string(opset) + "]> ";
  const auto status = onnx::OnnxParser::Parse(model, (header + text).c_str());
  EXPECT_TRUE(status.IsOK()) << status.ErrorMessage();
  std::vector<bool> gone;
  for (const onnx::NodeProto& node : model.graph().node()) {
    gone.push_back(Is(node, "Constant"));
    if (gone.back()) {
      onnx::TensorProto& tensor = *model.mutable_graph()->add_initializer();
      tensor = node.attribute(0).t();
      tensor.set_name(node.output(0));
    }
  }
  RemoveNodes(gone, *model.mutable_graph());
  return model;
}

// The nodes as "y = Neg(x)", one a line; attributes are left out.
inline std::string Nodes(const onnx::GraphProto& graph) {
  std::string text;
  const auto list = [&text](const auto& names) {
    for (int i = 0; i < names.size(); ++i) {
      text += (i > 0 ? ", " : "") + names[i];
    }
  };
  for (const onnx::NodeProto& node : graph.node()) {
    list(node.output());
    text += " = " + node.op_type() + "(";
    list(node.input());
    text += ")\n";
  }
  return text;
}

// The initializers by name, those that are Values.
inline std::map<std::string, Value> Constants(const onnx::GraphProto& graph) {
  std::map<std::string, Value> constants;
  for (const onnx::TensorProto& tensor : graph.initializer()) {
    if (auto value = ReadValue(tensor); value.has_value()) {
      constants[tensor.name()] = *std::move(value);
    }
  }
  return constants;
}

}  // namespace inferpool::modelserver::onnx_graph

#include "tests/unit/modelserver/engines/tiny_onnx.h"

#include <onnx/onnx_pb.h>

namespace inferpool::modelserver {
namespace {

void Describe(const std::string& name, const std::vector<std::int64_t>& shape,
              onnx::ValueInfoProto& value) {
  value.set_name(name);
  auto& tensor = *value.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(onnx::TensorProto::FLOAT);
  for (const std::int64_t size : shape) {
    auto& dimension = *tensor.mutable_shape()->add_dim();
    if (size > 0) {
      dimension.set_dim_value(size);
    } else {
      dimension.set_dim_param("batch");
    }
  }
}

}  // namespace

std::string MakeTinyOnnx(const TinyOnnx& wanted) {
  onnx::ModelProto model;
  model.set_ir_version(7);
  model.add_opset_import()->set_version(12);
  auto& graph = *model.mutable_graph();
  graph.set_name("tiny");

  auto& add = *graph.add_node();
  add.set_op_type("Add");
  add.add_input("x");
  add.add_input("x");
  add.add_output("sum");

  auto& shape = *graph.add_initializer();
  shape.set_name("flat_shape");
  shape.set_data_type(onnx::TensorProto::INT64);
  shape.add_dims(static_cast<std::int64_t>(wanted.flat_shape.size()));
  for (const std::int64_t size : wanted.flat_shape) {
    shape.add_int64_data(size);
  }
  auto& reshape = *graph.add_node();
  reshape.set_op_type("Reshape");
  reshape.add_input("sum");
  reshape.add_input("flat_shape");
  reshape.add_output("flat");

  Describe("x", {wanted.batch, 2, 4}, *graph.add_input());
  Describe("sum", {wanted.batch, 2, 4}, *graph.add_output());
  Describe("flat", {wanted.batch, 8}, *graph.add_output());
  if (!wanted.names.empty()) {
    auto& entry = *model.add_metadata_props();
    entry.set_key("names");
    entry.set_value(wanted.names);
  }
  return model.SerializeAsString();
}

}  // namespace inferpool::modelserver

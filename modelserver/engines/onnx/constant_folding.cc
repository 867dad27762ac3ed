#include "modelserver/engines/onnx/constant_folding.h"

#include <onnx/defs/schema.h>
#include <onnx/shape_inference/implementation.h>

#include <algorithm>
#include <exception>
#include <string>
#include <unordered_map>
#include <vector>

#include "modelserver/engines/onnx/evaluate.h"
#include "modelserver/engines/onnx/graph.h"
#include "modelserver/engines/onnx/value.h"

namespace inferpool::modelserver::onnx_graph {
namespace {

// Elements read and made in one graph: a second's work at most.
constexpr std::int64_t kMaxWork = std::int64_t{1} << 24;
// Shapes, axes and scales are inputs that matter to shape inference; weights are not.
constexpr std::int64_t kMaxShapeData = 64;

onnx::TypeProto TypeOf(const onnx::TensorProto& tensor) {
  onnx::TypeProto type;
  type.mutable_tensor_type()->set_elem_type(tensor.data_type());
  onnx::TensorShapeProto& shape = *type.mutable_tensor_type()->mutable_shape();
  for (const std::int64_t size : tensor.dims()) {
    shape.add_dim()->set_dim_value(size);
  }
  return type;
}

// The newest version of the standard operators that libonnx knows.
int NewestOpset() {
  const auto& versions = onnx::OpSchemaRegistry::DomainToVersionRange::Instance().Map();
  const auto found = versions.find("");
  return found == versions.end() ? 0 : found->second.second;
}

class Folder {
 public:
  explicit Folder(onnx::ModelProto& model)
      : graph_(*model.mutable_graph()), opset_(OpsetVersion(model)), uses_(graph_) {
    for (const onnx::ValueInfoProto& input : graph_.input()) {
      SetType(input.name(), input.type());
    }
    for (const onnx::TensorProto& initializer : graph_.initializer()) {
      AddConstant(initializer);
    }
  }

  absl::Status Run() {
    std::vector<bool> gone;
    for (onnx::NodeProto& node : *graph_.mutable_node()) {
      gone.push_back(Fold(node));
      if (!gone.back()) {
        RETURN_IF_ERROR(InferTypes(node));
      }
    }
    RemoveNodes(gone, graph_);
    graph_.clear_value_info();
    for (const onnx::NodeProto& node : graph_.node()) {
      for (const std::string& output : node.output()) {
        if (const auto found = types_.find(output); found != types_.end()) {
          onnx::ValueInfoProto& info = *graph_.add_value_info();
          info.set_name(output);
          *info.mutable_type() = found->second;
        }
      }
    }
    for (onnx::ValueInfoProto& output : *graph_.mutable_output()) {
      const auto found = types_.find(output.name());
      if (found != types_.end() && KnownShape(found->second).has_value()) {
        *output.mutable_type() = found->second;
      }
    }
    return absl::OkStatus();
  }

 private:
  void SetType(const std::string& name, const onnx::TypeProto& type) {
    types_[name] = type;
    type_pointers_[name] = &types_[name];
  }

  void AddConstant(const onnx::TensorProto& tensor) {
    constants_[tensor.name()] = &tensor;
    SetType(tensor.name(), TypeOf(tensor));
    // Only what was read without fault goes to libonnx, which does not check.
    const std::optional<std::int64_t> count =
        Elements({tensor.dims().begin(), tensor.dims().end()});
    if (count.has_value() && *count <= kMaxShapeData && ReadValue(tensor).has_value()) {
      shape_data_[tensor.name()] = &tensor;
    }
  }

  const Value* FindValue(const std::string& name) {
    if (const auto found = values_.find(name); found != values_.end()) {
      return &found->second;
    }
    const auto constant = constants_.find(name);
    if (constant == constants_.end()) {
      return nullptr;
    }
    std::optional<Value> value = ReadValue(*constant->second);
    if (!value.has_value()) {
      return nullptr;
    }
    work_ += static_cast<std::int64_t>(value->numbers.size());
    return &values_.emplace(name, *std::move(value)).first->second;
  }

  std::optional<Value> ShapeOf(const onnx::NodeProto& node) const {
    const auto type = types_.find(node.input_size() == 1 ? node.input(0) : "");
    // Opset 15's start and end, which exporters do not write.
    if (type == types_.end() || node.attribute_size() > 0) {
      return std::nullopt;
    }
    const auto shape = KnownShape(type->second);
    if (!shape.has_value()) {
      return std::nullopt;
    }
    return Value{.type = onnx::TensorProto::INT64,
                 .dims = {static_cast<std::int64_t>(shape->size())},
                 .numbers = {shape->begin(), shape->end()}};
  }

  std::optional<Value> Compute(const onnx::NodeProto& node) {
    if (Is(node, "Shape")) {
      return ShapeOf(node);
    }
    std::vector<const Value*> inputs;
    for (const std::string& name : node.input()) {
      // Cheap before dear: most nodes have an input that is no constant.
      if (!name.empty() && !constants_.contains(name)) {
        return std::nullopt;
      }
    }
    for (const std::string& name : node.input()) {
      inputs.push_back(name.empty() ? nullptr : FindValue(name));
      if (!name.empty() && inputs.back() == nullptr) {
        return std::nullopt;
      }
      work_ +=
          inputs.back() == nullptr ? 0 : static_cast<std::int64_t>(inputs.back()->numbers.size());
    }
    return Evaluate(node, inputs);
  }

  // Whether the node is now an initializer.
  bool Fold(const onnx::NodeProto& node) {
    if (work_ > kMaxWork || node.output_size() != 1 || uses_.IsOutput(node.output(0))) {
      return false;
    }
    std::optional<Value> value = Compute(node);
    if (!value.has_value()) {
      return false;
    }
    work_ += static_cast<std::int64_t>(value->numbers.size());
    const std::string& name = node.output(0);
    onnx::TensorProto& tensor = *graph_.add_initializer();
    tensor = WriteValue(*value, name);
    AddConstant(tensor);
    values_.emplace(name, *std::move(value));
    return true;
  }

  absl::Status InferTypes(onnx::NodeProto& node) {
    const onnx::OpSchema* schema = Is(node, node.op_type())
                                       ? onnx::OpSchemaRegistry::Schema(node.op_type(), opset_, "")
                                       : nullptr;
    if (schema == nullptr || !schema->has_type_and_shape_inference_function()) {
      return absl::OkStatus();
    }
    try {
      schema->Verify(node);
      onnx::shape_inference::InferenceContextImpl context(node, type_pointers_, shape_data_, {});
      schema->GetTypeAndShapeInferenceFunction()(context);
      for (int i = 0; i < node.output_size(); ++i) {
        const onnx::TypeProto& type = *context.getOutputType(static_cast<std::size_t>(i));
        if (!node.output(i).empty() && type.has_tensor_type()) {
          SetType(node.output(i), type);
        }
      }
    } catch (const std::exception& error) {
      if (opset_ <= NewestOpset()) {
        return InvalidArgument("node '{}' ({}): {}", node.name(), node.op_type(), error.what());
      }
      // By the rules of a later opset it may be right.
    }
    return absl::OkStatus();
  }

  onnx::GraphProto& graph_;
  const int opset_;
  const Uses uses_;
  std::int64_t work_ = 0;
  std::unordered_map<std::string, onnx::TypeProto> types_;
  std::unordered_map<std::string, onnx::TypeProto*> type_pointers_;  // into types_, as libonnx asks
  std::unordered_map<std::string, const onnx::TensorProto*> constants_;   // into graph_
  std::unordered_map<std::string, const onnx::TensorProto*> shape_data_;  // those that are small
  std::unordered_map<std::string, Value> values_;
};

}  // namespace

absl::Status FoldConstants(onnx::ModelProto& model) {
  return Folder(model).Run();
}

}  // namespace inferpool::modelserver::onnx_graph

#include "modelserver/engines/onnx/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace inferpool::modelserver::onnx_graph {
namespace {

absl::Status CheckAttributes(const onnx::NodeProto& node) {
  constexpr std::array<std::string_view, 5> kDivisors = {"strides", "dilations", "kernel_shape",
                                                         "group", "blocksize"};
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (std::ranges::find(kDivisors, attribute.name()) == kDivisors.end()) {
      continue;
    }
    const bool is_int = attribute.type() == onnx::AttributeProto::INT;
    if ((is_int && attribute.i() < 1) ||
        std::ranges::any_of(attribute.ints(), [](std::int64_t value) { return value < 1; })) {
      return InvalidArgument("node '{}' ({}): {} below 1", node.name(), node.op_type(),
                             attribute.name());
    }
  }
  return absl::OkStatus();
}

// Bytes of an element; 0 for types that neither the passes nor OpenCV read.
std::uint64_t ElementBytes(std::int32_t type) {
  switch (type) {
    case onnx::TensorProto::BOOL:
    case onnx::TensorProto::INT8:
    case onnx::TensorProto::UINT8:
      return 1;
    case onnx::TensorProto::FLOAT16:
    case onnx::TensorProto::BFLOAT16:
    case onnx::TensorProto::INT16:
    case onnx::TensorProto::UINT16:
      return 2;
    case onnx::TensorProto::FLOAT:
    case onnx::TensorProto::INT32:
    case onnx::TensorProto::UINT32:
      return 4;
    case onnx::TensorProto::DOUBLE:
    case onnx::TensorProto::INT64:
    case onnx::TensorProto::UINT64:
      return 8;
    default:
      return 0;
  }
}

// OpenCV reads as many elements as the dimensions say.
absl::Status CheckTensor(const onnx::TensorProto& tensor) {
  if (tensor.data_location() == onnx::TensorProto::EXTERNAL) {
    return InvalidArgument("the constant '{}' is in another file", tensor.name());
  }
  const std::uint64_t element = ElementBytes(tensor.data_type());
  if (element == 0) {
    return absl::OkStatus();
  }
  constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 31;  // protobuf's own limit of a file
  std::uint64_t bytes = element;
  for (const std::int64_t size : tensor.dims()) {
    if (size < 0 || static_cast<std::uint64_t>(size) > kMaxBytes) {
      return InvalidArgument("the constant '{}' has a dimension of {}", tensor.name(), size);
    }
    bytes *= static_cast<std::uint64_t>(size);
    if (bytes > kMaxBytes) {
      break;
    }
  }
  // 16-bit numbers have a field of int32 to themselves.
  const int fields =
      std::max({tensor.float_data_size(), tensor.int32_data_size(), tensor.int64_data_size(),
                tensor.double_data_size(), tensor.uint64_data_size()});
  const std::uint64_t held = tensor.raw_data().empty()
                                 ? static_cast<std::uint64_t>(fields) * element
                                 : tensor.raw_data().size();
  if (held != bytes) {
    return InvalidArgument("the constant '{}' holds {} bytes, its dimensions say {}", tensor.name(),
                           held, bytes);
  }
  return absl::OkStatus();
}

absl::Status CheckConstants(const onnx::GraphProto& graph) {
  for (const onnx::TensorProto& tensor : graph.initializer()) {
    RETURN_IF_ERROR(CheckTensor(tensor));
  }
  for (const onnx::NodeProto& node : graph.node()) {
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      if (attribute.has_t()) {
        RETURN_IF_ERROR(CheckTensor(attribute.t()));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckModel(const onnx::ModelProto& model) {
  const onnx::GraphProto& graph = model.graph();
  if (graph.node_size() > kMaxNodes) {
    return InvalidArgument("{} nodes, allowed are {}", graph.node_size(), kMaxNodes);
  }
  std::unordered_set<std::string_view> made;
  for (const onnx::TensorProto& initializer : graph.initializer()) {
    made.insert(initializer.name());
  }
  for (const onnx::SparseTensorProto& initializer : graph.sparse_initializer()) {
    made.insert(initializer.values().name());
  }
  for (const onnx::ValueInfoProto& input : graph.input()) {
    made.insert(input.name());
  }
  for (const onnx::NodeProto& node : graph.node()) {
    for (const std::string& input : node.input()) {
      if (!input.empty() && !made.contains(input)) {
        return InvalidArgument("node '{}' ({}) uses '{}', which nothing before it makes",
                               node.name(), node.op_type(), input);
      }
    }
    for (const std::string& output : node.output()) {
      if (!output.empty() && !made.insert(output).second) {
        return InvalidArgument("node '{}' ({}) makes '{}', which there is already", node.name(),
                               node.op_type(), output);
      }
    }
    RETURN_IF_ERROR(CheckAttributes(node));
  }
  for (const onnx::ValueInfoProto& output : graph.output()) {
    if (!made.contains(output.name())) {
      return InvalidArgument("nothing makes the output '{}'", output.name());
    }
  }
  return CheckConstants(graph);
}

absl::Status CheckSizes(const onnx::GraphProto& graph) {
  for (const onnx::ValueInfoProto& info : graph.value_info()) {
    const auto shape = KnownShape(info.type());
    std::int64_t count = 1;
    for (const std::int64_t size : shape.value_or(std::vector<std::int64_t>())) {
      if (size > kMaxTensorElements || (count *= size) > kMaxTensorElements) {
        return InvalidArgument("the tensor '{}' has over {} elements", info.name(),
                               kMaxTensorElements);
      }
    }
  }
  return absl::OkStatus();
}

bool HasSubgraphs(const onnx::GraphProto& graph) {
  return std::ranges::any_of(graph.node(), [](const onnx::NodeProto& node) {
    return std::ranges::any_of(node.attribute(), [](const onnx::AttributeProto& attribute) {
      return attribute.has_g() || attribute.graphs_size() > 0;
    });
  });
}

int OpsetVersion(const onnx::ModelProto& model) {
  for (const onnx::OperatorSetIdProto& opset : model.opset_import()) {
    if (opset.domain().empty() || opset.domain() == "ai.onnx") {
      return static_cast<int>(std::clamp<std::int64_t>(opset.version(), 0, 1000));
    }
  }
  return 0;
}

bool Is(const onnx::NodeProto& node, std::string_view type) {
  return node.op_type() == type && (node.domain().empty() || node.domain() == "ai.onnx");
}

const onnx::AttributeProto* FindAttribute(const onnx::NodeProto& node, std::string_view name) {
  const auto found = std::ranges::find(node.attribute(), name, &onnx::AttributeProto::name);
  return found == node.attribute().end() ? nullptr : &*found;
}

std::int64_t IntAttribute(const onnx::NodeProto& node, std::string_view name,
                          std::int64_t otherwise) {
  const onnx::AttributeProto* attribute = FindAttribute(node, name);
  return attribute == nullptr ? otherwise : attribute->i();
}

std::optional<std::vector<std::int64_t>> IntsAttribute(const onnx::NodeProto& node,
                                                       std::string_view name) {
  const onnx::AttributeProto* attribute = FindAttribute(node, name);
  if (attribute == nullptr) {
    return std::nullopt;
  }
  return std::vector<std::int64_t>(attribute->ints().begin(), attribute->ints().end());
}

std::optional<std::vector<std::int64_t>> KnownShape(const onnx::TypeProto& type) {
  if (!type.has_tensor_type() || !type.tensor_type().has_shape()) {
    return std::nullopt;
  }
  std::vector<std::int64_t> shape;
  for (const onnx::TensorShapeProto::Dimension& dimension : type.tensor_type().shape().dim()) {
    if (!dimension.has_dim_value() || dimension.dim_value() < 0) {
      return std::nullopt;
    }
    shape.push_back(dimension.dim_value());
  }
  return shape;
}

void RemoveNodes(const std::vector<bool>& gone, onnx::GraphProto& graph) {
  int kept = 0;
  for (int i = 0; i < graph.node_size(); ++i) {
    if (!gone[static_cast<std::size_t>(i)]) {
      graph.mutable_node()->SwapElements(kept++, i);
    }
  }
  graph.mutable_node()->DeleteSubrange(kept, graph.node_size() - kept);
}

Uses::Uses(const onnx::GraphProto& graph) {
  for (const onnx::NodeProto& node : graph.node()) {
    for (const std::string& input : node.input()) {
      ++counts_[input];
    }
  }
  for (const onnx::ValueInfoProto& output : graph.output()) {
    ++counts_[output.name()];
    outputs_.insert(output.name());
  }
}

int Uses::Count(const std::string& name) const {
  const auto found = counts_.find(name);
  return found == counts_.end() ? 0 : found->second;
}

FreshNames::FreshNames(const onnx::GraphProto& graph) {
  for (const onnx::NodeProto& node : graph.node()) {
    taken_.insert(node.input().begin(), node.input().end());
    taken_.insert(node.output().begin(), node.output().end());
  }
  for (const onnx::TensorProto& initializer : graph.initializer()) {
    taken_.insert(initializer.name());
  }
}

std::string FreshNames::Make(const std::string& stem) {
  std::string name = stem;
  for (int number = 1; !taken_.insert(name).second; ++number) {
    name = fmt::format("{}_{}", stem, number);
  }
  return name;
}

}  // namespace inferpool::modelserver::onnx_graph

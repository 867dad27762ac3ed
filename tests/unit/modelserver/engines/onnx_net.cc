#include "tests/unit/modelserver/engines/onnx_net.h"

#include <cstring>

namespace inferpool::modelserver {
namespace {

std::string Varint(std::uint64_t number) {
  std::string bytes;
  for (; number > 0x7f; number >>= 7U) {
    bytes += static_cast<char>((number & 0x7fU) | 0x80U);
  }
  return bytes + static_cast<char>(number);
}

std::string Field(std::uint64_t field, std::uint64_t value) {
  return Varint(field << 3U) + Varint(value);
}

std::string Field(std::uint64_t field, std::string_view value) {
  return Varint(field << 3U | 2U) + Varint(value.size()) + std::string(value);
}

std::string Value(std::string_view name, OnnxElement type, const OnnxNet::Shape& shape) {
  std::string dimensions;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const std::string symbol = i == 0 ? "batch" : "d" + std::to_string(i);
    dimensions += Field(1, shape[i] >= 0 ? Field(1, static_cast<std::uint64_t>(shape[i]))
                                         : Field(2, std::string_view(symbol)));
  }
  const std::string tensor = Field(1, static_cast<std::uint64_t>(type)) + Field(2, dimensions);
  return Field(1, name) + Field(2, Field(1, tensor));
}

std::string Tensor(std::string_view name, OnnxElement type, const OnnxNet::Shape& shape) {
  std::string bytes;
  for (const std::int64_t size : shape) bytes += Field(1, static_cast<std::uint64_t>(size));
  return bytes + Field(2, static_cast<std::uint64_t>(type)) + Field(8, name);
}

}  // namespace

OnnxNet& OnnxNet::Input(std::string_view name, OnnxElement type, const Shape& shape) {
  graph_ += Field(11, Value(name, type, shape));
  return *this;
}

OnnxNet& OnnxNet::Output(std::string_view name, OnnxElement type, const Shape& shape) {
  graph_ += Field(12, Value(name, type, shape));
  return *this;
}

OnnxNet& OnnxNet::Node(std::string_view operation, const std::vector<std::string>& inputs,
                       const std::vector<std::string>& outputs,
                       const std::vector<Attribute>& attributes) {
  std::string node;
  for (const std::string& input : inputs) node += Field(1, input);
  for (const std::string& output : outputs) node += Field(2, output);
  node += Field(3, outputs.front()) + Field(4, operation);
  for (const Attribute& attribute : attributes) {
    std::string bytes = Field(1, attribute.name);
    for (const std::int64_t value : attribute.ints) {
      bytes += Field(8, static_cast<std::uint64_t>(value));
    }
    bytes += attribute.ints.empty()
                 ? Field(3, static_cast<std::uint64_t>(attribute.integer)) + Field(20, 2)
                 : Field(20, 7);
    node += Field(5, bytes);
  }
  graph_ += Field(1, node);
  return *this;
}

OnnxNet& OnnxNet::Constant(std::string_view name, OnnxElement type, const Shape& shape,
                           std::string_view raw) {
  graph_ += Field(5, Tensor(name, type, shape) + Field(9, raw));
  return *this;
}

OnnxNet& OnnxNet::Integers(std::string_view name, const std::vector<std::int64_t>& values) {
  std::string raw(values.size() * sizeof(std::int64_t), '\0');
  std::memcpy(raw.data(), values.data(), raw.size());
  return Constant(name, OnnxElement::kInt64, {static_cast<std::int64_t>(values.size())}, raw);
}

OnnxNet& OnnxNet::External(std::string_view name, OnnxElement type, const Shape& shape,
                           std::string_view file) {
  const std::string location = Field(1, std::string_view("location")) + Field(2, file);
  graph_ += Field(5, Tensor(name, type, shape) + Field(13, location) + Field(14, 1));
  return *this;
}

OnnxNet& OnnxNet::Metadata(std::string_view key, std::string_view value) {
  metadata_ += OnnxMetadata(key, value);
  return *this;
}

std::string OnnxNet::Bytes(std::uint64_t opset) const {
  const std::string graph = graph_ + Field(2, std::string_view("net"));
  return Field(1, 8) + Field(7, graph) + Field(8, Field(1, std::string_view()) + Field(2, opset)) +
         metadata_;
}

std::string OnnxMetadata(std::string_view key, std::string_view value) {
  return Field(14, Field(1, key) + Field(2, value));
}

}  // namespace inferpool::modelserver

// What the passes share: checks of a graph that comes from an unknown source, attributes, and
// names.
//
// The passes rewrite an ONNX graph when it is loaded (rewrite.h). Each takes a graph that has
// passed CheckModel and leaves one that would pass it again. A pass leaves alone what it does not
// recognize. None throws, except std::bad_alloc.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "shared/base/status.h"

namespace inferpool::modelserver::onnx_graph {

// More than ten times the nodes of the largest detectors. The limit is needed because parts of
// OpenCV's importer take quadratic time.
inline constexpr int kMaxNodes = 20'000;

// Checks that `model` is valid by ONNX's specification, as far as the passes, libonnx's shape
// inference and OpenCV rely on it without a check of their own: there are at most kMaxNodes nodes;
// every name is made once, and before it is used, so that there is no cycle; constants are as large
// as their dimensions say; no stride, dilation, kernel or group is below 1, because both libraries
// divide by them. INVALID_ARGUMENT that names the node.
absl::Status CheckModel(const onnx::ModelProto& model);

// 512 MiB of floats, which is about twenty times the largest tensor of a detector at 1280 x 1280.
inline constexpr std::int64_t kMaxTensorElements = std::int64_t{1} << 27;

// Checks that the tensors that `graph` computes have at most kMaxTensorElements elements, as far as
// value_info has their shapes. INVALID_ARGUMENT that names the tensor.
absl::Status CheckSizes(const onnx::GraphProto& graph);

// Whether a node contains a graph (If, Loop, Scan). Such a graph can use names of the outer one
// without listing them as inputs.
bool HasSubgraphs(const onnx::GraphProto& graph);

// The version of the standard operators that `model` requires; 0 when it names none.
int OpsetVersion(const onnx::ModelProto& model);

// Whether `node` is the standard operator `type`.
bool Is(const onnx::NodeProto& node, std::string_view type);

const onnx::AttributeProto* FindAttribute(const onnx::NodeProto& node, std::string_view name);
std::int64_t IntAttribute(const onnx::NodeProto& node, std::string_view name,
                          std::int64_t otherwise);
std::optional<std::vector<std::int64_t>> IntsAttribute(const onnx::NodeProto& node,
                                                       std::string_view name);

// The sizes of the tensor's dimensions; nullopt unless all are known.
std::optional<std::vector<std::int64_t>> KnownShape(const onnx::TypeProto& type);

// Removes the nodes that `gone` marks. It has one flag per node.
void RemoveNodes(const std::vector<bool>& gone, onnx::GraphProto& graph);

// Tells how often names are used in a graph, as it was at construction.
class Uses {
 public:
  explicit Uses(const onnx::GraphProto& graph);

  // The number of node inputs of that name, plus one when it is an output of the graph.
  int Count(const std::string& name) const;
  bool IsOutput(const std::string& name) const { return outputs_.contains(name); }

 private:
  std::unordered_map<std::string, int> counts_;
  std::unordered_set<std::string> outputs_;
};

// Makes names that no tensor of the graph has yet, each from a stem.
class FreshNames {
 public:
  explicit FreshNames(const onnx::GraphProto& graph);
  std::string Make(const std::string& stem);

 private:
  std::unordered_set<std::string> taken_;
};

}  // namespace inferpool::modelserver::onnx_graph

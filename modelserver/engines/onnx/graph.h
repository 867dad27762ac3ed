// What the passes share: checks of a graph that nobody vouches for, attributes, and names.
//
// The passes rewrite an ONNX graph on load (rewrite.h). Each takes a graph that CheckModel has
// passed and leaves one that it would pass; what a pass does not recognize it leaves alone. None
// throws but for std::bad_alloc.
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

// More than ten times the nodes of the largest detectors; OpenCV's importer is quadratic in places.
inline constexpr int kMaxNodes = 20'000;

// Whether `model` is what ONNX's specification calls valid, as far as the passes, libonnx's shape
// inference and OpenCV rely on it without looking: at most kMaxNodes nodes, every name made once,
// and before it is used (so there is no cycle); constants as large as their dimensions say; no
// stride, dilation, kernel or group below 1, by which both libraries divide. Error:
// INVALID_ARGUMENT that names the node.
absl::Status CheckModel(const onnx::ModelProto& model);

// A tensor of 512 MiB, some twenty times the largest of a detector at 1280 x 1280.
inline constexpr std::int64_t kMaxTensorElements = std::int64_t{1} << 27;

// Whether the tensors that `graph` computes, as far as value_info knows them, have a size with
// which this can end in our lifetime. Error: INVALID_ARGUMENT that names the tensor.
absl::Status CheckSizes(const onnx::GraphProto& graph);

// Whether a node contains a graph (If, Loop, Scan), which uses outer names without saying so.
bool HasSubgraphs(const onnx::GraphProto& graph);

// The version of the standard operators that `model` asks for; 0 when it names none.
int OpsetVersion(const onnx::ModelProto& model);

// Whether `node` is the standard operator `type`.
bool Is(const onnx::NodeProto& node, std::string_view type);

const onnx::AttributeProto* FindAttribute(const onnx::NodeProto& node, std::string_view name);
std::int64_t IntAttribute(const onnx::NodeProto& node, std::string_view name,
                          std::int64_t otherwise);
std::optional<std::vector<std::int64_t>> IntsAttribute(const onnx::NodeProto& node,
                                                       std::string_view name);

// The sizes of a tensor whose dimensions are all known.
std::optional<std::vector<std::int64_t>> KnownShape(const onnx::TypeProto& type);

// Removes the nodes that `gone` marks; one flag a node.
void RemoveNodes(const std::vector<bool>& gone, onnx::GraphProto& graph);

// Who uses a name: how many node inputs, and whether it is an output of the graph. A copy of the
// state at construction.
class Uses {
 public:
  explicit Uses(const onnx::GraphProto& graph);

  int Count(const std::string& name) const;  // an output of the graph counts as one more
  bool IsOutput(const std::string& name) const { return outputs_.contains(name); }

 private:
  std::unordered_map<std::string, int> counts_;
  std::unordered_set<std::string> outputs_;
};

// Names that no tensor of the graph has yet, made of a stem.
class FreshNames {
 public:
  explicit FreshNames(const onnx::GraphProto& graph);
  std::string Make(const std::string& stem);

 private:
  std::unordered_set<std::string> taken_;
};

}  // namespace inferpool::modelserver::onnx_graph

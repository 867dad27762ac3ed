#include "modelserver/engines/onnx/rewrite.h"

#include <algorithm>

#include "modelserver/engines/onnx/constant_dividends.h"
#include "modelserver/engines/onnx/constant_folding.h"
#include "modelserver/engines/onnx/constant_operands.h"
#include "modelserver/engines/onnx/graph.h"
#include "modelserver/engines/onnx/identities.h"
#include "modelserver/engines/onnx/silu.h"
#include "modelserver/engines/onnx/split_sizes.h"
#include "modelserver/engines/onnx/unused.h"

namespace inferpool::modelserver::onnx_graph {

absl::Status RewriteForOpenCv(const InputShapes& shapes, std::span<const std::string> outputs,
                              onnx::ModelProto& model) {
  RETURN_IF_ERROR(CheckModel(model));
  onnx::GraphProto& graph = *model.mutable_graph();
  for (const std::string& output : outputs) {
    if (std::ranges::find(graph.output(), output, &onnx::ValueInfoProto::name) ==
        graph.output().end()) {
      return InvalidArgument("there is no output '{}'", output);
    }
  }
  if (HasSubgraphs(graph)) {
    return absl::OkStatus();
  }
  SetInputShapes(shapes, graph);
  RemoveIdentities(graph);
  RemoveUnused(outputs, graph);
  RETURN_IF_ERROR(FoldConstants(model));
  RETURN_IF_ERROR(CheckSizes(graph));
  WriteSplitSizes(graph);
  ExpandConstantOperands(graph);
  RewriteConstantDividends(graph);
  UseFastSigmoids(graph);
  RemoveUnused(outputs, graph);
  graph.clear_value_info();
  return absl::OkStatus();
}

}  // namespace inferpool::modelserver::onnx_graph

#include "modelserver/engines/onnx/input_shapes.h"

#include <algorithm>

namespace inferpool::modelserver::onnx_graph {

void SetInputShapes(const InputShapes& shapes, onnx::GraphProto& graph) {
  for (onnx::ValueInfoProto& input : *graph.mutable_input()) {
    const auto found = shapes.find(input.name());
    if (found == shapes.end() || !input.type().tensor_type().has_shape()) {
      continue;
    }
    auto& dims = *input.mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim();
    if (!std::ranges::equal(found->second, dims,
                            [](std::int64_t size, const onnx::TensorShapeProto::Dimension& dim) {
                              return size > 0 && (dim.dim_value() <= 0 || dim.dim_value() == size);
                            })) {
      continue;
    }
    for (int i = 0; i < dims.size(); ++i) {
      dims[i].set_dim_value(found->second[static_cast<std::size_t>(i)]);
    }
  }
}

}  // namespace inferpool::modelserver::onnx_graph

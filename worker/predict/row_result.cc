#include "worker/predict/row_result.h"

#include <cstdint>
#include <vector>

#include "proto/tensor.h"

namespace inferpool::predict {

absl::StatusOr<vision::Result> ReadRow(const vision::ModelPlan& plan, const backend::RowAnswer& row,
                                       const vision::Placement& placement,
                                       const vision::Options& options) {
  std::vector<TensorView> views = row.answer->tensors();
  std::vector<std::vector<std::int64_t>> shapes;  // of one row of several, to which its views point
  shapes.reserve(views.size());
  for (TensorView& view : views) {
    if (row.rows > 1) {
      ASSIGN_OR_RETURN(view.data, backend::RowOf(view, row.rows, row.row));
      view.shape = shapes.emplace_back(view.shape.begin(), view.shape.end());
      shapes.back().front() = 1;
    }
  }
  return vision::Postprocess(plan, views, placement, options);
}

}  // namespace inferpool::predict

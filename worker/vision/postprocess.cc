#include "worker/vision/postprocess.h"

#include <fmt/format.h>

#include <exception>

#include "worker/vision/families/family_table.h"

namespace inferpool::vision {

absl::StatusOr<Result> Postprocess(const ModelPlan& plan, std::span<const TensorView> outputs,
                                   const Placement& placement, const Options& options) {
  try {
    return RowOf(plan.family).read(plan, outputs, placement, options);
  } catch (const std::exception& error) {
    return absl::ResourceExhaustedError(fmt::format("cannot read the answer: {}", error.what()));
  }
}

}  // namespace inferpool::vision

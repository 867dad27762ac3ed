#include "worker/vision/families/rt_detr.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "shared/base/status.h"
#include "worker/vision/families/boxes.h"
#include "worker/vision/families/nms_free_decoders.h"
#include "worker/vision/families/yolo_decoders.h"

namespace inferpool::vision {
namespace {

// Every query has a box, whether or not it found anything, and all of them are in the same units.
absl::Status CheckBox(const ModelPlan& plan, std::span<const float> box) {
  constexpr float kMaxNormalized = 2;
  for (const float value : box.first(4)) {
    if (!std::isfinite(value)) {
      return NotFinite(plan.outputs.front());
    }
    if (plan.normalized_boxes && std::abs(value) > kMaxNormalized) {
      return Misfit(plan,
                    "the model's output {} has {:.6g} in a box, and boxes are taken for 0 to 1",
                    plan.outputs.front(), value);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Candidates> ReadRtDetr(const ModelPlan& plan, const Numbers& table,
                                      float confidence) {
  const std::size_t columns = table.shape()[1];
  if (columns < 5 || (plan.classes > 0 && columns - 4 != plan.classes)) {
    return absl::InternalError(
        fmt::format("the model's output {} has {} values a query, which is not 4 + {} classes",
                    plan.outputs.front(), columns, plan.classes));
  }
  Candidates candidates;
  for (std::size_t query = 0; query < table.shape()[0]; ++query) {
    const std::span<const float> row = table.Row(query);
    RETURN_IF_ERROR(CheckBox(plan, row));
    for (const float score : row.subspan(4)) {
      RETURN_IF_ERROR(CheckScore(plan, plan.outputs.front(), score));
    }
    const auto best = std::max_element(row.begin() + 4, row.end());
    if (*best > confidence) {
      candidates.push_back({row[0] - row[2] / 2, row[1] - row[3] / 2, row[0] + row[2] / 2,
                            row[1] + row[3] / 2, *best, static_cast<int>(best - row.begin()) - 4,
                            static_cast<std::uint32_t>(query)});
    }
  }
  return candidates;
}

bool ClaimsRtDetr(const OutputFacts& facts) {
  const OutputFact* table = facts.Table();
  if (table == nullptr || facts.outputs.size() != 1 || facts.names == 0) {
    return false;
  }
  const std::int64_t queries = table->row[0];
  const std::int64_t columns = table->row[1];
  // Two classes' columns are also those of finished rows, and a YOLO's table may lie on its side.
  return columns == 4 + facts.names && columns != 6 && queries > 0 && queries <= kMaxRows &&
         queries != 4 + facts.names && !FitsGrids(queries, facts.input, 1);
}

absl::Status PlanRtDetr(const OutputFacts& facts, ModelPlan& plan) {
  Shape row;
  ASSIGN_OR_RETURN(const OutputFact* table, FindTable(facts, row));
  plan.outputs = {table->spec->name};
  plan.normalized_boxes = facts.normalized_boxes.value_or(true);
  return PlanClasses(facts, *table, row[1], 4, plan);
}

absl::StatusOr<Result> DetectRtDetr(const ModelPlan& plan, std::span<const TensorView> outputs,
                                    const Placement& placement, const Options& options) {
  ASSIGN_OR_RETURN(const Numbers table, ReadOutput(outputs, plan.outputs.front(), 2));
  ASSIGN_OR_RETURN(Candidates candidates, ReadRtDetr(plan, table, options.confidence));
  return Finish(plan, std::move(candidates), placement, options, Duplicates::kKeep);
}

}  // namespace inferpool::vision

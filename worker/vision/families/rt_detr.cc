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

bool AreWhole(const Numbers& table, std::size_t column) {
  for (std::size_t row = 0; row < table.shape()[0]; ++row) {
    const float value = table.Row(row)[column];
    if (value < 0 || value != std::floor(value)) {
      return false;
    }
  }
  return true;
}

bool NameOneClassEach(const ModelPlan& plan, const Numbers& table) {
  return table.shape()[1] == 6 && ((plan.classes != 0 && plan.classes != 2) || AreWhole(table, 5));
}

absl::StatusOr<Candidates> ReadBestClasses(const ModelPlan& plan, const Numbers& table,
                                           float confidence) {
  for (std::size_t query = 0; query < table.shape()[0]; ++query) {
    RETURN_IF_ERROR(CheckBox(plan, table.Row(query)));
  }
  ASSIGN_OR_RETURN(Candidates candidates, ReadRows(plan, table, 0, confidence));
  for (Candidate& found : candidates) {
    const std::span<const float> row = table.Row(found.source);
    found.x1 = row[0] - row[2] / 2;
    found.y1 = row[1] - row[3] / 2;
    found.x2 = row[0] + row[2] / 2;
    found.y2 = row[1] + row[3] / 2;
  }
  return candidates;
}

}  // namespace

absl::StatusOr<Candidates> ReadRtDetr(const ModelPlan& plan, const Numbers& table,
                                      float confidence) {
  if (NameOneClassEach(plan, table)) {
    return ReadBestClasses(plan, table, confidence);
  }
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

bool HasRtDetrHead(const OutputFacts& facts) {
  return facts.head == "rtdetrdecoder";
}

bool ClaimsRtDetr(const OutputFacts& facts) {
  const OutputFact* table = facts.Table();
  if (table == nullptr || facts.outputs.size() != 1) {
    return false;
  }
  if (HasRtDetrHead(facts)) {
    return table->row[1] == 6 || table->row[1] == 4 + facts.names;
  }
  if (facts.names == 0) {
    return false;
  }
  const std::int64_t queries = table->row[0];
  const std::int64_t columns = table->row[1];
  // One class's columns are also those of finished rows without a class (x1, y1, x2, y2, score),
  // and two classes' those of rows with one; a YOLO's table may lie on its side.
  return columns == 4 + facts.names && columns > 6 && queries > 0 && queries <= kMaxRows &&
         queries != 4 + facts.names && !FitsGrids(queries, facts.input, 1);
}

absl::Status PlanRtDetr(const OutputFacts& facts, ModelPlan& plan) {
  Shape row;
  ASSIGN_OR_RETURN(const OutputFact* table, FindTable(facts, row));
  plan.outputs = {table->spec->name};
  plan.normalized_boxes = facts.normalized_boxes.value_or(true);
  if (row[1] == 6 && facts.names != 2) {
    plan.classes = static_cast<std::size_t>(facts.names);
    return absl::OkStatus();
  }
  return PlanClasses(facts, *table, row[1], 4, plan);
}

absl::StatusOr<Result> DetectRtDetr(const ModelPlan& plan, std::span<const TensorView> outputs,
                                    const Placement& placement, const Options& options) {
  ASSIGN_OR_RETURN(const Numbers table, ReadOutput(outputs, plan.outputs.front(), 2));
  ASSIGN_OR_RETURN(Candidates candidates, ReadRtDetr(plan, table, options.LeastConfidence()));
  return Finish(plan, std::move(candidates), placement, options, Duplicates::kKeep);
}

}  // namespace inferpool::vision

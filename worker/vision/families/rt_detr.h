// The family rt_detr: queries with a box in 0..1, and a score for each class or the best one alone.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <span>

#include "proto/datatype.h"
#include "worker/vision/families/candidate.h"
#include "worker/vision/families/output_facts.h"
#include "worker/vision/families/output_numbers.h"
#include "worker/vision/families/placement.h"
#include "worker/vision/families/plan.h"
#include "worker/vision/families/result.h"

namespace inferpool::vision {

// Reads [queries, 4 + classes], as Ultralytics exports RT-DETR: cx, cy, w, h, the scores; or
// [queries, 6], as it does since version 8.4: cx, cy, w, h, score, class. Where there are two
// classes, or it is not known how many, six columns are the latter if all of the last one are whole
// numbers, which no column of scores is. Returns the queries whose best class scores above
// `confidence`, in their order; each finds another object. INTERNAL: not such a tensor, or a value
// is not finite. FAILED_PRECONDITION: a score outside of 0..1, or a class that is none.
absl::StatusOr<Candidates> ReadRtDetr(const ModelPlan& plan, const Numbers& table,
                                      float confidence);

// Whether the net's own head is RT-DETR's, as Ultralytics' metadata says since version 8.4.
bool HasRtDetrHead(const OutputFacts& facts);

// For the family table.
bool ClaimsRtDetr(const OutputFacts& facts);
absl::Status PlanRtDetr(const OutputFacts& facts, ModelPlan& plan);
absl::StatusOr<Result> DetectRtDetr(const ModelPlan& plan, std::span<const TensorView> outputs,
                                    const Placement& placement, const Options& options);

}  // namespace inferpool::vision

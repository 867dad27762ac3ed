// Decoders of outputs whose model has already suppressed duplicates.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstddef>
#include <span>

#include "proto/datatype.h"
#include "worker/vision/families/candidate.h"
#include "worker/vision/families/output_facts.h"
#include "worker/vision/families/output_numbers.h"
#include "worker/vision/families/placement.h"
#include "worker/vision/families/plan.h"
#include "worker/vision/families/result.h"

namespace inferpool::vision {

// As many rows as a net of this kind is believed to have; raw heads have thousands of anchors.
inline constexpr std::int64_t kMaxRows = 1000;

// Reads num_dets [1] INT32, then the first num_dets rows of det_boxes [N, 4], det_scores [N] and
// det_classes [N] (INT32 or floating point), as TensorRT's EfficientNMS plugin writes them. Returns
// the detections above `confidence`, in the model's coordinates and the answer's order. INTERNAL:
// the outputs are not such tensors, num_dets is negative or above N, or a value is not finite.
// FAILED_PRECONDITION: a score outside of 0..1, or a class that is none.
absl::StatusOr<Candidates> ReadEndToEnd(const ModelPlan& plan, std::span<const TensorView> outputs,
                                        float confidence);

// Reads [N, 6 + behind]: x1, y1, x2, y2, score, class (`behind`: what else is in a row). All rows
// are checked, and those not above `confidence` are left out. A row without an object may have the
// class -1 and a score of 0 or below. Otherwise as above.
absl::StatusOr<Candidates> ReadRows(const ModelPlan& plan, const Numbers& table, std::size_t behind,
                                    float confidence);

// For the family table.
bool ClaimsEndToEnd(const OutputFacts& facts);
bool ClaimsNmsFree(const OutputFacts& facts);
absl::Status PlanEndToEnd(const OutputFacts& facts, ModelPlan& plan);
absl::Status PlanNmsFree(const OutputFacts& facts, ModelPlan& plan);
absl::StatusOr<Result> DetectEndToEnd(const ModelPlan& plan, std::span<const TensorView> outputs,
                                      const Placement& placement, const Options& options);
absl::StatusOr<Result> DetectNmsFree(const ModelPlan& plan, std::span<const TensorView> outputs,
                                     const Placement& placement, const Options& options);

}  // namespace inferpool::vision

// Decoders of YOLO outputs that hold every anchor, so that duplicates are to be suppressed.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstddef>
#include <opencv2/core/types.hpp>
#include <span>

#include "proto/datatype.h"
#include "worker/vision/families/candidate.h"
#include "worker/vision/families/output_facts.h"
#include "worker/vision/families/output_numbers.h"
#include "worker/vision/families/placement.h"
#include "worker/vision/families/plan.h"
#include "worker/vision/families/result.h"

namespace inferpool::vision {

// Reads [4 + classes + behind, anchors], with boxes as cx, cy, w, h in the model's coordinates.
// Returns the anchors whose best class scores above `confidence`, in the anchors' order, with one
// class per box, as in Ultralytics' non_max_suppression. `behind`: rows that are no classes.
//
// INTERNAL: the output is not such a tensor, or a score is not a number. FAILED_PRECONDITION: the
// numbers are no such table's: a score outside of 0..1, boxes in other units, an object at more
// than half of the anchors, or (plan.told_by_shape) not as many anchors as `input` gives.
absl::StatusOr<Candidates> ReadYoloV8(const ModelPlan& plan, const Numbers& head,
                                      std::size_t behind, float confidence, cv::Size input);

// Reads [anchors, 5 + classes], otherwise as above. The confidence is the objectness times the
// class's score; both the objectness and the product must be above `confidence`, as in YOLOv5's
// non_max_suppression. FAILED_PRECONDITION also: one anchor a cell, as YOLOX has, unless
// plan.family_named.
absl::StatusOr<Candidates> ReadYoloV5(const ModelPlan& plan, const Numbers& head, float confidence,
                                      cv::Size input);

// Reads [anchors, 5 + classes] as YOLOX exports it: as above, but a box is an offset from its cell
// and the logarithm of its size, in units of the cell. The cells are those of the strides 8, 16 and
// 32, row by row.
absl::StatusOr<Candidates> ReadYolox(const ModelPlan& plan, const Numbers& head, float confidence,
                                     cv::Size input);

// For the family table.
bool ClaimsYoloV8(const OutputFacts& facts);
bool ClaimsYoloV5(const OutputFacts& facts);
absl::Status PlanYoloV8(const OutputFacts& facts, ModelPlan& plan);
absl::Status PlanYoloV5(const OutputFacts& facts, ModelPlan& plan);
absl::StatusOr<Result> DetectYoloV8(const ModelPlan& plan, std::span<const TensorView> outputs,
                                    const Placement& placement, const Options& options);
absl::StatusOr<Result> DetectYoloV5(const ModelPlan& plan, std::span<const TensorView> outputs,
                                    const Placement& placement, const Options& options);
absl::StatusOr<Result> DetectYolox(const ModelPlan& plan, std::span<const TensorView> outputs,
                                   const Placement& placement, const Options& options);

// Finds the table of a family of the row [first, last] (-1: any length): the output that is named,
// or the only floating-point one of two dimensions. FAILED_PRECONDITION: there is none, or several.
absl::StatusOr<const OutputFact*> FindTable(const OutputFacts& facts, Shape& row);

// Holds the number of classes of an output against the class names, and sets plan.classes.
// `length`: the output's, kAny when open; `around`: of these, what is no class.
absl::Status PlanClasses(const OutputFacts& facts, const OutputFact& output, std::int64_t length,
                         std::int64_t around, ModelPlan& plan);

}  // namespace inferpool::vision

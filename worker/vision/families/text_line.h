// Family text_line: decodes the answer of a line recogniser that was trained with connectionist
// temporal classification ("CTC": Graves et al., 2006): for each step along the line the
// probabilities of all characters and of the blank.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <span>

#include "proto/datatype.h"
#include "worker/vision/families/output_facts.h"
#include "worker/vision/families/output_numbers.h"
#include "worker/vision/families/placement.h"
#include "worker/vision/families/plan.h"
#include "worker/vision/families/result.h"

namespace inferpool::vision {

// Takes the most probable class of each step of `steps`, [steps, classes]; a run of the same class
// counts once, and blanks are left out. The classes are the blank, then the characters of
// `plan.dictionary`, then, if there is one class more, the space, as PaddleOCR has them. Spaces
// (also U+3000) at both ends are dropped, because a recogniser sees them in a picture's margins.
// The confidence is the mean over the characters that are left of the probability at the first step
// of each.
//
// With plan.scores kLogits, each step goes through softmax first. INTERNAL: the number of classes
// is another one, or a value is not finite. FAILED_PRECONDITION: the values of a step are no
// probabilities that add up to 1.
absl::StatusOr<TextLine> DecodeTextLine(const ModelPlan& plan, const Numbers& steps);

// For the family table. [steps, 1 + characters], or one more with the space. The class names are
// the dictionary. A model has to name this family, because other tables look the same.
absl::Status PlanTextLine(const OutputFacts& facts, ModelPlan& plan);
absl::StatusOr<Result> ReadTextLine(const ModelPlan& plan, std::span<const TensorView> outputs,
                                    const Placement& placement, const Options& options);

}  // namespace inferpool::vision

// What all families of boxes have in common: checks of what a net put out, and the way from its
// candidates to detections in the picture.
//
// A run's numbers are checked because a net's metadata does not always tell its family. An error is
// FAILED_PRECONDITION when the outputs are evidently not what the plan takes them for: the text
// says what to set. It is INTERNAL when the run went wrong: a value is not a finite number.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <fmt/format.h>

#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include "shared/base/status.h"
#include "worker/vision/families/candidate.h"
#include "worker/vision/families/nms.h"
#include "worker/vision/families/placement.h"
#include "worker/vision/families/plan.h"
#include "worker/vision/families/result.h"

namespace inferpool::vision {

// A net's rounding may leave a score so far outside of 0..1.
inline constexpr float kScoreSlack = 0.01F;

// The error that an output's numbers are not what the plan takes them for: `what` says which.
absl::Status MisfitOf(const ModelPlan& plan, std::string_view what);

template <typename... Arguments>
absl::Status Misfit(const ModelPlan& plan, fmt::format_string<Arguments...> what,
                    Arguments&&... arguments) {
  return MisfitOf(plan, fmt::format(what, std::forward<Arguments>(arguments)...));
}

// The error that a value of `output` is not a finite number.
absl::Status NotFinite(std::string_view output);

// Checks one score: finite and within 0..1, give or take kScoreSlack.
absl::Status CheckScore(const ModelPlan& plan, std::string_view output, float score);

// Returns the class whose number the model put out: whole, not negative, and within the names.
absl::StatusOr<int> ReadClass(const ModelPlan& plan, std::string_view output, float number);

// Fills in what the outputs say of a candidate besides its box, in the input's pixels.
using Details = std::function<absl::Status(const Candidate& candidate, Detection& detection)>;

// Whether several candidates may be the same object.
enum class Duplicates { kSuppress, kKeep };

// Makes detections in the picture, most confident first, of candidates in the model's coordinates
// (plan.normalized_boxes) that were read with options.LeastConfidence(). Boxes without an area in
// the picture are dropped, and before any suppression those that are not wanted. `details` is
// called only for those that are left, and may be null. INTERNAL and FAILED_PRECONDITION: see
// above; also when boxes lie far outside of the input, or in 0..1 where pixels are expected, or the
// reverse.
absl::StatusOr<Result> Finish(const ModelPlan& plan, Candidates candidates,
                              const Placement& placement, const Options& options,
                              Duplicates duplicates, const Details& details = nullptr);

// The parts of Finish, for families with an overlap of their own.
//
// Whether a candidate is of a class that is wanted and confident enough for it.
template <typename Box>
bool IsWanted(const Box& box, const Options& options) {
  return options.Wants(box.class_id) && box.confidence > options.ConfidenceOf(box.class_id);
}

// Which boxes suppress each other; nullopt: none do. A net that has no duplicates itself may have
// several boxes for one object only where they are of different classes.
std::optional<Alike> SuppressedOf(Duplicates duplicates, const Options& options);

absl::Status ScaleAndCheck(const ModelPlan& plan, Candidates& candidates, cv::Size input);
absl::StatusOr<Result> ToPicture(const Candidates& candidates, const Placement& placement,
                                 std::size_t max_detections, const Details& details);

}  // namespace inferpool::vision

#include "worker/vision/families/boxes.h"

#include <algorithm>
#include <cmath>

#include "worker/vision/families/family_table.h"
#include "worker/vision/families/nms.h"

namespace inferpool::vision {
namespace {

// Boxes in 0..1 may reach beyond the picture; a box in pixels does not end within this.
constexpr float kMaxNormalized = 2;

bool IsFinite(const Candidate& box) {
  return std::isfinite(box.x1) && std::isfinite(box.y1) && std::isfinite(box.x2) &&
         std::isfinite(box.y2) && std::isfinite(box.confidence);
}

float FarthestEdge(const Candidates& boxes) {
  float farthest = 0;
  for (const Candidate& box : boxes) {
    farthest = std::max(
        {farthest, std::abs(box.x1), std::abs(box.y1), std::abs(box.x2), std::abs(box.y2)});
  }
  return farthest;
}

// Nets put boxes beyond the edge of the picture, but not this far.
bool IsWithinReason(const Candidate& box, cv::Size input) {
  constexpr float kSides = 10;
  const float x = kSides * static_cast<float>(input.width);
  const float y = kSides * static_cast<float>(input.height);
  return box.x1 >= -x && box.x2 <= x && box.y1 >= -y && box.y2 <= y;
}

}  // namespace

absl::Status MisfitOf(const ModelPlan& plan, std::string_view what) {
  return absl::FailedPreconditionError(
      fmt::format("{}; so its outputs are not what family {} reads: set the parameter \"family\" "
                  "in config.pbtxt to what they are (docs/models.md has the families)",
                  what, Name(plan.family)));
}

absl::Status NotFinite(std::string_view output) {
  return absl::InternalError(
      fmt::format("the model's output {} has a value that is not a finite number", output));
}

absl::Status CheckScore(const ModelPlan& plan, std::string_view output, float score) {
  if (!std::isfinite(score)) {
    return NotFinite(output);
  }
  if (score < -kScoreSlack || score > 1 + kScoreSlack) {
    return Misfit(plan, "the model's output {} has the score {:.6g}, and scores are 0 to 1", output,
                  score);
  }
  return absl::OkStatus();
}

absl::StatusOr<int> ReadClass(const ModelPlan& plan, std::string_view output, float number) {
  constexpr float kRounding = 1e-3F;
  constexpr float kMaxClasses = 1 << 20;
  if (!std::isfinite(number)) {
    return NotFinite(output);
  }
  const float whole = std::round(number);
  if (std::abs(number - whole) > kRounding || whole < 0 || whole >= kMaxClasses) {
    return Misfit(plan, "the model's output {} has the class {:.6g}, which is no class's number",
                  output, number);
  }
  const int class_id = static_cast<int>(whole);
  if (plan.classes > 0 && static_cast<std::size_t>(class_id) >= plan.classes) {
    return Misfit(plan,
                  "the model's output {} has the class {}, but there are {} class names (counted "
                  "from 0)",
                  output, class_id, plan.classes);
  }
  return class_id;
}

absl::Status ScaleAndCheck(const ModelPlan& plan, Candidates& candidates, cv::Size input) {
  if (candidates.empty()) {
    return absl::OkStatus();
  }
  const std::string_view output = plan.outputs.front();
  for (const Candidate& box : candidates) {
    if (!IsFinite(box)) {
      return NotFinite(output);
    }
    if (box.x2 < box.x1 || box.y2 < box.y1) {
      return Misfit(plan,
                    "the model's output {} has a box from ({:.6g}, {:.6g}) to ({:.6g}, {:.6g}), "
                    "whose corners are not in order",
                    output, box.x1, box.y1, box.x2, box.y2);
    }
  }
  const float farthest = FarthestEdge(candidates);
  if (plan.normalized_boxes && farthest > 2 * kMaxNormalized) {
    return Misfit(plan,
                  "the model's output {} has a box that ends at {:.6g}, and box_coordinates are "
                  "taken for normalized (0 to 1)",
                  output, farthest);
  }
  const bool is_tiny = std::max(input.width, input.height) <= 2;
  if (!plan.normalized_boxes && farthest <= kMaxNormalized && !is_tiny) {
    return Misfit(plan,
                  "the model's output {} has no box that ends beyond {:.6g}, and boxes are taken "
                  "for pixels: set box_coordinates to \"normalized\" if they are 0 to 1",
                  output, farthest);
  }
  if (plan.normalized_boxes) {
    const auto width = static_cast<float>(input.width);
    const auto height = static_cast<float>(input.height);
    for (Candidate& box : candidates) {
      box.x1 *= width;
      box.y1 *= height;
      box.x2 *= width;
      box.y2 *= height;
    }
  }
  for (Candidate& box : candidates) {
    if (!IsWithinReason(box, input)) {
      return Misfit(
          plan,
          "the model's output {} has a box from ({:.6g}, {:.6g}) to ({:.6g}, {:.6g}), far "
          "outside of the input's {} x {} pixels",
          output, box.x1, box.y1, box.x2, box.y2, input.width, input.height);
    }
    box.confidence = std::clamp(box.confidence, 0.0F, 1.0F);
  }
  std::erase_if(candidates,
                [](const Candidate& box) { return box.x1 >= box.x2 || box.y1 >= box.y2; });
  return absl::OkStatus();
}

std::optional<Alike> SuppressedOf(Duplicates duplicates, const Options& options) {
  if (duplicates == Duplicates::kSuppress) {
    return options.class_agnostic ? Alike::kAnyClass : Alike::kSameClass;
  }
  return options.class_agnostic ? std::optional(Alike::kOtherClass) : std::nullopt;
}

absl::StatusOr<Result> ToPicture(const Candidates& candidates, const Placement& placement,
                                 std::size_t max_detections, const Details& details) {
  Detections detections;
  for (const Candidate& candidate : candidates) {
    if (detections.size() >= max_detections) {
      break;
    }
    const Detection box = placement.ToPicture(ToDetection(candidate));
    if (box.x1 >= box.x2 || box.y1 >= box.y2) {
      continue;
    }
    if (details == nullptr) {
      detections.push_back(box);
      continue;
    }
    Detection whole = ToDetection(candidate);
    RETURN_IF_ERROR(details(candidate, whole));
    detections.push_back(placement.ToPicture(std::move(whole)));
  }
  return Result(std::move(detections));
}

absl::StatusOr<Result> Finish(const ModelPlan& plan, Candidates candidates,
                              const Placement& placement, const Options& options,
                              Duplicates duplicates, const Details& details) {
  RETURN_IF_ERROR(ScaleAndCheck(plan, candidates, placement.input));
  std::erase_if(candidates, [&](const Candidate& box) { return !IsWanted(box, options); });
  if (const auto alike = SuppressedOf(duplicates, options)) {
    candidates =
        SuppressNonMaxima(std::move(candidates), options.iou, options.max_detections, *alike);
  } else {
    SortMostConfidentFirst(candidates);
  }
  return ToPicture(candidates, placement, options.max_detections, details);
}

}  // namespace inferpool::vision

#include "worker/vision/families/text_boxes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "shared/base/ascii.h"
#include "shared/base/status.h"
#include "worker/vision/families/boxes.h"
#include "worker/vision/families/output_numbers.h"

namespace inferpool::vision {
namespace {

constexpr std::size_t kMaxBoxes = 1000;
constexpr float kMinSide = 3;
constexpr float kMinGrownSide = 5;
constexpr float kLineAspect = 1.5F;

using Contour = std::vector<cv::Point>;

float ShorterSide(const cv::RotatedRect& box) {
  return std::min(box.size.width, box.size.height);
}

// The outlines of the regions. Those inside of a hole count, the hole's own outline does not.
std::vector<Contour> Outlines(const cv::Mat& probabilities, float threshold) {
  const cv::Mat is_text = probabilities > threshold;
  std::vector<Contour> contours;
  std::vector<cv::Vec4i> hierarchy;
  cv::findContours(is_text, contours, hierarchy, cv::RETR_CCOMP, cv::CHAIN_APPROX_SIMPLE);
  std::vector<Contour> outlines;
  for (std::size_t i = 0; i < contours.size(); ++i) {
    constexpr int kParent = 3;
    if (hierarchy[i][kParent] < 0) {
      outlines.push_back(std::move(contours[i]));
    }
  }
  return outlines;
}

float MeanWithin(const cv::Mat& probabilities, const cv::RotatedRect& box) {
  const cv::Rect around = box.boundingRect() & cv::Rect({0, 0}, probabilities.size());
  if (around.empty()) {
    return 0;
  }
  std::array<cv::Point2f, 4> corners;
  box.points(corners.data());
  constexpr int kFractionBits = 4;
  constexpr float kFractions = 1 << kFractionBits;
  std::array<cv::Point, 4> polygon;
  for (std::size_t i = 0; i < corners.size(); ++i) {
    const cv::Point2f corner = corners[i] - cv::Point2f(around.tl());
    polygon[i] = {cvRound(corner.x * kFractions), cvRound(corner.y * kFractions)};
  }
  cv::Mat mask = cv::Mat::zeros(around.size(), CV_8UC1);
  cv::fillConvexPoly(mask, polygon, 255, cv::LINE_8, kFractionBits);
  return static_cast<float>(cv::mean(probabilities(around), mask)[0]);
}

// Moves every side outwards. The offset of a polygon by a distance has round corners; the smallest
// rectangle around it is this one.
cv::RotatedRect Grown(cv::RotatedRect box, float unclip) {
  const float area = box.size.width * box.size.height;
  const float perimeter = 2 * (box.size.width + box.size.height);
  const float distance = area * unclip / perimeter;
  box.size.width += 2 * distance;
  box.size.height += 2 * distance;
  return box;
}

TurnedBox InReadingOrder(const cv::RotatedRect& box, float confidence) {
  // Pixel 0 reaches from 0 to 1.
  constexpr float kMiddle = 0.5F;
  constexpr float kHalfTurn = std::numbers::pi_v<float>;
  TurnedBox turned{.cx = box.center.x + kMiddle,
                   .cy = box.center.y + kMiddle,
                   .width = box.size.width,
                   .height = box.size.height,
                   .angle = box.angle * kHalfTurn / 180,
                   .confidence = confidence};
  const auto [shorter, longer] = std::minmax(turned.width, turned.height);
  const bool is_line = longer >= kLineAspect * shorter;
  const bool is_steep = std::abs(std::sin(turned.angle)) > std::abs(std::cos(turned.angle));
  if (is_line ? turned.width < turned.height : is_steep) {
    std::swap(turned.width, turned.height);
    turned.angle += kHalfTurn / 2;
  }
  constexpr float kVertical = 1e-3F;
  const float right = std::cos(turned.angle);
  if (right < -kVertical || (right < kVertical && std::sin(turned.angle) < 0)) {
    turned.angle -= kHalfTurn;
  }
  return turned;
}

// The parameter's number; `usual` when it is not given.
absl::StatusOr<float> NumberParameter(const OutputFacts& facts, const std::string& key, float most,
                                      float usual) {
  const auto found = facts.model.parameters.find(key);
  if (found == facts.model.parameters.end()) {
    return usual;
  }
  const std::string_view text = Trim(std::string_view(found->second), " \t\r\n");
  float number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() ||
      !(number >= 0 && number <= most)) {
    return absl::FailedPreconditionError(
        fmt::format("parameter {} is \"{}\"; allowed are 0 to {}", key, text, most));
  }
  return number;
}

// The one map among the outputs.
absl::StatusOr<const OutputFact*> FindMap(const OutputFacts& facts) {
  const OutputFact* map = nullptr;
  for (const OutputFact& output : facts.outputs) {
    if (!output.is_float || !RowOfRank(facts, output, 2)) {
      continue;
    }
    if (map != nullptr) {
      return absl::FailedPreconditionError(
          fmt::format("{} and {} are both maps", map->spec->name, output.spec->name));
    }
    map = &output;
  }
  if (map == nullptr) {
    return absl::FailedPreconditionError("there is no FP32 or FP16 output of one plane");
  }
  return map;
}

absl::Status CheckMap(const ModelPlan& plan, const Numbers& map, cv::Size input) {
  const std::string& output = plan.outputs.front();
  const auto height = static_cast<std::size_t>(input.height);
  const auto width = static_cast<std::size_t>(input.width);
  if (map.shape()[0] != height || map.shape()[1] != width) {
    return Misfit(plan, "the model's output {} has {} x {} pixels, and the input {} x {}", output,
                  map.shape()[1], map.shape()[0], width, height);
  }
  const auto wrong = std::ranges::find_if_not(
      map.values(), [](float value) { return value >= -kScoreSlack && value <= 1 + kScoreSlack; });
  return wrong == map.values().end() ? absl::OkStatus() : CheckScore(plan, output, *wrong);
}

}  // namespace

std::vector<TurnedBox> FindTextBoxes(const cv::Mat& probabilities, const TextBoxLimits& limits) {
  std::vector<TurnedBox> boxes;
  for (const Contour& outline : Outlines(probabilities, limits.text_threshold)) {
    const cv::RotatedRect core = cv::minAreaRect(outline);
    if (ShorterSide(core) < kMinSide) {
      continue;
    }
    const float confidence = MeanWithin(probabilities, core);
    const cv::RotatedRect box = Grown(core, limits.unclip);
    if (confidence < limits.box_threshold || ShorterSide(box) < kMinGrownSide) {
      continue;
    }
    boxes.push_back(InReadingOrder(box, confidence));
    if (boxes.size() == kMaxBoxes) {
      break;
    }
  }
  return boxes;
}

absl::Status PlanTextBoxes(const OutputFacts& facts, ModelPlan& plan) {
  ASSIGN_OR_RETURN(const OutputFact* map, FindMap(facts));
  if (facts.names > 1) {
    return absl::FailedPreconditionError(
        fmt::format("there are {} class names, and all boxes are of one class", facts.names));
  }
  plan.outputs = {map->spec->name};
  plan.classes = static_cast<std::size_t>(facts.names);
  TextBoxLimits& limits = plan.text_boxes;
  ASSIGN_OR_RETURN(limits.text_threshold,
                   NumberParameter(facts, "text_threshold", 1, limits.text_threshold));
  ASSIGN_OR_RETURN(limits.box_threshold,
                   NumberParameter(facts, "box_threshold", 1, limits.box_threshold));
  ASSIGN_OR_RETURN(limits.unclip, NumberParameter(facts, "unclip", 10, limits.unclip));
  return absl::OkStatus();
}

absl::StatusOr<Result> DetectTextBoxes(const ModelPlan& plan, std::span<const TensorView> outputs,
                                       const Placement& placement, const Options& options) {
  ASSIGN_OR_RETURN(const Numbers map, ReadOutput(outputs, plan.outputs.front(), 2));
  RETURN_IF_ERROR(CheckMap(plan, map, placement.input));
  // OpenCV's matrices cannot borrow what must not be changed.
  const cv::Mat probabilities(placement.input, CV_32FC1, const_cast<float*>(map.values().data()));
  std::vector<TurnedBox> boxes = FindTextBoxes(probabilities, plan.text_boxes);
  return FinishTurned(plan, std::move(boxes), placement, options, Duplicates::kKeep);
}

}  // namespace inferpool::vision

#include "worker/vision/families/yolo_decoders.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>

#include "shared/base/status.h"
#include "worker/vision/families/boxes.h"

namespace inferpool::vision {
namespace {

// What a plan's shape promised and the answer does not keep.
absl::Status WrongLength(const ModelPlan& plan, std::size_t length, std::size_t around) {
  return absl::InternalError(
      fmt::format("the model's output {} has {} values an anchor, which is not {} + {} classes",
                  plan.outputs.front(), length, around, plan.classes));
}

absl::Status CheckClasses(const ModelPlan& plan, std::size_t length, std::size_t around) {
  const bool fits = length > around && (plan.classes == 0 || length - around == plan.classes);
  return fits ? absl::OkStatus() : WrongLength(plan, length, around);
}

Candidate FromCentre(float cx, float cy, float width, float height, float confidence, int class_id,
                     std::size_t anchor) {
  return {cx - width / 2,
          cy - height / 2,
          cx + width / 2,
          cy + height / 2,
          confidence,
          class_id,
          static_cast<std::uint32_t>(anchor)};
}

constexpr int kNone = -1;

// So many anchors that a block's best scores stay in the first-level cache.
constexpr std::size_t kBlock = 1024;

// The sign, and the exponent's highest bit: a float from 0 up to below 2 has neither, and one that
// is negative, not finite, or larger has one of them.
constexpr std::uint32_t kOddBits = 0xc0000000;

// Raises each of `best` to the anchor's score, and returns all bits that a score has. Which class
// it is of is not kept here: that would take four times as long, and few anchors are asked for it.
std::uint32_t Raise(const float* __restrict scores, std::size_t anchors, float* __restrict best) {
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < anchors; ++i) {
    bits |= std::bit_cast<std::uint32_t>(scores[i]);
    best[i] = scores[i] > best[i] ? scores[i] : best[i];
  }
  return bits;
}

// The best class of each anchor of one block.
class BestClasses {
 public:
  BestClasses(const Numbers& head, std::size_t classes, float confidence)
      : head_(head), classes_(classes), confidence_(confidence) {}

  // Walks the classes' rows over the block that begins at the anchor `first`, so that memory is
  // read in order. Returns whether a score may be below 0, or not a number; one above 1 is the best
  // of its anchor.
  bool Find(std::size_t first, std::size_t anchors) {
    first_ = first;
    score_.fill(confidence_);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < classes_; ++i) {
      bits |= Raise(Scores(i), anchors, score_.data());
    }
    const auto found = std::count_if(score_.begin(), score_.begin() + anchors,
                                     [this](float score) { return score > confidence_; });
    // Reading across the rows is faster only for a few.
    has_classes_ = static_cast<std::size_t>(found) > kFew;
    if (has_classes_) {
      FindClasses(anchors);
    }
    return (bits & kOddBits) != 0;
  }

  // Of the anchor `i` of the block: its best score, and that score's first class; kNone when it is
  // not above the threshold.
  float score(std::size_t i) const { return score_[i]; }
  int ClassOf(std::size_t i) const {
    if (!(score_[i] > confidence_)) {
      return kNone;
    }
    if (has_classes_) {
      return class_id_[i];
    }
    std::size_t class_id = 0;
    while (class_id + 1 < classes_ && Scores(class_id)[i] != score_[i]) {
      ++class_id;
    }
    return static_cast<int>(class_id);
  }

 private:
  static constexpr std::size_t kFew = kBlock / 16;

  const float* Scores(std::size_t class_id) const {
    return head_.Row(4 + class_id).data() + first_;
  }

  void FindClasses(std::size_t anchors) {
    for (std::size_t class_id = classes_; class_id-- > 0;) {
      const float* scores = Scores(class_id);
      for (std::size_t i = 0; i < anchors; ++i) {
        class_id_[i] = scores[i] == score_[i] ? static_cast<int>(class_id) : class_id_[i];
      }
    }
  }

  const Numbers& head_;
  const std::size_t classes_;
  const float confidence_;
  std::size_t first_ = 0;
  std::array<float, kBlock> score_;
  std::array<int, kBlock> class_id_;
  bool has_classes_ = false;
};

// What is wrong with a score, when one is known to be.
absl::Status FindWrongScore(const ModelPlan& plan, const Numbers& head, std::size_t classes) {
  for (std::size_t row = 4; row < 4 + classes; ++row) {
    for (const float score : head.Row(row)) {
      RETURN_IF_ERROR(CheckScore(plan, plan.outputs.front(), score));
    }
  }
  return absl::OkStatus();
}

// The units of the boxes show in all anchors, whether or not anything was found: their centres are
// all over the input.
absl::Status CheckUnits(const ModelPlan& plan, float farthest_centre, std::size_t anchors) {
  constexpr std::size_t kEnough = 16;
  constexpr float kMaxNormalized = 2;
  if (anchors < kEnough || plan.normalized_boxes == (farthest_centre <= kMaxNormalized)) {
    return absl::OkStatus();
  }
  return Misfit(plan,
                "the centres of the boxes in the model's output {} reach to {:.6g}, and "
                "box_coordinates are taken for \"{}\"",
                plan.outputs.front(), farthest_centre,
                plan.normalized_boxes ? "normalized" : "pixel");
}

// A class that is found nearly everywhere is no class, but another number that stands there.
absl::Status CheckRare(const ModelPlan& plan, const Candidates& candidates, std::size_t anchors) {
  constexpr std::size_t kEnough = 64;
  constexpr float kSure = 0.25F;
  if (anchors < kEnough || candidates.size() <= anchors / 2) {
    return absl::OkStatus();
  }
  const auto sure =
      std::count_if(candidates.begin(), candidates.end(),
                    [](const Candidate& candidate) { return candidate.confidence > kSure; });
  if (static_cast<std::size_t>(sure) <= anchors / 2) {
    return absl::OkStatus();
  }
  return Misfit(plan, "the model's output {} has scores above {} at {} of {} anchors",
                plan.outputs.front(), kSure, sure, anchors);
}

absl::Status CheckGrids(const ModelPlan& plan, std::size_t anchors, cv::Size input, int per_cell) {
  if (!plan.told_by_shape || FitsGrids(static_cast<std::int64_t>(anchors), input, per_cell)) {
    return absl::OkStatus();
  }
  return Misfit(plan, "the model's output {} has {} anchors, which is not what {} x {} pixels give",
                plan.outputs.front(), anchors, input.width, input.height);
}

float Largest(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) {
    largest = value > largest ? value : largest;
  }
  return largest;
}

// The best class of an anchor, or kNone when it does not reach `confidence` with the objectness.
absl::StatusOr<int> BestClass(const ModelPlan& plan, std::span<const float> scores,
                              float objectness, float confidence, float& best) {
  best = confidence;
  int class_id = kNone;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    RETURN_IF_ERROR(CheckScore(plan, plan.outputs.front(), scores[i]));
    const float score = objectness * scores[i];
    if (score > best) {
      best = score;
      class_id = static_cast<int>(i);
    }
  }
  return class_id;
}

// The rows [anchors, 5 + classes] of YOLOv5 and YOLOX, whose boxes `box_of` reads.
template <typename BoxOf>
absl::StatusOr<Candidates> ReadRows(const ModelPlan& plan, const Numbers& head, float confidence,
                                    const BoxOf& box_of) {
  Candidates candidates;
  for (std::size_t anchor = 0; anchor < head.shape()[0]; ++anchor) {
    const std::span<const float> values = head.Row(anchor);
    const float objectness = values[4];
    if (!(objectness > confidence)) {
      RETURN_IF_ERROR(CheckScore(plan, plan.outputs.front(), objectness));
      continue;
    }
    RETURN_IF_ERROR(CheckScore(plan, plan.outputs.front(), objectness));
    float best = 0;
    ASSIGN_OR_RETURN(const int class_id,
                     BestClass(plan, values.subspan(5), objectness, confidence, best));
    if (class_id != kNone) {
      candidates.push_back(box_of(values, best, class_id, anchor));
    }
  }
  RETURN_IF_ERROR(CheckRare(plan, candidates, head.shape()[0]));
  return candidates;
}

}  // namespace

absl::StatusOr<Candidates> ReadYoloV8(const ModelPlan& plan, const Numbers& head,
                                      std::size_t behind, float confidence, cv::Size input) {
  RETURN_IF_ERROR(CheckClasses(plan, head.shape()[0], 4 + behind));
  const std::size_t anchors = head.shape()[1];
  const std::size_t classes = head.shape()[0] - 4 - behind;
  RETURN_IF_ERROR(CheckGrids(plan, anchors, input, 1));
  RETURN_IF_ERROR(CheckUnits(plan, std::max(Largest(head.Row(0)), Largest(head.Row(1))), anchors));

  Candidates candidates;
  BestClasses best(head, classes, confidence);
  bool all_checked = false;
  for (std::size_t first = 0; first < anchors; first += kBlock) {
    const std::size_t length = std::min(kBlock, anchors - first);
    if (best.Find(first, length) && !all_checked) {
      RETURN_IF_ERROR(FindWrongScore(plan, head, classes));
      all_checked = true;
    }
    for (std::size_t i = 0; i < length; ++i) {
      const int class_id = best.ClassOf(i);
      if (class_id == kNone) {
        continue;
      }
      if (best.score(i) > 1) {
        RETURN_IF_ERROR(CheckScore(plan, plan.outputs.front(), best.score(i)));
      }
      const std::size_t anchor = first + i;
      candidates.push_back(FromCentre(head.Row(0)[anchor], head.Row(1)[anchor], head.Row(2)[anchor],
                                      head.Row(3)[anchor], best.score(i), class_id, anchor));
    }
  }
  RETURN_IF_ERROR(CheckRare(plan, candidates, anchors));
  return candidates;
}

absl::StatusOr<Candidates> ReadYoloV5(const ModelPlan& plan, const Numbers& head, float confidence,
                                      cv::Size input) {
  RETURN_IF_ERROR(CheckClasses(plan, head.shape()[1], 5));
  const std::size_t anchors = head.shape()[0];
  RETURN_IF_ERROR(CheckGrids(plan, anchors, input, 3));
  if (!plan.family_named && FitsGrids(static_cast<std::int64_t>(anchors), input, 1)) {
    return Misfit(plan,
                  "the model's output {} has {} anchors, one for each cell of {} x {} pixels, as "
                  "YOLOX has, whose boxes are others",
                  plan.outputs.front(), anchors, input.width, input.height);
  }
  float farthest = 0;
  for (std::size_t anchor = 0; anchor < anchors; ++anchor) {
    farthest = std::max({farthest, head.Row(anchor)[0], head.Row(anchor)[1]});
  }
  RETURN_IF_ERROR(CheckUnits(plan, farthest, anchors));
  return ReadRows(plan, head, confidence,
                  [](std::span<const float> values, float score, int class_id, std::size_t anchor) {
                    return FromCentre(values[0], values[1], values[2], values[3], score, class_id,
                                      anchor);
                  });
}

absl::StatusOr<Candidates> ReadYolox(const ModelPlan& plan, const Numbers& head, float confidence,
                                     cv::Size input) {
  constexpr std::array kStrides{8, 16, 32};
  RETURN_IF_ERROR(CheckClasses(plan, head.shape()[1], 5));
  struct Level {
    std::size_t first;
    std::size_t columns;
    int stride;
  };
  std::array<Level, kStrides.size()> levels{};
  std::size_t anchors = 0;
  for (std::size_t i = 0; i < kStrides.size(); ++i) {
    const auto along = [stride = kStrides[i]](int side) {
      return static_cast<std::size_t>(side / stride);
    };
    levels[i] = {anchors, along(input.width), kStrides[i]};
    anchors += along(input.width) * along(input.height);
  }
  if (anchors != head.shape()[0]) {
    return Misfit(plan, "the model's output {} has {} anchors, and {} x {} pixels give {}",
                  plan.outputs.front(), head.shape()[0], input.width, input.height, anchors);
  }
  return ReadRows(
      plan, head, confidence,
      [&levels](std::span<const float> values, float score, int class_id, std::size_t anchor) {
        const auto level = std::find_if(levels.rbegin(), levels.rend(), [anchor](const Level& of) {
          return of.first <= anchor && of.columns > 0;
        });
        const std::size_t cell = anchor - level->first;
        const auto stride = static_cast<float>(level->stride);
        const std::size_t row = cell / level->columns;
        const std::size_t column = cell % level->columns;
        return FromCentre((values[0] + static_cast<float>(column)) * stride,
                          (values[1] + static_cast<float>(row)) * stride,
                          std::exp(values[2]) * stride, std::exp(values[3]) * stride, score,
                          class_id, anchor);
      });
}

absl::StatusOr<const OutputFact*> FindTable(const OutputFacts& facts, Shape& row) {
  const OutputFact* table = nullptr;
  for (const OutputFact& output : facts.outputs) {
    std::optional<Shape> shape = output.is_float ? RowOfRank(facts, output, 2) : std::nullopt;
    if (!shape) {
      continue;
    }
    if (table != nullptr) {
      return absl::FailedPreconditionError(
          fmt::format("{} and {} are both tables", table->spec->name, output.spec->name));
    }
    table = &output;
    row = *std::move(shape);
  }
  if (table == nullptr) {
    return absl::FailedPreconditionError(
        "there is no FP32 or FP16 output of two dimensions, apart "
        "from the batch");
  }
  return table;
}

absl::Status PlanClasses(const OutputFacts& facts, const OutputFact& output, std::int64_t length,
                         std::int64_t around, ModelPlan& plan) {
  plan.classes = static_cast<std::size_t>(facts.names);
  if (length == kAny) {
    return absl::OkStatus();
  }
  const std::int64_t classes = length - around;
  if (classes < 1 || (facts.names > 0 && facts.names != classes)) {
    return absl::FailedPreconditionError(
        fmt::format("output {} is {}, which means {} classes, but there are {} class names; "
                    "correct the label file or the family",
                    output.spec->name, Text(output.spec->shape), classes, facts.names));
  }
  plan.classes = static_cast<std::size_t>(classes);
  return absl::OkStatus();
}

// ---------------------------------------------------------------- for the family table

namespace {

// A table with a row for each anchor, which `read` reads.
absl::StatusOr<Result> DetectRows(decltype(ReadYoloV5)* read, const ModelPlan& plan,
                                  std::span<const TensorView> outputs, const Placement& placement,
                                  const Options& options) {
  ASSIGN_OR_RETURN(const Numbers head, ReadOutput(outputs, plan.outputs.front(), 2));
  ASSIGN_OR_RETURN(Candidates candidates,
                   read(plan, head, options.LeastConfidence(), placement.input));
  return Finish(plan, std::move(candidates), placement, options, Duplicates::kSuppress);
}

}  // namespace

namespace {

// Ultralytics' export names its tensors so, and a server that has metadata alone cannot say more.
// Its tables of other kinds have fewer columns than rows.
bool LooksExported(const OutputFacts& facts, const Shape& row) {
  const ModelDescription& model = facts.model;
  return !model.has_config && model.inputs.size() == 1 && model.inputs.front().name == "images" &&
         facts.outputs.size() == 1 && facts.Find("output0") != nullptr && row[0] < row[1];
}

}  // namespace

bool ClaimsYoloV8(const OutputFacts& facts) {
  const OutputFact* table = facts.Table();
  if (table == nullptr || facts.end2end) {
    return false;
  }
  const std::int64_t rows = table->row[0];
  const std::int64_t anchors = table->row[1];
  if (facts.names > 0) {
    return rows == 4 + facts.names && anchors != 5 + facts.names;
  }
  // An output beside it may say that it is another table.
  return rows >= 5 && facts.outputs.size() == 1 &&
         (anchors == kAny || FitsGrids(anchors, facts.input, 1) ||
          LooksExported(facts, table->row));
}

bool ClaimsYoloV5(const OutputFacts& facts) {
  const OutputFact* table = facts.Table();
  if (table == nullptr || facts.end2end) {
    return false;
  }
  const std::int64_t anchors = table->row[0];
  const std::int64_t columns = table->row[1];
  // Of the heads with one anchor a cell, YOLOX's boxes are others.
  const bool may_be_yolox = anchors != kAny && FitsGrids(anchors, facts.input, 1);
  const bool may_be_rows = columns == 6 && anchors <= 1000;
  if (facts.names > 0) {
    return columns == 5 + facts.names && anchors != 4 + facts.names && !may_be_yolox &&
           !(may_be_rows && !FitsGrids(anchors, facts.input, 3));
  }
  // Planes beside it would be masks; the raw heads of an older export have one dimension more.
  return columns >= 6 && FitsGrids(anchors, facts.input, 3) && facts.OfRank(3).empty();
}

absl::Status PlanYoloV8(const OutputFacts& facts, ModelPlan& plan) {
  Shape row;
  ASSIGN_OR_RETURN(const OutputFact* table, FindTable(facts, row));
  for (const OutputFact* planes : facts.OfRank(3)) {
    const std::int64_t coefficients = planes->row[0];
    const bool are_masks = coefficients > 0 && row[0] == 4 + facts.names + coefficients;
    const bool may_be_masks = facts.names == 0 && coefficients > 0 && row[0] > 4 + coefficients;
    if (are_masks || may_be_masks) {
      return absl::FailedPreconditionError(
          fmt::format("beside {} there is {} {}, which are masks: it is yolov8_segment",
                      table->spec->name, planes->spec->name, Text(planes->spec->shape)));
    }
  }
  plan.outputs = {table->spec->name};
  plan.told_by_shape = facts.names == 0 && !LooksExported(facts, row);
  return PlanClasses(facts, *table, row[0], 4, plan);
}

absl::Status PlanYoloV5(const OutputFacts& facts, ModelPlan& plan) {
  Shape row;
  ASSIGN_OR_RETURN(const OutputFact* table, FindTable(facts, row));
  plan.outputs = {table->spec->name};
  plan.told_by_shape = facts.names == 0;
  return PlanClasses(facts, *table, row[1], 5, plan);
}

absl::StatusOr<Result> DetectYoloV8(const ModelPlan& plan, std::span<const TensorView> outputs,
                                    const Placement& placement, const Options& options) {
  ASSIGN_OR_RETURN(const Numbers head, ReadOutput(outputs, plan.outputs.front(), 2));
  ASSIGN_OR_RETURN(Candidates candidates,
                   ReadYoloV8(plan, head, 0, options.LeastConfidence(), placement.input));
  return Finish(plan, std::move(candidates), placement, options, Duplicates::kSuppress);
}

absl::StatusOr<Result> DetectYoloV5(const ModelPlan& plan, std::span<const TensorView> outputs,
                                    const Placement& placement, const Options& options) {
  return DetectRows(ReadYoloV5, plan, outputs, placement, options);
}

absl::StatusOr<Result> DetectYolox(const ModelPlan& plan, std::span<const TensorView> outputs,
                                   const Placement& placement, const Options& options) {
  return DetectRows(ReadYolox, plan, outputs, placement, options);
}

}  // namespace inferpool::vision

#include "worker/vision/families/ssd.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/base/status.h"
#include "worker/vision/families/boxes.h"
#include "worker/vision/families/output_numbers.h"

namespace inferpool::vision {
namespace {

// One way in which these outputs are called; `count` may be empty.
struct Names {
  std::string_view boxes;
  std::string_view scores;
  std::string_view classes;
  std::string_view count;
  bool tensorflow;  // y1, x1, y2, x2 of 0..1
  int first_class;
};

constexpr std::array<Names, 3> kNames = {{
    {"detection_boxes", "detection_scores", "detection_classes", "num_detections", true, 1},
    {"TFLite_Detection_PostProcess", "TFLite_Detection_PostProcess:2",
     "TFLite_Detection_PostProcess:1", "TFLite_Detection_PostProcess:3", true, 0},
    {"boxes", "scores", "labels", "", false, 0},
}};

// TensorFlow's names may have ":0" behind them.
const OutputFact* FindTensor(const OutputFacts& facts, std::string_view name) {
  const OutputFact* found = facts.Find(name);
  return found != nullptr ? found : facts.Find(fmt::format("{}:0", name));
}

// What a plan needs of the outputs.
struct Heads {
  std::vector<std::string> outputs;
  bool tensorflow = false;
  int first_class = 0;
};

std::optional<Heads> FindByNames(const OutputFacts& facts, const Names& names) {
  Heads heads{.outputs = {}, .tensorflow = names.tensorflow, .first_class = names.first_class};
  for (const std::string_view name : {names.boxes, names.scores, names.classes, names.count}) {
    const OutputFact* output = name.empty() ? nullptr : FindTensor(facts, name);
    if (output == nullptr && !name.empty()) {
      return std::nullopt;
    }
    if (output != nullptr) {
      heads.outputs.push_back(output->spec->name);
    }
  }
  // Other outputs beside torchvision's are masks or keypoints: the model is more than this.
  if (!names.tensorflow && facts.outputs.size() != heads.outputs.size()) {
    return std::nullopt;
  }
  return heads;
}

// torchvision's three without their names.
std::optional<Heads> FindByShapes(const OutputFacts& facts) {
  std::array<std::string, 3> found;  // boxes, scores, classes
  if (facts.outputs.size() != found.size()) {
    return std::nullopt;
  }
  for (const OutputFact& output : facts.outputs) {
    const auto boxes = RowOfRank(facts, output, 2);
    const bool is_vector = RowOfRank(facts, output, 1).has_value();
    const bool are_boxes = output.is_float && boxes && boxes->back() == 4;
    const bool are_classes = output.spec->datatype == "INT64" && is_vector;
    if (!are_boxes && !are_classes && !(output.is_float && is_vector)) {
      return std::nullopt;
    }
    found[are_boxes ? 0 : are_classes ? 2 : 1] = output.spec->name;
  }
  if (std::any_of(found.begin(), found.end(), [](const auto& name) { return name.empty(); })) {
    return std::nullopt;
  }
  return Heads{.outputs = {found.begin(), found.end()}, .tensorflow = false, .first_class = 0};
}

std::optional<Heads> FindHeads(const OutputFacts& facts) {
  for (const Names& names : kNames) {
    if (auto heads = FindByNames(facts, names)) {
      return heads;
    }
  }
  return FindByShapes(facts);
}

absl::StatusOr<int> FirstClass(const OutputFacts& facts, int usual) {
  constexpr int kMaxFirst = 1000;
  const auto found = facts.model.parameters.find("first_class");
  if (found == facts.model.parameters.end()) {
    return usual;
  }
  const std::string& text = found->second;
  int first = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), first);
  if (error != std::errc() || end != text.data() + text.size() || first < 0 || first > kMaxFirst) {
    return absl::FailedPreconditionError(
        fmt::format("parameter first_class is \"{}\"; allowed are 0 to {}", text, kMaxFirst));
  }
  return first;
}

// How many of the rows count.
absl::StatusOr<std::size_t> ReadCount(const ModelPlan& plan, std::span<const TensorView> outputs,
                                      std::size_t rows) {
  if (plan.outputs.size() < 4) {
    return rows;
  }
  ASSIGN_OR_RETURN(const Numbers count, ReadOutput(outputs, plan.outputs[3], 1));
  const float found = count.shape()[0] == 1 ? count.values()[0] : -1;
  if (!(found >= 0 && found <= static_cast<float>(rows)) || found != std::floor(found)) {
    return Misfit(plan, "the model's output {} is no count of the {} boxes", plan.outputs[3], rows);
  }
  return static_cast<std::size_t>(found);
}

}  // namespace

absl::StatusOr<Candidates> ReadSsd(const ModelPlan& plan, std::span<const TensorView> outputs,
                                   float confidence) {
  ASSIGN_OR_RETURN(const Numbers boxes, ReadOutput(outputs, plan.outputs[0], 2));
  ASSIGN_OR_RETURN(const Numbers scores, ReadOutput(outputs, plan.outputs[1], 1));
  ASSIGN_OR_RETURN(const Numbers classes, ReadOutput(outputs, plan.outputs[2], 1));
  const std::size_t rows = boxes.shape()[0];
  if (boxes.shape()[1] != 4 || scores.shape()[0] != rows || classes.shape()[0] != rows) {
    return absl::InternalError(fmt::format(
        "the model's outputs do not go together: {} of [{}, {}], {} of [{}], {} of [{}]",
        plan.outputs[0], rows, boxes.shape()[1], plan.outputs[1], scores.shape()[0],
        plan.outputs[2], classes.shape()[0]));
  }
  ASSIGN_OR_RETURN(const std::size_t count, ReadCount(plan, outputs, rows));
  Candidates candidates;
  for (std::size_t i = 0; i < count; ++i) {
    const float score = scores.values()[i];
    RETURN_IF_ERROR(CheckScore(plan, plan.outputs[1], score));
    const float number = classes.values()[i];
    if (!(score > confidence)) {
      // Rows without an object may have any class, but no part of one.
      if (number != std::round(number)) {
        return ReadClass(plan, plan.outputs[2], number).status();
      }
      continue;
    }
    ASSIGN_OR_RETURN(const int class_id, ReadClass(plan, plan.outputs[2],
                                                   number - static_cast<float>(plan.first_class)));
    const std::span<const float> box = boxes.Row(i);
    const std::size_t x = plan.corners_y_first ? 1 : 0;
    candidates.push_back({box[x], box[1 - x], box[2 + x], box[3 - x], score, class_id,
                          static_cast<std::uint32_t>(i)});
  }
  return candidates;
}

bool ClaimsSsd(const OutputFacts& facts) {
  return FindHeads(facts).has_value();
}

absl::Status PlanSsd(const OutputFacts& facts, ModelPlan& plan) {
  auto heads = FindHeads(facts);
  if (!heads) {
    return absl::FailedPreconditionError("the outputs are called otherwise");
  }
  plan.outputs = std::move(heads->outputs);
  plan.corners_y_first = heads->tensorflow;
  plan.normalized_boxes = facts.normalized_boxes.value_or(heads->tensorflow);
  plan.classes = static_cast<std::size_t>(facts.names);
  ASSIGN_OR_RETURN(plan.first_class, FirstClass(facts, heads->first_class));
  return absl::OkStatus();
}

absl::StatusOr<Result> DetectSsd(const ModelPlan& plan, std::span<const TensorView> outputs,
                                 const Placement& placement, const Options& options) {
  ASSIGN_OR_RETURN(Candidates candidates, ReadSsd(plan, outputs, options.LeastConfidence()));
  return Finish(plan, std::move(candidates), placement, options, Duplicates::kKeep);
}

}  // namespace inferpool::vision

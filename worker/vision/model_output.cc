#include "worker/vision/model_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/base/ascii.h"
#include "shared/base/status.h"
#include "worker/vision/unsupported_model.h"

namespace inferpool::vision {
namespace {

constexpr std::array kEndToEndOutputs = {"num_dets", "det_boxes", "det_scores", "det_classes"};
// Ultralytics and YOLOv10 export 300 rows; raw heads have thousands of anchors.
constexpr std::int64_t kMaxNmsFreeRows = 1000;

bool IsFloat(const TensorSpec& spec) {
  return spec.datatype == "FP32" || spec.datatype == "FP16";
}

void DropFront(Shape& shape) {
  shape.erase(shape.begin());
}

// One picture's share of an output.
Shape OutputRowShape(const TensorSpec& output, const ModelDescription& model, bool has_batch) {
  Shape row = output.shape;
  const bool starts_with_batch =
      !row.empty() &&
      (model.max_batch_size > 0 || (has_batch && (row.front() == 1 || row.front() == kAny)));
  if (starts_with_batch) {
    DropFront(row);
  }
  while (row.size() > 2 && row.front() == 1) {
    DropFront(row);
  }
  while (row.size() > 1 && row.back() == 1) {
    row.pop_back();
  }
  return row;
}

// As OutputRowShape, for a family that needs so many dimensions: a leading length that could be a
// batch is kept when it is needed.
std::optional<Shape> OutputRowShapeOfRank(const TensorSpec& output, const ModelDescription& model,
                                          bool has_batch, std::size_t rank) {
  Shape row = OutputRowShape(output, model, has_batch);
  if (row.size() != rank && model.max_batch_size <= 0) {
    row = output.shape;
  }
  return row.size() == rank ? std::optional(std::move(row)) : std::nullopt;
}

bool HasEndToEndOutputs(const ModelDescription& model) {
  return std::all_of(kEndToEndOutputs.begin(), kEndToEndOutputs.end(), [&](std::string_view name) {
    return std::any_of(model.outputs.begin(), model.outputs.end(),
                       [&](const TensorSpec& output) { return output.name == name; });
  });
}

bool NamesAnEmbedding(std::string_view output) {
  const std::string name = LowerCase(output);
  return name.find("embed") != std::string::npos || name.find("feature") != std::string::npos;
}

// The family of an output [first, last], by the rules of model_plan.h; nothing when they leave it
// open.
std::optional<Family> GuessDetector(std::int64_t first, std::int64_t last, std::int64_t names) {
  if (last == 6 && first > 0 && first <= kMaxNmsFreeRows) {
    return Family::kNmsFree;
  }
  if (last == 6 && first == kAny) {  // yolov5 of one class looks the same
    return names > 1 ? std::optional(Family::kNmsFree) : std::nullopt;
  }
  if (names > 0) {
    const bool v8 = first == 4 + names;
    const bool v5 = last == 5 + names;
    if (v8 != v5) {
      return v8 ? Family::kYoloV8 : Family::kYoloV5;
    }
    if (!v8) {
      return std::nullopt;
    }
  }
  const bool last_is_longer = last == kAny ? first != kAny : first != kAny && first < last;
  const bool first_is_longer = first == kAny ? last != kAny : last != kAny && last < first;
  if (last_is_longer && first >= 5) {
    return Family::kYoloV8;
  }
  if (first_is_longer && last >= 6) {
    return Family::kYoloV5;
  }
  return std::nullopt;
}

struct Head {
  const TensorSpec* output;
  Shape row;
};

std::string OutputsText(const ModelDescription& model) {
  std::string text;
  for (const TensorSpec& output : model.outputs) {
    text += fmt::format("{}{} {} {}", text.empty() ? "" : ", ", output.name, output.datatype,
                        Text(output.shape));
  }
  return text;
}

std::vector<Head> HeadsOfRank(const ModelDescription& model, const ModelPlan& plan,
                              std::size_t rank, bool rank_is_given) {
  std::vector<Head> heads;
  for (const TensorSpec& output : model.outputs) {
    if (!IsFloat(output)) {
      continue;
    }
    std::optional<Shape> row;
    if (rank_is_given) {
      row = OutputRowShapeOfRank(output, model, plan.has_batch_dimension, rank);
    } else {
      row = OutputRowShape(output, model, plan.has_batch_dimension);
    }
    if (row && row->size() == rank) {
      heads.push_back({&output, *std::move(row)});
    }
  }
  return heads;
}

absl::StatusOr<Head> FindHead(const ModelDescription& model, ModelPlan& plan) {
  constexpr std::string_view kHow =
      "set parameters { key: \"family\" value: { string_value: \"yolov8\" } } in config.pbtxt "
      "(or yolov5, end_to_end, nms_free, classification, embedding)";
  if (const auto heads = HeadsOfRank(model, plan, 2, /*rank_is_given=*/false); !heads.empty()) {
    if (heads.size() > 1) {
      return UnsupportedModel(model,
                              "several outputs could be the detections ({}); list only one of them "
                              "as `output` in config.pbtxt",
                              OutputsText(model));
    }
    const Head& head = heads.front();
    const std::size_t names = model.class_names.size();
    const auto family = GuessDetector(head.row[0], head.row[1], static_cast<std::int64_t>(names));
    if (!family) {
      return UnsupportedModel(model,
                              "output {} is {}, which with {} class names fits no family; {}",
                              head.output->name, Text(head.output->shape), names, kHow);
    }
    plan.family = *family;
    return head;
  }
  const auto heads = HeadsOfRank(model, plan, 1, /*rank_is_given=*/false);
  if (heads.size() != 1) {
    return UnsupportedModel(model, "cannot tell its family from its outputs ({}); {}",
                            OutputsText(model), kHow);
  }
  plan.family =
      NamesAnEmbedding(heads.front().output->name) ? Family::kEmbedding : Family::kClassification;
  return heads.front();
}

absl::StatusOr<Head> FindHeadOfFamily(const ModelDescription& model, const ModelPlan& plan) {
  const bool vector = plan.family == Family::kClassification || plan.family == Family::kEmbedding;
  const std::size_t rank = vector ? 1 : 2;
  auto heads = HeadsOfRank(model, plan, rank, /*rank_is_given=*/true);
  if (heads.size() != 1) {
    return UnsupportedModel(model,
                            "parameter family is {}, which needs one FP32 or FP16 output of {} "
                            "dimension{}, apart from the batch; there are {} among {}",
                            Name(plan.family), rank, rank == 1 ? "" : "s", heads.size(),
                            OutputsText(model));
  }
  return std::move(heads.front());
}

// The class count that the head's shape gives, held against the class names.
absl::Status ReadClasses(const ModelDescription& model, const Head& head, ModelPlan& plan) {
  plan.classes = model.class_names.size();
  std::int64_t length = kAny;
  std::int64_t around = 0;
  switch (plan.family) {
    case Family::kYoloV8:
      length = head.row[0];
      around = 4;
      break;
    case Family::kYoloV5:
      length = head.row[1];
      around = 5;
      break;
    case Family::kNmsFree:
      if (head.row[1] != kAny && head.row[1] != 6) {
        return UnsupportedModel(model, "output {} is {}; family nms_free needs [N, 6]",
                                head.output->name, Text(head.output->shape));
      }
      return absl::OkStatus();
    case Family::kClassification:
      length = head.row[0];
      break;
    case Family::kEndToEnd:
    case Family::kEmbedding:
      return absl::OkStatus();
  }
  if (length == kAny) {
    return absl::OkStatus();
  }
  const std::int64_t classes = length - around;
  const auto names = static_cast<std::int64_t>(plan.classes);
  if (classes < 1 || (names > 0 && names != classes)) {
    return UnsupportedModel(model,
                            "output {} is {}, which as {} means {} classes, but there are {} class "
                            "names; correct the label file or `family` in config.pbtxt",
                            head.output->name, Text(head.output->shape), Name(plan.family), classes,
                            names);
  }
  plan.classes = static_cast<std::size_t>(classes);
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadOutputs(const ModelDescription& model, const Parameters& parameters,
                         ModelPlan& plan) {
  const bool guess = !parameters.family;
  plan.family = parameters.family.value_or(Family::kEndToEnd);
  if (plan.family == Family::kEndToEnd && HasEndToEndOutputs(model)) {
    plan.outputs.assign(kEndToEndOutputs.begin(), kEndToEndOutputs.end());
    plan.classes = model.class_names.size();
    return absl::OkStatus();
  }
  if (plan.family == Family::kEndToEnd && !guess) {
    return UnsupportedModel(
        model,
        "parameter family is end_to_end, which needs the outputs num_dets, det_boxes, "
        "det_scores and det_classes; there are {}",
        OutputsText(model));
  }
  absl::StatusOr<Head> head = guess ? FindHead(model, plan) : FindHeadOfFamily(model, plan);
  if (!head.ok()) {
    return head.status();
  }
  plan.outputs = {head->output->name};
  return ReadClasses(model, *head, plan);
}

}  // namespace inferpool::vision

#include "worker/vision/families/classification.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/base/ascii.h"
#include "shared/base/status.h"
#include "worker/vision/families/boxes.h"
#include "worker/vision/families/output_numbers.h"
#include "worker/vision/families/yolo_decoders.h"

namespace inferpool::vision {
namespace {

double Sum(std::span<const float> values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

bool AreWithin(std::span<const float> values, float least, float most) {
  return std::all_of(values.begin(), values.end(),
                     [=](float value) { return value >= least && value <= most; });
}

// Advice where nothing but the operator can tell.
absl::Status SayScores(const ModelPlan& plan, std::string_view what) {
  return absl::FailedPreconditionError(fmt::format(
      "the values of the model's output {} {}; set the parameter \"scores\" in config.pbtxt to "
      "\"probabilities\" (0 to 1), \"logits\" (softmax makes them probabilities) or "
      "\"multi_label_logits\" (the sigmoid does)",
      plan.outputs.front(), what));
}

// What kAuto takes the values for.
absl::StatusOr<Scores> Tell(const ModelPlan& plan, std::span<const float> values) {
  constexpr double kRounding = 0.01;
  constexpr float kLargeLogit = 30;
  const double sum = Sum(values);
  const bool are_shares = AreWithin(values, 0, 1);
  if (are_shares && (values.size() == 1 || std::abs(sum - 1) <= kRounding)) {
    return Scores::kProbabilities;
  }
  if (are_shares) {
    return SayScores(plan, "are within 0 and 1 and do not add up to 1");
  }
  if (values.size() == 1) {
    return SayScores(plan, fmt::format("are only {:.6g}, which is no probability", values[0]));
  }
  if (AreWithin(values, 0, 100) && std::abs(sum - 100) <= 100 * kRounding) {
    return SayScores(plan, "add up to 100, as if they were percent");
  }
  // Several labels may each be in percent. Logits are seldom so large, and some are negative.
  if (AreWithin(values, 0, 100) && *std::max_element(values.begin(), values.end()) > kLargeLogit) {
    return SayScores(plan, fmt::format("are within 0 and 100, and one is above {}, as if they were "
                                       "percent",
                                       kLargeLogit));
  }
  if (plan.told_by_shape) {
    return MisfitOf(plan,
                    "nothing tells whether the vector is of classes: it has no class names, "
                    "and its values are no probabilities");
  }
  return Scores::kLogits;
}

float Sigmoid(float logit) {
  return 1 / (1 + std::exp(-logit));
}

// Shifted by the largest, which changes nothing but that no exponential overflows.
void Softmax(std::vector<float>& logits) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float& logit : logits) {
    logit = std::exp(logit - largest);
    sum += static_cast<double>(logit);
  }
  for (float& logit : logits) {
    logit = static_cast<float>(static_cast<double>(logit) / sum);
  }
}

absl::Status MakeProbabilities(const ModelPlan& plan, std::vector<float>& values) {
  Scores scores = plan.scores;
  if (scores == Scores::kAuto) {
    ASSIGN_OR_RETURN(scores, Tell(plan, values));
  }
  if (scores == Scores::kMultiLabelLogits || (scores == Scores::kLogits && values.size() == 1)) {
    std::transform(values.begin(), values.end(), values.begin(), Sigmoid);
  } else if (scores == Scores::kLogits) {
    Softmax(values);
  } else if (!AreWithin(values, -kScoreSlack, 1 + kScoreSlack)) {
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    return SayScores(
        plan, fmt::format("go from {:.6g} to {:.6g}, and probabilities are 0 to 1", *least, *most));
  }
  for (float& value : values) {
    value = std::clamp(value, 0.0F, 1.0F);
  }
  return absl::OkStatus();
}

// The one vector among the outputs, as RowOfRank reads shapes.
absl::StatusOr<const OutputFact*> FindVector(const OutputFacts& facts, Shape& row) {
  const OutputFact* vector = nullptr;
  for (const OutputFact& output : facts.outputs) {
    std::optional<Shape> shape = output.is_float ? RowOfRank(facts, output, 1) : std::nullopt;
    if (!shape) {
      continue;
    }
    if (vector != nullptr) {
      return absl::FailedPreconditionError(
          fmt::format("{} and {} are both vectors", vector->spec->name, output.spec->name));
    }
    vector = &output;
    row = *std::move(shape);
  }
  if (vector == nullptr) {
    return absl::FailedPreconditionError(
        "there is no FP32 or FP16 output of one dimension, apart from the batch");
  }
  return vector;
}

// Whether a vector is known to be a classification's: by class names, by the metadata, by its name,
// or because it has ImageNet's classes.
bool IsOfClasses(const OutputFacts& facts, const OutputFact& vector, std::int64_t length) {
  if (facts.names > 0 || facts.task == "classify" || length == 1000 || length == 1001) {
    return true;
  }
  const std::string name = LowerCase(vector.spec->name);
  constexpr std::array<std::string_view, 6> kTelling{"logit", "prob",  "score",
                                                     "class", "label", "softmax"};
  return std::any_of(kTelling.begin(), kTelling.end(), [&name](std::string_view part) {
    return name.find(part) != std::string::npos;
  });
}

bool NamesAnEmbedding(std::string_view output) {
  const std::string name = LowerCase(output);
  return name.find("embed") != std::string::npos || name.find("feature") != std::string::npos ||
         name == "pooler_output";
}

}  // namespace

absl::StatusOr<Classification> Classify(const ModelPlan& plan, std::span<const TensorView> outputs,
                                        const Options& options) {
  ASSIGN_OR_RETURN(const Numbers vector, ReadOutput(outputs, plan.outputs.front(), 1));
  if (plan.classes > 0 && vector.values().size() != plan.classes) {
    return absl::InternalError(fmt::format("the model's output {} has {} classes instead of {}",
                                           plan.outputs.front(), vector.values().size(),
                                           plan.classes));
  }
  if (!std::all_of(vector.values().begin(), vector.values().end(),
                   [](float value) { return std::isfinite(value); })) {
    return NotFinite(plan.outputs.front());
  }
  std::vector<float> values(vector.values().begin(), vector.values().end());
  if (values.empty()) {
    return Classification();
  }
  RETURN_IF_ERROR(MakeProbabilities(plan, values));
  std::vector<ClassScore> scores;
  scores.reserve(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (options.Wants(static_cast<int>(i))) {
      scores.push_back({static_cast<int>(i), values[i]});
    }
  }
  const auto kept = static_cast<std::ptrdiff_t>(std::min(options.top_k, scores.size()));
  std::partial_sort(scores.begin(), scores.begin() + kept, scores.end(),
                    [](const ClassScore& a, const ClassScore& b) {
                      return a.confidence != b.confidence ? a.confidence > b.confidence
                                                          : a.class_id < b.class_id;
                    });
  scores.resize(static_cast<std::size_t>(kept));
  return Classification{std::move(scores)};
}

absl::StatusOr<Embedding> Embed(const ModelPlan& plan, std::span<const TensorView> outputs) {
  absl::StatusOr<Numbers> vector = ReadOutput(outputs, plan.outputs.front(), 1);
  if (!vector.ok()) {
    return vector.status();
  }
  const std::span<const float> values = vector->values();
  if (values.empty() || !std::all_of(values.begin(), values.end(),
                                     [](float value) { return std::isfinite(value); })) {
    return absl::InternalError(
        fmt::format("the model's output {} is empty or not finite", plan.outputs.front()));
  }
  return Embedding{{values.begin(), values.end()}};
}

bool ClaimsClassification(const OutputFacts& facts) {
  const OutputFact* vector = facts.Vector();
  if (vector == nullptr || NamesAnEmbedding(vector->spec->name)) {
    return false;
  }
  return facts.outputs.size() == 1 ||
         (facts.names > 0 && facts.OfRank(2).empty() && vector->row.front() == facts.names);
}

bool ClaimsEmbedding(const OutputFacts& facts) {
  const OutputFact* vector = facts.Vector();
  return vector != nullptr && NamesAnEmbedding(vector->spec->name);
}

absl::Status PlanClassification(const OutputFacts& facts, ModelPlan& plan) {
  Shape row;
  ASSIGN_OR_RETURN(const OutputFact* vector, FindVector(facts, row));
  plan.outputs = {vector->spec->name};
  plan.told_by_shape = !IsOfClasses(facts, *vector, row[0]);
  return PlanClasses(facts, *vector, row[0], 0, plan);
}

absl::Status PlanEmbedding(const OutputFacts& facts, ModelPlan& plan) {
  Shape row;
  ASSIGN_OR_RETURN(const OutputFact* vector, FindVector(facts, row));
  plan.outputs = {vector->spec->name};
  plan.classes = static_cast<std::size_t>(facts.names);
  return absl::OkStatus();
}

absl::StatusOr<Result> ReadClassification(const ModelPlan& plan,
                                          std::span<const TensorView> outputs,
                                          const Placement& /*placement*/, const Options& options) {
  ASSIGN_OR_RETURN(Classification classes, Classify(plan, outputs, options));
  return Result(std::move(classes));
}

absl::StatusOr<Result> ReadEmbedding(const ModelPlan& plan, std::span<const TensorView> outputs,
                                     const Placement& /*placement*/, const Options& /*options*/) {
  ASSIGN_OR_RETURN(Embedding embedding, Embed(plan, outputs));
  return Result(std::move(embedding));
}

}  // namespace inferpool::vision

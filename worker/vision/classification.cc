#include "worker/vision/classification.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "shared/base/status.h"
#include "worker/vision/output_numbers.h"

namespace inferpool::vision {
namespace {

bool AreProbabilities(const std::vector<ClassScore>& scores) {
  double sum = 0;
  for (const ClassScore& score : scores) {
    if (score.confidence < 0 || score.confidence > 1) {
      return false;
    }
    sum += static_cast<double>(score.confidence);
  }
  return std::abs(sum - 1) <= 0.01;
}

// Shifted by the largest, which changes nothing but that no exponential overflows.
void Softmax(std::vector<ClassScore>& logits) {
  float largest = logits.front().confidence;
  for (const ClassScore& logit : logits) {
    largest = std::max(largest, logit.confidence);
  }
  double sum = 0;
  for (ClassScore& logit : logits) {
    logit.confidence = std::exp(logit.confidence - largest);
    sum += static_cast<double>(logit.confidence);
  }
  for (ClassScore& logit : logits) {
    logit.confidence = static_cast<float>(static_cast<double>(logit.confidence) / sum);
  }
}

}  // namespace

absl::StatusOr<Classification> Classify(const ModelPlan& plan, std::span<const TensorView> outputs,
                                        std::size_t top_k) {
  absl::StatusOr<Numbers> vector = ReadOutput(outputs, plan.outputs.front(), 1);
  if (!vector.ok()) {
    return vector.status();
  }
  const std::span<const float> values = vector->values();
  if (plan.classes > 0 && values.size() != plan.classes) {
    return absl::InternalError(fmt::format("the model's output {} has {} classes instead of {}",
                                           plan.outputs.front(), values.size(), plan.classes));
  }
  std::vector<ClassScore> scores;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) {
      scores.push_back({static_cast<int>(i), values[i]});
    }
  }
  const bool logits =
      plan.scores == Scores::kLogits || (plan.scores == Scores::kAuto && !AreProbabilities(scores));
  if (logits && !scores.empty()) {
    Softmax(scores);
  }
  const auto kept = static_cast<std::ptrdiff_t>(std::min(top_k, scores.size()));
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

}  // namespace inferpool::vision

#include "worker/vision/families/text_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/base/status.h"
#include "worker/vision/families/boxes.h"

namespace inferpool::vision {
namespace {

constexpr std::size_t kBlank = 0;
// How far a step's probabilities may add up to something else than 1: FP16 rounds each.
constexpr double kSumTolerance = 0.02;

struct Step {
  std::size_t most_probable = kBlank;
  float probability = 0;
};

absl::Status NoProbabilities(const ModelPlan& plan, std::string_view what) {
  return absl::FailedPreconditionError(
      fmt::format("a step of the model's output {} {}; set the parameter \"scores\" in "
                  "config.pbtxt to \"logits\" if softmax makes them probabilities",
                  plan.outputs.front(), what));
}

absl::StatusOr<Step> ReadProbabilities(const ModelPlan& plan, std::span<const float> values) {
  double sum = 0;
  std::size_t best = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!(values[i] >= -kScoreSlack && values[i] <= 1 + kScoreSlack)) {
      return NoProbabilities(plan, fmt::format("has the value {:.6g}", values[i]));
    }
    sum += static_cast<double>(values[i]);
    if (values[i] > values[best]) {
      best = i;
    }
  }
  if (std::abs(sum - 1) > kSumTolerance) {
    return NoProbabilities(plan, fmt::format("adds up to {:.6g} instead of 1", sum));
  }
  return Step{best, std::min(values[best], 1.0F)};
}

Step ReadLogits(std::span<const float> values) {
  const auto best = std::ranges::max_element(values);
  double sum = 0;
  for (const float value : values) {
    sum += std::exp(static_cast<double>(value) - static_cast<double>(*best));
  }
  return {static_cast<std::size_t>(best - values.begin()), static_cast<float>(1 / sum)};
}

absl::StatusOr<Step> ReadStep(const ModelPlan& plan, std::span<const float> values) {
  if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) {
    return NotFinite(plan.outputs.front());
  }
  if (plan.scores == Scores::kLogits) {
    return ReadLogits(values);
  }
  return ReadProbabilities(plan, values);
}

// A character and how probable it was.
struct Letter {
  std::string_view text;
  float probability;
};

std::string_view TextOf(std::size_t character, std::span<const std::string> dictionary) {
  const std::size_t index = character - 1;
  return index < dictionary.size() ? std::string_view(dictionary[index]) : " ";
}

bool IsSpace(const Letter& letter) {
  constexpr std::string_view kIdeographicSpace = "\u3000";
  return letter.text == " " || letter.text == kIdeographicSpace;
}

TextLine Join(std::span<const Letter> letters) {
  while (!letters.empty() && IsSpace(letters.front())) {
    letters = letters.subspan(1);
  }
  while (!letters.empty() && IsSpace(letters.back())) {
    letters = letters.first(letters.size() - 1);
  }
  TextLine line;
  double sum = 0;
  for (const Letter& letter : letters) {
    line.text += letter.text;
    sum += static_cast<double>(letter.probability);
  }
  if (!letters.empty()) {
    line.confidence = static_cast<float>(sum / static_cast<double>(letters.size()));
  }
  return line;
}

}  // namespace

absl::StatusOr<TextLine> DecodeTextLine(const ModelPlan& plan, const Numbers& steps) {
  const std::size_t classes = steps.shape()[1];
  const std::size_t characters = plan.dictionary.size();
  if (classes != characters + 1 && classes != characters + 2) {
    return absl::InternalError(
        fmt::format("the model's output {} has {} classes; the blank, {} characters and perhaps "
                    "the space were expected",
                    plan.outputs.front(), classes, characters));
  }
  std::vector<Letter> letters;
  std::size_t previous = kBlank;
  for (std::size_t i = 0; i < steps.shape()[0]; ++i) {
    ASSIGN_OR_RETURN(const Step step, ReadStep(plan, steps.Row(i)));
    if (step.most_probable != kBlank && step.most_probable != previous) {
      letters.push_back({TextOf(step.most_probable, plan.dictionary), step.probability});
    }
    previous = step.most_probable;
  }
  return Join(letters);
}

absl::Status PlanTextLine(const OutputFacts& facts, ModelPlan& plan) {
  if (facts.names == 0) {
    return absl::FailedPreconditionError(
        "there is no dictionary: labels.txt has to name one character a line");
  }
  if (plan.scores == Scores::kMultiLabelLogits) {
    return absl::FailedPreconditionError("scores are \"multi_label_logits\", which steps are not");
  }
  for (const OutputFact& output : facts.outputs) {
    const std::optional<Shape> row = output.is_float ? RowOfRank(facts, output, 2) : std::nullopt;
    if (!row) {
      continue;
    }
    const std::int64_t classes = row->back();
    if (classes != kAny && classes != facts.names + 1 && classes != facts.names + 2) {
      return absl::FailedPreconditionError(
          fmt::format("output {} has {} classes, and the dictionary {} characters",
                      output.spec->name, classes, facts.names));
    }
    if (!plan.outputs.empty()) {
      return absl::FailedPreconditionError(
          fmt::format("{} and {} are both tables", plan.outputs.front(), output.spec->name));
    }
    plan.outputs = {output.spec->name};
  }
  if (plan.outputs.empty()) {
    return absl::FailedPreconditionError("there is no FP32 or FP16 output of two dimensions");
  }
  plan.dictionary = facts.model.class_names;
  return absl::OkStatus();
}

absl::StatusOr<Result> ReadTextLine(const ModelPlan& plan, std::span<const TensorView> outputs,
                                    const Placement& /*placement*/, const Options& /*options*/) {
  ASSIGN_OR_RETURN(const Numbers steps, ReadOutput(outputs, plan.outputs.front(), 2));
  ASSIGN_OR_RETURN(TextLine line, DecodeTextLine(plan, steps));
  return Result(TextLines{std::move(line)});
}

}  // namespace inferpool::vision

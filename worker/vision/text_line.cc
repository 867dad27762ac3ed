#include "worker/vision/text_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string_view>
#include <vector>

#include "shared/base/status.h"

namespace inferpool::vision {
namespace {

constexpr std::size_t kBlank = 0;
// How far a step's probabilities may add up to something else than 1: FP16 rounds each.
constexpr double kSumTolerance = 0.02;

struct Step {
  std::size_t most_probable = kBlank;
  float probability = 0;
};

absl::StatusOr<Step> ReadProbabilities(std::span<const float> values) {
  double sum = 0;
  std::size_t best = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!(values[i] >= 0 && values[i] <= 1)) {
      return absl::InternalError(
          fmt::format("a step of the line has a probability of {}", values[i]));
    }
    sum += static_cast<double>(values[i]);
    if (values[i] > values[best]) {
      best = i;
    }
  }
  if (std::abs(sum - 1) > kSumTolerance) {
    return absl::InternalError(
        fmt::format("the probabilities of a step of the line add up to {}", sum));
  }
  return Step{best, values[best]};
}

absl::StatusOr<Step> ReadLogits(std::span<const float> values) {
  if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) {
    return absl::InternalError("a step of the line has a value that is not finite");
  }
  const auto best = std::ranges::max_element(values);
  double sum = 0;
  for (const float value : values) {
    sum += std::exp(static_cast<double>(value) - static_cast<double>(*best));
  }
  return Step{static_cast<std::size_t>(best - values.begin()), static_cast<float>(1 / sum)};
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

absl::StatusOr<TextLine> DecodeTextLine(const Numbers& steps,
                                        std::span<const std::string> dictionary, bool logits) {
  const std::size_t classes = steps.shape()[1];
  const std::size_t characters = dictionary.size();
  if (characters == 0 || (classes != characters + 1 && classes != characters + 2)) {
    return absl::InternalError(
        fmt::format("the line's steps have {} classes; the blank, {} characters and perhaps the "
                    "space were expected",
                    classes, characters));
  }
  std::vector<Letter> letters;
  std::size_t previous = kBlank;
  for (std::size_t i = 0; i < steps.shape()[0]; ++i) {
    ASSIGN_OR_RETURN(const Step step,
                     logits ? ReadLogits(steps.Row(i)) : ReadProbabilities(steps.Row(i)));
    if (step.most_probable != kBlank && step.most_probable != previous) {
      letters.push_back({TextOf(step.most_probable, dictionary), step.probability});
    }
    previous = step.most_probable;
  }
  return Join(letters);
}

}  // namespace inferpool::vision

#include "worker/vision/parameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/base/ascii.h"
#include "shared/base/status.h"

namespace inferpool::vision {
namespace {

using Texts = std::map<std::string, std::string>;

constexpr std::string_view kBlanks = " \t\r\n";

template <typename Value>
using Choice = std::pair<std::string_view, Value>;

constexpr Choice<Resize> kResizes[] = {
    {"letterbox", Resize::kLetterbox}, {"stretch", Resize::kStretch}, {"crop", Resize::kCrop}};
constexpr Choice<bool> kChannels[] = {{"rgb", true}, {"bgr", false}};
constexpr Choice<bool> kBoxCoordinates[] = {{"pixel", false}, {"normalized", true}};
constexpr Choice<Scores> kScores[] = {{"auto", Scores::kAuto},
                                      {"probabilities", Scores::kProbabilities},
                                      {"logits", Scores::kLogits},
                                      {"multi_label_logits", Scores::kMultiLabelLogits}};

absl::Status NotAllowed(std::string_view key, std::string_view value, std::string_view allowed) {
  return absl::FailedPreconditionError(
      fmt::format("parameter {} is \"{}\"; allowed are {}", key, value, allowed));
}

// The parameter's text, trimmed; nothing when it is not given.
std::optional<std::string_view> Find(const Texts& texts, const std::string& key) {
  const auto found = texts.find(key);
  return found == texts.end() ? std::nullopt : std::optional(Trim(found->second, kBlanks));
}

template <typename Target, typename Value, std::size_t kCount>
absl::Status ReadChoice(const Texts& texts, const std::string& key,
                        const Choice<Value> (&choices)[kCount], Target& target) {
  const std::optional<std::string_view> text = Find(texts, key);
  if (!text) {
    return absl::OkStatus();
  }
  std::string allowed;
  for (const auto& [name, value] : choices) {
    if (name == *text) {
      target = value;
      return absl::OkStatus();
    }
    allowed += fmt::format("{}{}", allowed.empty() ? "" : ", ", name);
  }
  return NotAllowed(key, *text, allowed);
}

absl::Status ReadFamily(const Texts& texts, const FamilyRow*& family) {
  const std::optional<std::string_view> text = Find(texts, "family");
  if (!text) {
    return absl::OkStatus();
  }
  family = FindFamily(*text);
  if (family != nullptr) {
    return absl::OkStatus();
  }
  std::string allowed;
  for (const FamilyRow& row : FamilyTable()) {
    allowed += fmt::format("{}{}", allowed.empty() ? "" : ", ", row.name);
  }
  return NotAllowed("family", *text, allowed);
}

template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  text = Trim(text, kBlanks);
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

std::optional<int> ParseSide(std::string_view text) {
  const std::optional<int> side = ParseNumber<int>(text);
  return side && *side >= 1 && *side <= kMaxInputSide ? side : std::nullopt;
}

absl::Status ReadInputSize(const Texts& texts, std::optional<cv::Size>& size) {
  const std::optional<std::string_view> text = Find(texts, "input_size");
  if (!text) {
    return absl::OkStatus();
  }
  const std::size_t cross = text->find('x');
  const std::optional<int> width = ParseSide(text->substr(0, cross));
  const std::optional<int> height =
      cross == std::string_view::npos ? width : ParseSide(text->substr(cross + 1));
  if (!width || !height) {
    return NotAllowed("input_size", *text,
                      fmt::format("640 or 640x480, each up to {}", kMaxInputSide));
  }
  size = cv::Size(*width, *height);
  return absl::OkStatus();
}

// A number of pixels.
absl::Status ReadSide(const Texts& texts, const std::string& key, std::optional<int>& side) {
  const std::optional<std::string_view> text = Find(texts, key);
  if (!text) {
    return absl::OkStatus();
  }
  side = ParseSide(*text);
  return side ? absl::OkStatus()
              : NotAllowed(key, *text, fmt::format("1 to {} pixels", kMaxInputSide));
}

absl::Status ReadScale(const Texts& texts, std::optional<double>& scale) {
  const std::optional<std::string_view> text = Find(texts, "scale");
  if (!text) {
    return absl::OkStatus();
  }
  scale = ParseNumber<double>(*text);
  const bool usable = scale && std::isfinite(*scale) && *scale != 0;
  return usable ? absl::OkStatus()
                : NotAllowed("scale", *text, "numbers other than 0, such as 0.00392157");
}

absl::Status ReadThree(const Texts& texts, const std::string& key, bool zero_allowed,
                       std::optional<std::array<double, 3>>& three) {
  const std::optional<std::string_view> text = Find(texts, key);
  if (!text) {
    return absl::OkStatus();
  }
  std::vector<double> numbers;
  for (std::size_t at = 0; at <= text->size();) {
    const std::size_t comma = std::min(text->find(',', at), text->size());
    const std::optional<double> number = ParseNumber<double>(text->substr(at, comma - at));
    if (!number || !std::isfinite(*number) || (*number == 0 && !zero_allowed)) {
      numbers.clear();
      break;
    }
    numbers.push_back(*number);
    at = comma + 1;
  }
  if (numbers.size() == 1) {
    three = {numbers[0], numbers[0], numbers[0]};
  } else if (numbers.size() == 3) {
    three = {numbers[0], numbers[1], numbers[2]};
  } else {
    return NotAllowed(
        key, *text,
        fmt::format("one number or three with commas{}", zero_allowed ? "" : ", none of them 0"));
  }
  return absl::OkStatus();
}

constexpr std::array<std::string_view, 19> kNames = {
    "family",      "input_size",     "multiple_of",   "resize",  "max_side",
    "channels",    "scale",          "mean",          "std",     "box_coordinates",
    "scores",      "task",           "head",          "end2end", "kpt_shape",
    "first_class", "text_threshold", "box_threshold", "unclip"};

}  // namespace

std::span<const std::string_view> ParameterNames() {
  return kNames;
}

absl::StatusOr<Parameters> ReadParameters(const Texts& texts) {
  Parameters read;
  RETURN_IF_ERROR(ReadFamily(texts, read.family));
  RETURN_IF_ERROR(ReadInputSize(texts, read.input_size));
  RETURN_IF_ERROR(ReadChoice(texts, "resize", kResizes, read.resize));
  RETURN_IF_ERROR(ReadSide(texts, "max_side", read.max_side));
  RETURN_IF_ERROR(ReadSide(texts, "multiple_of", read.multiple_of));
  RETURN_IF_ERROR(ReadChoice(texts, "channels", kChannels, read.rgb));
  RETURN_IF_ERROR(ReadScale(texts, read.scale));
  RETURN_IF_ERROR(ReadThree(texts, "mean", /*zero_allowed=*/true, read.mean));
  RETURN_IF_ERROR(ReadThree(texts, "std", /*zero_allowed=*/false, read.std_deviation));
  RETURN_IF_ERROR(ReadChoice(texts, "box_coordinates", kBoxCoordinates, read.normalized_boxes));
  RETURN_IF_ERROR(ReadChoice(texts, "scores", kScores, read.scores));
  return read;
}

}  // namespace inferpool::vision

// The parameters of model_plan.h's table, as values.
#pragma once

#include <absl/status/statusor.h>

#include <array>
#include <map>
#include <opencv2/core/types.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "worker/vision/families/family_table.h"

namespace inferpool::vision {

struct Parameters {
  const FamilyRow* family = nullptr;  // null: not given
  std::optional<cv::Size> input_size;
  std::optional<Resize> resize;
  std::optional<int> max_side;
  std::optional<int> multiple_of;
  std::optional<bool> rgb;
  std::optional<double> scale;
  std::optional<std::array<double, 3>> mean;
  std::optional<std::array<double, 3>> std_deviation;
  std::optional<bool> normalized_boxes;
  Scores scores = Scores::kAuto;
};

// The longest side of a model's input, in pixels, that we feed: bounds a picture's memory.
inline constexpr int kMaxInputSide = 8192;

// The names of all parameters that are read, by this or by a family's decoder.
std::span<const std::string_view> ParameterNames();

// FAILED_PRECONDITION names the parameter, its value and what is allowed.
absl::StatusOr<Parameters> ReadParameters(const std::map<std::string, std::string>& parameters);

}  // namespace inferpool::vision

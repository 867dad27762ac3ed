// The error for a model whose metadata cannot be used.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "proto/model_description.h"
#include "shared/base/status.h"

namespace inferpool::vision {

using Shape = std::vector<std::int64_t>;

// A length that the metadata leaves open.
inline constexpr std::int64_t kAny = -1;

// Makes a FAILED_PRECONDITION error that begins with the model's name.
template <typename... Arguments>
absl::Status UnsupportedModel(const ModelDescription& model, fmt::format_string<Arguments...> text,
                              Arguments&&... arguments) {
  return absl::FailedPreconditionError(fmt::format(
      "model {}: {}", model.name, fmt::format(text, std::forward<Arguments>(arguments)...)));
}

// "[3, 640, 640]".
inline std::string Text(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace inferpool::vision

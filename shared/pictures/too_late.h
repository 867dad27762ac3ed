// The error of a decoder whose deadline passed.
#pragma once

#include <absl/status/status.h>
#include <fmt/format.h>

#include "shared/pictures/header.h"

namespace inferpool::vision {

inline absl::Status TooLate(Format format) {
  return absl::DeadlineExceededError(
      fmt::format("the deadline passed while the {} picture was decoded", Name(format)));
}

}  // namespace inferpool::vision

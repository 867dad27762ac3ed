// Helpers around absl::Status, the error value of this project.
//
// Debian builds abseil with its own string_view, which std::string_view does not convert to. So
// abseil gives us Status and StatusOr, and texts are made with fmt.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <string_view>

namespace inferpool {

// The status' message; lives as long as the status.
inline std::string_view Message(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

}  // namespace inferpool

// Returns from the function when `expression` (a Status) is an error.
#define RETURN_IF_ERROR(expression)                                             \
  do {                                                                          \
    if (absl::Status inferpool_status = (expression); !inferpool_status.ok()) { \
      return inferpool_status;                                                  \
    }                                                                           \
  } while (false)

// Helpers around absl::Status, the error value of this project.
//
// Debian builds abseil with its own string_view, which std::string_view does not convert to. So
// abseil gives us Status and StatusOr, and texts are made with fmt.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <fmt/core.h>

#include <string_view>
#include <utility>

namespace inferpool {

// The status' message; lives as long as the status.
inline std::string_view Message(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

// An INVALID_ARGUMENT error whose message is formatted as by fmt::format.
template <typename... Args>
absl::Status InvalidArgument(fmt::format_string<Args...> format, Args&&... args) {
  return absl::InvalidArgumentError(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace inferpool

// Returns from the function when `expression` (a Status) is an error.
#define RETURN_IF_ERROR(expression)                                             \
  do {                                                                          \
    if (absl::Status inferpool_status = (expression); !inferpool_status.ok()) { \
      return inferpool_status;                                                  \
    }                                                                           \
  } while (false)

// Returns from the function when `expression` (a StatusOr) is an error; otherwise gives its value
// to `declaration`: ASSIGN_OR_RETURN(const Header header, ReadHeader(bytes)).
#define ASSIGN_OR_RETURN(declaration, expression) \
  INFERPOOL_ASSIGN_OR_RETURN(INFERPOOL_JOIN(inferpool_result_, __LINE__), declaration, expression)
#define INFERPOOL_ASSIGN_OR_RETURN(result, declaration, expression) \
  auto result = (expression);                                       \
  if (!result.ok()) return std::move(result).status();              \
  declaration = *std::move(result)
#define INFERPOOL_JOIN(a, b) INFERPOOL_JOIN_EXPANDED(a, b)
#define INFERPOOL_JOIN_EXPANDED(a, b) a##b

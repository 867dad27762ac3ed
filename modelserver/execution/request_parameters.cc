#include "modelserver/execution/request_parameters.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string_view>

namespace inferpool::modelserver {
namespace {

using Parameter = inference::InferParameter;

constexpr std::string_view kReservedPrefix = "triton_";

absl::Status WrongType(std::string_view name, std::string_view expected) {
  return InvalidArgument("the parameter '{}' must be of the type {}", name, expected);
}

absl::Status ReadPriority(const Parameter& value, InferContext& context) {
  if (value.has_uint64_param()) {
    context.priority = value.uint64_param();
  } else if (!value.has_int64_param()) {
    return WrongType("priority", "int64_param or uint64_param");
  } else if (value.int64_param() < 0) {
    return InvalidArgument("the parameter 'priority' is {}, it must not be negative",
                           value.int64_param());
  } else {
    context.priority = static_cast<std::uint64_t>(value.int64_param());
  }
  return absl::OkStatus();
}

absl::Status ReadParameter(std::string_view name, const Parameter& value, InferContext& context) {
  if (name == "priority") {
    return ReadPriority(value, context);
  }
  if (name == "timeout") {
    if (!value.has_int64_param()) return WrongType(name, "int64_param");
    context.timeout =
        std::chrono::microseconds(std::max<std::int64_t>(value.int64_param(), 0));  // or none
  } else if (name == "sequence_id") {
    if (!value.has_int64_param() && !value.has_string_param()) {
      return WrongType(name, "int64_param or string_param");
    }
  } else if (name == "sequence_start" || name == "sequence_end" ||
             name == "triton_enable_empty_final_response") {
    if (!value.has_bool_param()) return WrongType(name, "bool_param");
  } else if (name.starts_with(kReservedPrefix)) {
    return InvalidArgument("the parameter '{}' is not known: names that begin with {} are reserved",
                           name, kReservedPrefix);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadParameters(const TensorParameters& parameters, InferContext& context) {
  for (const auto& [name, value] : parameters) {
    RETURN_IF_ERROR(ReadParameter(name, value, context));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::int64_t> ReadClassification(const TensorParameters& parameters) {
  constexpr const char* kName = "classification";
  const auto found = parameters.find(kName);
  if (found == parameters.end()) return 0;
  if (!found->second.has_int64_param()) return WrongType(kName, "int64_param");
  if (found->second.int64_param() < 1) {
    return InvalidArgument("the parameter '{}' is {}, it must be positive", kName,
                           found->second.int64_param());
  }
  return found->second.int64_param();
}

}  // namespace inferpool::modelserver

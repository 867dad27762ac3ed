#include "worker/streams/trip.h"

#include <fmt/format.h>

namespace inferpool::streams {

std::string_view Trip::Keep(std::int64_t number) {
  return Keep(fmt::format("{}", number));
}

bool BreaksConnection(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsPermissionDenied(status);
}

}  // namespace inferpool::streams

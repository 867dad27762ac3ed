#include "worker/http/request_id.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace inferpool::http {
namespace {

bool Sane(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

}  // namespace

std::string RequestId(std::string_view from_client) {
  if (!from_client.empty() && from_client.size() <= 64 && std::ranges::all_of(from_client, Sane)) {
    return std::string(from_client);
  }
  std::array<std::uint64_t, 2> random{};
  // Never fails for so few bytes once the system has booted.
  [[maybe_unused]] const ssize_t got = getrandom(random.data(), sizeof(random), 0);
  return fmt::format("{:016x}{:016x}", random[0], random[1]);
}

}  // namespace inferpool::http

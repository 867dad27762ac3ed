#include "worker/http/exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdint>
#include <utility>

#include "shared/base/utf8.h"

namespace inferpool::http {

StageTimes::Duration Exchange::SetTotalTime() {
  const auto total =
      std::chrono::duration_cast<StageTimes::Duration>(Clock::now() - request.accepted);
  times.Set(Stage::kTotal, total);
  return total;
}

std::optional<Problem> Exchange::TakeTurns(int turns, const std::string& parameter,
                                           std::string_view what) const {
  // nginx sends a request again when a worker died on it, which had taken them.
  if (holder == nullptr || turns <= 1 || request.again) return std::nullopt;
  const RateLimit& limit = holder->key.rate;
  if (limit.per_s <= 0) return std::nullopt;
  if (turns > limit.burst) {
    return BadParameter(parameter,
                        fmt::format("{} count as so many requests, and this API key may send {} at "
                                    "once: ask for fewer",
                                    what, limit.burst));
  }
  const RateMeter::Decision decision = holder->meter->Take(limit, turns - 1, Clock::now());
  if (decision.allowed) {
    more_turns.fetch_add(turns - 1, std::memory_order_relaxed);
    return std::nullopt;
  }
  // The next try needs a turn of its own as well.
  const auto wait =
      decision.retry_after + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                 std::chrono::duration<double>(std::min(1e9, 1 / limit.per_s)));
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait).count();
  return TooManyRequests(
      fmt::format("{} count as so many requests, and this API key may send {} a second, and {} at "
                  "once; try again in {} s, or ask for fewer",
                  what, limit.per_s, limit.burst, seconds),
      static_cast<int>(std::min<std::int64_t>(seconds, INT_MAX)));
}

fcgi::Response Exchange::Fail(const Problem& problem) const {
  return Render(problem, problem_form, id, base_path);
}

fcgi::Response Json(std::string body) {
  fcgi::Response response;
  response.headers.emplace_back("Content-Type", "application/json");
  response.body = std::move(body);
  return response;
}

namespace {

// "a//b", "a/../b", "/a": a path that names something else once it is put in order.
bool HasOddSegments(std::string_view name) {
  if (name.find('/') == std::string_view::npos) return false;
  while (true) {
    const std::string_view segment = name.substr(0, name.find('/'));
    if (segment.empty() || segment == "." || segment == "..") return true;
    if (segment.size() == name.size()) return false;
    name.remove_prefix(segment.size() + 1);
  }
}

}  // namespace

bool CanBeModelName(std::string_view name) {
  constexpr std::size_t kMaxModelName = 255;  // a folder's
  const auto may_be = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte != 0x7f;
  };
  return !name.empty() && name.size() <= kMaxModelName && std::ranges::all_of(name, may_be) &&
         IsUtf8(name) && !HasOddSegments(name);
}

}  // namespace inferpool::http

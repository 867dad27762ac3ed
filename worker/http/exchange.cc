#include "worker/http/exchange.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "shared/base/utf8.h"

namespace inferpool::http {

StageTimes::Duration Exchange::SetTotalTime() {
  const auto total =
      std::chrono::duration_cast<StageTimes::Duration>(Clock::now() - request.accepted);
  times.Set(Stage::kTotal, total);
  return total;
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

#include "worker/http/exchange.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace inferpool::http {

StageTimes::Duration Exchange::SetTotalTime() {
  const auto total =
      std::chrono::duration_cast<StageTimes::Duration>(Clock::now() - request.accepted);
  times.Set(Stage::kTotal, total);
  return total;
}

fcgi::Response Exchange::Fail(const Problem& problem) const {
  return Render(problem, problem_form, id);
}

fcgi::Response Json(std::string body) {
  fcgi::Response response;
  response.headers.emplace_back("Content-Type", "application/json");
  response.body = std::move(body);
  return response;
}

bool CanBeModelName(std::string_view name) {
  constexpr std::size_t kMaxModelName = 128;
  return name.size() <= kMaxModelName &&
         std::ranges::all_of(name, [](char c) { return c > ' ' && c < 0x7f && c != '/'; });
}

}  // namespace inferpool::http

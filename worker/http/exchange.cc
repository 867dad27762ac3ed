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

bool CanBeModelName(std::string_view name) {
  constexpr std::size_t kMaxModelName = 255;  // a folder's
  const auto may_be = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte != 0x7f;
  };
  return !name.empty() && name.size() <= kMaxModelName && std::ranges::all_of(name, may_be) &&
         IsUtf8(name);
}

}  // namespace inferpool::http

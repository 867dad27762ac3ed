#include "worker/http/exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "shared/base/json_text.h"

namespace inferpool::api {

bool IsRest(std::string_view path) {
  return path == "/v2" || path.starts_with("/v2/");
}

fcgi::Response Exchange::Fail(const Problem& problem) const {
  fcgi::Response response = Render(problem, id);
  if (IsRest(request.path)) {
    response.body.insert(1, fmt::format(R"("error":{},)", QuotedJson(problem.detail)));
  }
  return response;
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

}  // namespace inferpool::api

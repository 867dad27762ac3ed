#include "worker/http/lead.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "shared/base/json_text.h"
#include "worker/http/exchange.h"
#include "worker/routes/route_service.h"

namespace inferpool::http {
namespace {

// Of ten requests for a model nine were answered within the time that must be left for one more.
constexpr double kMost = 0.9;

bool CanAnswer(const Services& services, const backend::ModelVersion& model, Deadline deadline) {
  if (services.client.IsAway(model)) return false;
  const TimePoint now = Clock::now();
  const auto usual = services.routes->times.Quantile(model, kMost, now);
  return !usual || *usual <= deadline.Left(now);
}

void Count(const Services& services, const Asked& asked, const Report& report, int status,
           Clock::duration took) {
  constexpr int kServerError = 500;
  const auto& [model, route, variant] = asked;
  RouteCounts& counts =
      services.routes->counts.Find(route, routes::Name(variant), model.name,
                                   report.version.empty() ? model.version : report.version);
  counts.CountRequest(status >= kServerError || report.none_answered,
                      std::chrono::duration_cast<std::chrono::microseconds>(took));
  if (report.pictures > 0) counts.CountFindings(report.pictures, report.findings);
  if (status == 200 && report.timed) {
    services.routes->times.Add(model, took, Clock::now());
  }
}

}  // namespace

Lead LeadOf(const Exchange& exchange, const Services& services, const std::string& name,
            bool names_versions) {
  if (services.routes != nullptr) {
    auto table = services.routes->live.Current();
    if (table->contains(name)) {
      const ApiKey* key = exchange.holder == nullptr ? nullptr : &exchange.holder->key;
      auto ways = routes::WaysOf(name, *table,
                                 {.key = key == nullptr ? std::string_view() : key->name,
                                  .address = exchange.request.client});
      return {.name = name, .routes = std::move(table), .ways = std::move(ways)};
    }
    const auto split = names_versions ? backend::SplitVersion(name) : std::nullopt;
    if (split && table->contains(split->name)) return {.name = split->name};
  }
  backend::ModelVersion model = names_versions
                                    ? services.catalog.Resolve(name, exchange.limits.deadline)
                                    : backend::ModelVersion{name};
  std::string only_name = model.name;
  return {.name = std::move(only_name), .ways = {{std::move(model), routes::Variant::kPrimary}}};
}

fcgi::Response AnswerByLead(
    Exchange& exchange, const Services& services,
    const std::function<fcgi::Response(const backend::ModelVersion& model)>& answer) {
  const Lead& lead = exchange.lead;
  if (lead.ways.empty()) {
    return exchange.Fail(BackendProblem(
        absl::NotFoundError(fmt::format("{} is a route, which has no versions", lead.name)),
        lead.name));
  }
  if (!lead.is_route()) {
    exchange.asked = {.model = lead.ways.front().model};
    return answer(exchange.asked.model);
  }
  constexpr int kNotFound = 404;
  std::size_t at = 0;
  while (true) {
    const std::size_t last = lead.ways.size() - 1;
    const Deadline deadline = exchange.limits.deadline;
    while (at < last && !CanAnswer(services, lead.ways[at].model, deadline)) ++at;
    exchange.asked = {lead.ways[at].model, lead.name, lead.ways[at].variant};
    exchange.report = {};
    const TimePoint begun = Clock::now();
    fcgi::Response response = answer(exchange.asked.model);
    Count(services, exchange.asked, exchange.report, response.status, Clock::now() - begun);
    // A canary that is not there yet, or no more, is no reason to refuse its clients.
    const bool no_canary =
        lead.ways[at].variant == routes::Variant::kCanary && response.status == kNotFound;
    const bool may_go_on = (exchange.report.model_away || no_canary) && at < last &&
                           !exchange.limits.deadline.Expired(Clock::now()) &&
                           !exchange.limits.departed.stop_requested();
    if (!may_go_on) return response;
    exchange.unused_turns = exchange.more_turns.load();
    ++at;
  }
}

void CountByRoute(const Exchange& exchange, const Services& services, const std::string& name,
                  const backend::ModelVersion& model, const Report& report, int status,
                  Clock::duration took) {
  if (services.routes == nullptr || !services.routes->live.Current()->contains(name)) return;
  const Lead lead = LeadOf(exchange, services, name, /*names_versions=*/true);
  const auto way = std::ranges::find(lead.ways, model, &routes::Way::model);
  if (way == lead.ways.end()) return;
  Count(services, {.model = model, .route = name, .variant = way->variant}, report, status, took);
}

std::string RouteMember(const Exchange& exchange) {
  const auto& [model, route, variant] = exchange.asked;
  if (route.empty()) return "";
  return fmt::format(R"(,"route":{{"name":{},"variant":"{}"}})", QuotedJson(route),
                     routes::Name(variant));
}

std::string RouteHeader(const Exchange& exchange) {
  const auto& [model, route, variant] = exchange.asked;
  if (route.empty()) return "";
  std::string text;
  for (const char c : route) {
    const bool is_token = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                          (c >= 'A' && c <= 'Z') || c == '.' || c == '_' || c == '-' || c == '/';
    if (is_token) {
      text += c;
    } else {
      fmt::format_to(std::back_inserter(text), "%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return fmt::format("{}; variant={}", text, routes::Name(variant));
}

}  // namespace inferpool::http

#include "ops/sidecar/health.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "shared/base/json_text.h"

namespace inferpool::ops {
namespace {

std::string ToJson(const Part& part) {
  return fmt::format(R"({{"ready":{},"detail":{}}})", part.ready, QuotedJson(part.detail));
}

// Of several, those are named that there is something to say of.
Part Together(const std::vector<ModelServer>& servers) {
  const auto ready = std::ranges::count_if(servers, &ModelServer::ready);
  if (servers.size() == 1) return {ready > 0, servers.front().detail};
  std::string detail = fmt::format("{} of {} ready", ready, servers.size());
  for (const ModelServer& server : servers) {
    if (server.detail != "ready") detail += fmt::format("; {}: {}", server.target, server.detail);
  }
  return {ready > 0, detail};
}

}  // namespace

Health EvaluateHealth(const Totals& totals, std::vector<ModelServer> model_servers) {
  const auto ready = totals.workers().by_state[static_cast<std::size_t>(ProcessState::kReady)];
  std::string workers = fmt::format("{} of {} ready", ready, totals.workers().wanted);
  if (totals.workers().backing_off > 0) {
    workers +=
        fmt::format(", {} waiting to be started again after a crash", totals.workers().backing_off);
  }
  Part together = Together(model_servers);
  return {.workers = {ready > 0, std::move(workers)},
          .model_server = std::move(together),
          .model_servers = std::move(model_servers)};
}

std::string ToJson(const Health& health, bool with_names) {
  std::vector<std::string> servers;
  for (const ModelServer& server : health.model_servers) {
    std::vector<std::string> names;
    for (const std::string& name : server.models) names.push_back(QuotedJson(name));
    servers.push_back(fmt::format(
        R"({{"target":{},"ready":{},"detail":{},"models":{}}})", QuotedJson(server.target),
        server.ready, QuotedJson(server.detail),
        with_names ? fmt::format("[{}]", fmt::join(names, ",")) : fmt::format("{}", names.size())));
  }
  return fmt::format("{{\"ready\":{},\"workers\":{},\"model_server\":{},\"model_servers\":[{}]}}\n",
                     health.Ready(), ToJson(health.workers), ToJson(health.model_server),
                     fmt::join(servers, ","));
}

}  // namespace inferpool::ops

#include "ops/sidecar/health.h"

#include <fmt/format.h>

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

std::string ToJson(const Health& health) {
  return fmt::format("{{\"ready\":{},\"workers\":{},\"model_server\":{}}}\n", health.Ready(),
                     ToJson(health.workers), ToJson(health.model_server));
}

}  // namespace inferpool::ops

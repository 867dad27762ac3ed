#include "ops/health.h"

#include <fmt/format.h>

#include <numeric>

#include "shared/json_text.h"

namespace inferpool::ops {
namespace {

std::string ToJson(const Part& part) {
  return fmt::format(R"({{"ready":{},"detail":{}}})", part.ready, QuotedJson(part.detail));
}

}  // namespace

Health Judge(const Totals& totals, const absl::Status& model_server) {
  const auto ready = totals.workers_by_state[static_cast<std::size_t>(WorkerState::kReady)];
  const auto all = std::accumulate(totals.workers_by_state.begin(), totals.workers_by_state.end(),
                                   std::uint64_t{0});
  return {.workers = {ready > 0, fmt::format("{} of {} ready", ready, all)},
          .model_server = {model_server.ok(),
                           model_server.ok() ? "ready" : std::string(Message(model_server))}};
}

std::string ToJson(const Health& health) {
  return fmt::format("{{\"ready\":{},\"workers\":{},\"model_server\":{}}}\n", health.Ready(),
                     ToJson(health.workers), ToJson(health.model_server));
}

}  // namespace inferpool::ops

#include "ops/health.h"

#include <fmt/format.h>

#include "shared/json_text.h"

namespace inferpool::ops {
namespace {

std::string ToJson(const Part& part) {
  return fmt::format(R"({{"ready":{},"detail":{}}})", part.ready, QuotedJson(part.detail));
}

}  // namespace

Health Judge(const Totals& totals, const absl::Status& model_server) {
  const auto ready = totals.workers_by_state[static_cast<std::size_t>(ProcessState::kReady)];
  std::string workers = fmt::format("{} of {} ready", ready, totals.wanted_workers);
  if (totals.backing_off > 0) {
    workers += fmt::format(", {} waiting to be started again after a crash", totals.backing_off);
  }
  return {.workers = {ready > 0, workers},
          .model_server = {model_server.ok(),
                           model_server.ok() ? "ready" : std::string(Message(model_server))}};
}

std::string ToJson(const Health& health) {
  return fmt::format("{{\"ready\":{},\"workers\":{},\"model_server\":{}}}\n", health.Ready(),
                     ToJson(health.workers), ToJson(health.model_server));
}

}  // namespace inferpool::ops

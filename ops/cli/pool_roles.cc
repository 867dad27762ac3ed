#include "ops/cli/pool_roles.h"

#include <chrono>

#include "ops/cli/model_server_launcher.h"
#include "ops/live/live.h"
#include "ops/rules/rules.h"
#include "ops/sidecar/sidecar.h"
#include "worker/process.h"

namespace inferpool::ops {
namespace {

// What those have to leave that stay until the workers have left.
constexpr std::chrono::seconds kLastDrain{5};
// A model server that cannot come up, for a bad option or a port that is taken, ends sooner.
constexpr std::chrono::milliseconds kModelServerComesUp{500};

ProcessStart StartOf(const fcgi::ChildContext& context) {
  return {.config = context.config,
          .scoreboard = context.scoreboard,
          .wakeup = context.wakeup,
          .listener = context.listener,
          .slot = context.slot,
          .successor = context.successor};
}

int Worker(const fcgi::ChildContext& context) {
  return RunWorker(StartOf(context));
}

int Ingest(const fcgi::ChildContext& context) {
  return RunIngest(StartOf(context));
}

int Sidecar(const fcgi::ChildContext& context) {
  return RunSidecar(context.config, context.scoreboard, context.sidecar_listener,
                    [&context] { context.SayReady(); });
}

int Live(const fcgi::ChildContext& context) {
  return live::RunLive({.config = context.config,
                        .scoreboard = context.scoreboard,
                        .successor = context.successor,
                        .row = context.row},
                       [&context] { context.SayReady(); });
}

int Rules(const fcgi::ChildContext& context) {
  return rules::RunRules(
      {.config = context.config, .scoreboard = context.scoreboard, .row = context.row},
      [&context] { context.SayReady(); });
}

int ModelServer(const fcgi::ChildContext& context) {
  return ExecModelServer(context.config);
}

}  // namespace

const fcgi::RoleTable& PoolRoles() {
  static const fcgi::RoleTable roles = {
      {.name = "worker",
       .seats = [](const Config& config) { return config.workers; },
       .max_seats = 512,
       .has_slots = true,
       .replaced_by = {ReloadEffect::kWorkers, ReloadEffect::kClients, ReloadEffect::kAll},
       .run = &Worker},
      {.name = "sidecar",
       .seats = [](const Config&) { return 1; },
       .replaced_by = {ReloadEffect::kClients, ReloadEffect::kAll},
       .policy = {.leave_turn = 1, .drain = kLastDrain, .rolls_last = true},
       .run = &Sidecar},
      {.name = "modelserver",
       .seats = [](const Config& config) { return config.modelserver.enabled ? 1 : 0; },
       .replaced_by = {ReloadEffect::kModels, ReloadEffect::kAll},
       .other_program = true,
       .policy = {.successor_first = false,
                  .leave_turn = 1,
                  .drain = kLastDrain,
                  .serves_after = kModelServerComesUp},
       .run = &ModelServer},
      {.name = "ingest",
       .seats = [](const Config& config) { return config.streams.workers; },
       .max_seats = 32,
       .has_slots = true,
       .replaced_by = {ReloadEffect::kIngest, ReloadEffect::kWorkers, ReloadEffect::kClients,
                       ReloadEffect::kAll},
       .run = &Ingest},
      {.name = "live",
       .seats = [](const Config& config) { return config.streams.workers > 0 ? 1 : 0; },
       .replaced_by = {ReloadEffect::kIngest, ReloadEffect::kWorkers, ReloadEffect::kClients,
                       ReloadEffect::kAll},
       .policy = {.leave_turn = 1, .drain = kLastDrain, .rolls_last = true},
       .run = &Live},
      {.name = "rules",
       .seats = [](const Config& config) { return config.streams.rules.empty() ? 0 : 1; },
       .replaced_by = {ReloadEffect::kRules, ReloadEffect::kIngest, ReloadEffect::kClients,
                       ReloadEffect::kAll},
       .policy = {.leave_turn = 1, .drain = kLastDrain, .rolls_last = true},
       .run = &Rules},
  };
  return roles;
}

}  // namespace inferpool::ops

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fcgi/pool/master_process.h"
#include "shared/base/log.h"
#include "shared/config/config_keys.h"

namespace inferpool::fcgi {
namespace {

// Configurations that are kept, the latest ones: a role may go back to an older generation.
constexpr std::size_t kMaxConfigs = 32;

}  // namespace

void Master::EndReload(ReloadRecord::Outcome outcome, std::string_view detail) {
  reload_.End(outcome, detail);
  if (outcome == ReloadRecord::kDone) proved_generation_ = generation_;
  while (configs_.size() > kMaxConfigs) configs_.erase(configs_.begin());
}

Json::Value Master::Refuse(std::string_view what, const std::vector<std::string>& problems) {
  const std::string all = fmt::format("{}", fmt::join(problems, "; "));
  reload_.Refused(generation_, what, all);
  Json::Value answer;
  answer["ok"] = false;
  answer["problems"] = Json::arrayValue;
  for (const std::string& problem : problems) answer["problems"].append(problem);
  return answer;
}

Json::Value Master::Reload() {
  const ConfigResult result = LoadConfig(setup_.config_file, setup_.overrides);
  if (!result.problems.empty()) {
    std::vector<std::string> problems;
    for (const ConfigProblem& problem : result.problems) {
      problems.push_back(Format(problem, setup_.config_file));
    }
    return Refuse("reload", problems);
  }
  return Apply("reload", result.config, /*scaled=*/false);
}

Json::Value Master::Apply(std::string_view what, const Config& config, bool scaled) {
  const ConfigChange change = Compare(setup_.roles, config_, config);
  if (!change.at_start.empty()) {
    return Refuse(what, {fmt::format("{}: cannot change while the pool runs; start it again",
                                     fmt::join(change.at_start, ", "))});
  }
  if (const absl::Status status = setup_.check_files(config); !status.ok()) {
    return Refuse(what, {std::string(Message(status))});
  }
  if (config.threads > board_.threads_per_slot()) {
    return Refuse(what,
                  {fmt::format("threads: is {}, allowed are {} while the pool runs; start it again",
                               config.threads, board_.threads_per_slot())});
  }
  if (!change.roll.empty()) {
    generation_ = ++last_generation_;
    pool_.generation = generation_;
    supervisor_.Roll(change.roll, generation_);
  }
  scaled_before_ = std::exchange(scaled_, scaled);
  config_ = config;
  configs_[generation_] = config;
  ApplyLive();
  RenewQuotas(change);
  std::string detail = change.Describe();
  if (setup_.nginx_remark) detail += setup_.nginx_remark(change.nginx, config);
  reload_.Begin(generation_, what, detail);
  Json::Value answer;
  answer["ok"] = true;
  answer["generation"] = generation_;
  answer["detail"] = detail;
  return answer;
}

void Master::RenewQuotas(const ConfigChange& change) {
  const bool changed = std::ranges::any_of(
      change.keys, [](const std::string& key) { return key.starts_with("recycle."); });
  if (!changed) return;
  for (const auto& [pid, running] : children_.all()) {
    if (const auto slot = children_.SlotOf(running.process)) board_.slot(*slot).quota = Quota();
  }
}

std::string Master::WhyNotReady(Supervisor::Process process) {
  if (children_.Find(process) == nullptr) {
    return fmt::format("{} ended before it was ready: {}", TitleOf(process), start_failure_);
  }
  const std::string late = fmt::format("{} did not get ready within timeouts.start_s ({} s)",
                                       TitleOf(process), config_.timeouts.start_s);
  const std::string reason = children_.NotReadyReason(process);
  return reason.empty() ? late : fmt::format("{}: {}", late, reason);
}

void Master::GiveUp(const Supervisor::Action& action) {
  const std::uint32_t failed = generation_;
  const std::string why = WhyNotReady(action.process);
  // The role that failed may go further back than the pool, having had nothing to change in
  // between, or less far, to a generation that was on its way when this one began.
  generation_ = std::max(proved_generation_, action.generation);
  config_ = ConfigOf(generation_);
  scaled_ = scaled_before_;
  pool_.generation = generation_;
  ApplyLive();
  EndReload(ReloadRecord::kGivenUp,
            fmt::format("generation {}: {}; generation {} stays", failed, why, generation_));
}

Json::Value Master::Scale(int workers) {
  if (workers < 1 || workers > config_.workers_max) {
    return Refuse("scale", {fmt::format("{} workers: allowed are 1 to {} (workers_max)", workers,
                                        config_.workers_max)});
  }
  Config config = config_;
  config.workers = workers;
  Json::Value answer = Apply("scale", config, /*scaled=*/true);
  const ConfigResult file = LoadConfig(setup_.config_file, setup_.overrides);
  if (answer["ok"].asBool() && file.problems.empty() && file.config.workers != workers) {
    answer["detail"] =
        fmt::format("{}; {} says {} workers, and a reload goes back to that",
                    answer["detail"].asString(), setup_.config_file, file.config.workers);
  }
  return answer;
}

Json::Value Master::Answer(const Json::Value& request) {
  Json::Value answer;
  const Json::Value& command = request["command"];
  const std::string name = command.isString() ? command.asString() : "";
  if (stopping_) {
    answer["ok"] = false;
    answer["problems"].append("the pool is stopping");
    return answer;
  }
  if (name == "reload") return Reload();
  if (name == "scale" && request["workers"].isInt()) return Scale(request["workers"].asInt());
  if (name == "quarantine clear") {
    pool_.quarantine.Clear();
    log::Info("quarantine cleared");
    answer["ok"] = true;
    return answer;
  }
  answer["ok"] = false;
  answer["problems"].append("unknown command");
  return answer;
}

std::vector<std::string> Master::Arguments(const char* command) const {
  return CommandLine(setup_.program, command, setup_.config_file, setup_.overrides);
}

void Master::CheckNewProgram() {
  if (check_) return;
  absl::StatusOr<ProgramCheck> check = ProgramCheck::Start(Arguments("check"));
  if (!check.ok()) {
    Refuse("new program", {std::string(Message(check.status()))});
    return;
  }
  check_.emplace(*std::move(check));
}

void Master::FinishCheck(int wait_status) {
  const absl::Status result = check_->Result(wait_status);
  check_.reset();
  if (!result.ok()) {
    Refuse("new program", {std::string(Message(result))});
  } else if (!stopping_) {
    ExecNewProgram();
  }
}

void Master::ExecNewProgram() {
  Handover handover{.listener = setup_.listener,
                    .sidecar_listener = setup_.sidecar_listener,
                    .scoreboard = board_.file(),
                    .wakeup = setup_.wakeup.fd(),
                    .pid_file = setup_.pid_file.fd(),
                    .socket_activated = setup_.socket_activated,
                    .generation = last_generation_,
                    .at_start = {},
                    .workers = scaled_ ? config_.workers : 0,
                    .children = {}};
  for (const ConfigKey& key : ConfigKeys()) {
    if (key.effect == ReloadEffect::kStart) {
      handover.at_start.push_back(ToOverride(key, config_));
    }
  }
  for (const auto& [pid, running] : children_.all()) {
    handover.children.push_back({.role = running.process.role,
                                 .place = running.process.place,
                                 .pid = pid,
                                 .generation = running.generation,
                                 .ready = running.ready,
                                 .leaving = running.leaving});
  }
  log::Info("becoming the new program", {{"program", setup_.program}});
  ExecWithHandover(Arguments("serve"), handover);
  Refuse("new program", {fmt::format("{}: {}", setup_.program, Reason(errno))});
}

}  // namespace inferpool::fcgi

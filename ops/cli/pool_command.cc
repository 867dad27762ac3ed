#include "ops/cli/pool_command.h"

#include <fmt/format.h>
#include <json/value.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <thread>

#include "fcgi/pool/control.h"
#include "ops/cli/open_scoreboard.h"
#include "ops/sidecar/pool_status.h"
#include "shared/board/scoreboard.h"

namespace inferpool::ops {
namespace {

constexpr std::chrono::seconds kPatience{10};
constexpr std::chrono::seconds kWatchPause{1};
constexpr std::chrono::milliseconds kProgressPause{100};

int Fail(std::string_view why) {
  fmt::print(stderr, "inferpool: {}\n", why);
  return EXIT_FAILURE;
}

absl::StatusOr<std::string> StateOf(const PoolCommand& command) {
  if (!command.state.empty()) return std::filesystem::absolute(command.state).string();
  if (command.config_file.empty()) return std::filesystem::absolute("run").string();
  const ConfigResult result = LoadConfig(command.config_file, command.overrides);
  if (result.problems.empty()) return result.config.state;
  // The pool may well run on what the file said before.
  return absl::InvalidArgumentError(
      fmt::format("{}; name the pool's folder with --state",
                  Format(result.problems.front(), command.config_file)));
}

absl::StatusOr<Scoreboard> OpenBoard(const PoolCommand& command) {
  const auto state = StateOf(command);
  if (!state.ok()) return state.status();
  return OpenScoreboard(*state);
}

std::string Seconds(TimePoint from, TimePoint to) {
  return fmt::format("{:.0f}", std::chrono::duration<double>(to - from).count());
}

// Sends the request and prints what the master has against it; true when it has nothing.
bool Ask(const std::string& state, const Json::Value& request, Json::Value& answer) {
  const auto got = fcgi::AskMaster(state, request, kPatience);
  if (!got.ok()) {
    Fail(Message(got.status()));
    return false;
  }
  answer = *got;
  if (answer["ok"].asBool()) return true;
  for (const Json::Value& problem : answer["problems"]) Fail(problem.asString());
  return false;
}

// Shows the way to the new state until the pool has arrived there.
int Await(const PoolCommand& command, const std::string& state) {
  const Deadline deadline = Deadline::After(std::chrono::seconds(command.patience_s));
  std::string shown;
  while (!deadline.Expired(Clock::now())) {
    const auto board = OpenScoreboard(state);
    if (!board.ok()) return Fail(Message(board.status()));
    const PoolStatus status = ReadStatus(*board, Clock::now());
    const auto of_generation =
        std::ranges::count_if(status.workers, [&](const WorkerStatus& worker) {
          return worker.state == ProcessState::kReady && worker.generation == status.generation;
        });
    const std::string progress =
        fmt::format("generation {}: {} of {} workers ready", status.generation, of_generation,
                    status.totals.workers().wanted);
    if (progress != shown) fmt::print("{}\n", progress);
    std::fflush(stdout);
    shown = progress;
    switch (status.reload.outcome) {
      case ReloadRecord::kDone:
        fmt::print("done\n");
        return EXIT_SUCCESS;
      case ReloadRecord::kRefused:
      case ReloadRecord::kGivenUp:
        return Fail(fmt::format("{}: {}", kReloadOutcomes[status.reload.outcome],
                                status.reload.detail.view()));
      default:
        std::this_thread::sleep_for(kProgressPause);
    }
  }
  return Fail(
      fmt::format("not finished after {} s; it goes on, see inferpool status", command.patience_s));
}

int Change(const PoolCommand& command, const Json::Value& request) {
  const auto state = StateOf(command);
  if (!state.ok()) return Fail(Message(state.status()));
  Json::Value answer;
  if (!Ask(*state, request, answer)) return EXIT_FAILURE;
  fmt::print("{}\n", answer["detail"].asString());
  return Await(command, *state);
}

}  // namespace

void AddPoolOptions(CLI::App& command, PoolCommand& options) {
  command.add_option("--state", options.state, "The pool's state folder (default run)");
  command.add_option("-c,--config", options.config_file,
                     "Configuration file that names the state folder");
  command.add_option("--set", options.overrides, "KEY=VALUE that wins over the file")->take_all();
}

int Status(const PoolCommand& command) {
  std::optional<PoolStatus> before;
  while (true) {
    // Opened every time: the pool may have been started anew.
    const auto board = OpenBoard(command);
    if (!board.ok()) return Fail(Message(board.status()));
    PoolStatus status = ReadStatus(*board, Clock::now());
    if (before) RatesSince(*before, status);
    if (command.watch && !command.json) fmt::print("\033[H\033[2J");
    fmt::print("{}", command.json ? ToJson(status) : ToTable(status));
    std::fflush(stdout);
    if (!command.watch) return EXIT_SUCCESS;
    before = std::move(status);
    std::this_thread::sleep_for(kWatchPause);
  }
}

int Reload(const PoolCommand& command) {
  Json::Value request;
  request["command"] = "reload";
  return Change(command, request);
}

int Scale(const PoolCommand& command) {
  Json::Value request;
  request["command"] = "scale";
  request["workers"] = command.workers;
  return Change(command, request);
}

int ListQuarantine(const PoolCommand& command) {
  const auto board = OpenBoard(command);
  if (!board.ok()) return Fail(Message(board.status()));
  const TimePoint now = Clock::now();
  const auto entries = board->pool().quarantine.List(now);
  if (entries.empty()) {
    fmt::print("nothing is in quarantine\n");
    return EXIT_SUCCESS;
  }
  fmt::print("{:<32} {:>7}  {:<20} {}\n", "DIGEST", "LEFT S", "MODEL", "REQUEST");
  for (const Quarantined& entry : entries) {
    fmt::print("{} {:>7}  {:<20} {}\n", ToHex(entry.digest), Seconds(now, FromNs(entry.until_ns)),
               entry.model.view(), entry.request_id.view());
  }
  return EXIT_SUCCESS;
}

int ClearQuarantine(const PoolCommand& command) {
  const auto state = StateOf(command);
  if (!state.ok()) return Fail(Message(state.status()));
  Json::Value request;
  request["command"] = "quarantine clear";
  Json::Value answer;
  if (!Ask(*state, request, answer)) return EXIT_FAILURE;
  fmt::print("the quarantine is empty\n");
  return EXIT_SUCCESS;
}

}  // namespace inferpool::ops

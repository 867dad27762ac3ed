#include "ops/cli/routes_command.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "ops/cli/open_scoreboard.h"
#include "shared/base/deadline.h"
#include "shared/base/file_descriptor.h"
#include "shared/base/json_text.h"
#include "shared/base/replace_file.h"
#include "shared/config/routes_file.h"
#include "shared/config/routes_key.h"

namespace inferpool::ops {
namespace {

// Workers look twice a second.
constexpr std::chrono::seconds kPatience{3};
constexpr std::chrono::milliseconds kPause{20};

int Fail(std::string_view why) {
  fmt::print(stderr, "inferpool: {}\n", why);
  return EXIT_FAILURE;
}

absl::Status Failed(std::string_view what, const std::string& path) {
  return absl::InternalError(
      fmt::format("cannot {} {}: {}", what, path, std::generic_category().message(errno)));
}

absl::StatusOr<Config> Load(const RoutesCommand& command) {
  ConfigResult result = LoadConfig(command.config_file, command.overrides);
  if (result.problems.empty()) return std::move(result.config);
  return absl::InvalidArgumentError(Format(result.problems.front(), command.config_file));
}

// Who makes the change: the one who became root for it, too.
std::string Who() {
  std::string who = fmt::format("user {}", geteuid());
  // There is one thread.
  const passwd* user = getpwuid(geteuid());       // NOLINT(concurrency-mt-unsafe)
  const char* caller = std::getenv("SUDO_USER");  // NOLINT(concurrency-mt-unsafe)
  if (user != nullptr) who = user->pw_name;
  return caller == nullptr ? who : fmt::format("{} (as {})", caller, who);
}

std::string Now() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

// The workers that serve, and how many of them go by the change that is asked for.
struct Followers {
  int ready = 0;
  int following = 0;
  bool of_this_configuration = true;
};

Followers CountFollowers(const Scoreboard& board, std::uint64_t configuration,
                         const std::function<bool(std::int64_t change)>& follows) {
  Followers followers;
  for (int i = 0; i < board.slots(); ++i) {
    const WorkerSlot& slot = board.slot(i);
    if (slot.process.state != ProcessState::kReady) continue;
    ++followers.ready;
    followers.of_this_configuration &= slot.routes_configured == configuration;
    if (follows(slot.routes_change.load(std::memory_order_acquire))) ++followers.following;
  }
  return followers;
}

// The pool in that folder; nullopt when none runs.
absl::StatusOr<std::optional<Scoreboard>> FindPool(const std::string& state) {
  auto board = OpenScoreboard(state);
  if (board.ok()) return std::optional<Scoreboard>(*std::move(board));
  if (absl::IsUnavailable(board.status())) return std::optional<Scoreboard>();
  return board.status();
}

// The file as it is, or as it begins when it does not count. Earlier changes are remembered.
absl::StatusOr<RoutesFile> LoadOrBegin(const Config& config) {
  auto file = LoadRoutesFile(RoutesFilePath(config.state));
  if (!file.ok() && !absl::IsNotFound(file.status())) {
    return absl::FailedPreconditionError(fmt::format(
        "{}; remove the file to begin with the configuration's routes", Message(file.status())));
  }
  RoutesFile begun{.configuration = DigestOf(config.routes), .routes = config.routes};
  if (!file.ok()) return begun;
  if (file->CountsFor(config.routes)) return file;
  begun.changes = std::move(file->changes);
  return begun;
}

// Changes the file while nobody else does. The change's number.
absl::StatusOr<std::int64_t> Edit(const Config& config, const std::string& what,
                                  const std::function<absl::Status(RoutesFile&)>& change) {
  // The folder is locked and not the file, which is another one afterwards.
  const FileDescriptor lock(open(config.state.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock) return Failed("open the folder", config.state);
  while (flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return Failed("lock the folder", config.state);
  }
  auto file = LoadOrBegin(config);
  RETURN_IF_ERROR(file.status());
  RETURN_IF_ERROR(change(*file));
  const std::int64_t number = file->number() + 1;
  AddChange(*file, {.number = number, .at = Now(), .by = Who(), .what = what});
  const std::string path = RoutesFilePath(config.state);
  // Workers run as another user, perhaps, and there is no secret in it.
  constexpr mode_t kReadable = 0644;
  RETURN_IF_ERROR(ReplaceFile(path, SerializeRoutesFile(*file),
                              {.mode = kReadable, .durable = true, .set_rights = [&path](int fd) {
                                 return fchmod(fd, kReadable) == 0
                                            ? absl::OkStatus()
                                            : Failed("set the mode of", path);
                               }}));
  if (fsync(lock.get()) != 0) return Failed("write", config.state);
  return number;
}

int Await(const Scoreboard& board, const Config& config, std::int64_t change) {
  const Deadline deadline = Deadline::After(kPatience);
  Followers followers;
  while (!deadline.Expired(Clock::now())) {
    // Another one may have made the next change meanwhile, which has this one in it.
    followers = CountFollowers(board, DigestOf(config.routes),
                               [change](std::int64_t latest) { return latest >= change; });
    if (followers.ready > 0 && followers.following == followers.ready) {
      fmt::print("change {} is in effect in all {} workers\n", change, followers.ready);
      return EXIT_SUCCESS;
    }
    std::this_thread::sleep_for(kPause);
  }
  return Fail(
      fmt::format("change {} is written, but in effect in {} of {} workers only; see the "
                  "log",
                  change, followers.following, followers.ready));
}

int Change(const RoutesCommand& command, const std::string& what,
           const std::function<absl::Status(RoutesFile&)>& change) {
  const auto config = Load(command);
  if (!config.ok()) return Fail(Message(config.status()));
  const auto pool = FindPool(config->state);
  if (!pool.ok()) return Fail(Message(pool.status()));
  const auto any = [](std::int64_t) { return true; };
  if (*pool && !CountFollowers(**pool, DigestOf(config->routes), any).of_this_configuration) {
    return Fail(fmt::format("the pool has other routes than {} says: inferpool reload first",
                            command.config_file));
  }
  const auto number = Edit(*config, what, change);
  if (!number.ok()) return Fail(Message(number.status()));
  if (*pool) return Await(**pool, *config, *number);
  fmt::print("change {} will be in effect when the pool starts\n", *number);
  return EXIT_SUCCESS;
}

std::string ListAsJson(const Config& config, const std::optional<RoutesFile>& file, bool counts,
                       const std::optional<std::string>& problem,
                       const std::optional<Followers>& followers) {
  std::vector<std::string> changes;
  if (file) {
    for (const RoutesChange& change : file->changes) {
      changes.push_back(fmt::format(R"({{"number": {}, "at": {}, "by": {}, "what": {}}})",
                                    change.number, QuotedJson(change.at), QuotedJson(change.by),
                                    QuotedJson(change.what)));
    }
  }
  return fmt::format(R"({{"effective": "{}", "configuration": {}, "changed": {}, "changes": [{}], )"
                     R"("problem": {}, "workers": {}, "workers_following": {}}})",
                     counts ? "changed" : "configuration", ToJson(config.routes),
                     file ? ToJson(file->routes) : "null", fmt::join(changes, ", "),
                     problem ? QuotedJson(*problem) : "null", followers ? followers->ready : 0,
                     followers ? followers->following : 0);
}

void PrintTable(const Config& config, const std::optional<RoutesFile>& file, bool counts) {
  std::set<std::string> names;
  for (const auto& [name, route] : config.routes) names.insert(name);
  if (file) {
    for (const auto& [name, route] : file->routes) names.insert(name);
  }
  if (names.empty()) {
    fmt::print("there are no routes\n");
    return;
  }
  constexpr const char* kRow = "{} {:<20} {:<13} {}\n";
  fmt::print(kRow, " ", "ROUTE", "SAID BY", "LEADS TO (*: in effect)");
  const auto row = [&](bool effective, const std::string& name, const char* by,
                       const Config::Routes& routes) {
    const auto found = routes.find(name);
    fmt::print(kRow, effective ? "*" : " ", name, by,
               found == routes.end() ? "(no route)" : ToJson(found->second));
  };
  for (const std::string& name : names) {
    if (file) row(counts, name, "changes", file->routes);
    row(!counts, name, "configuration", config.routes);
  }
}

}  // namespace

RoutesCommands AddRoutesCommands(CLI::App& routes, RoutesCommand& options) {
  routes.require_subcommand(1);
  const RoutesCommands commands{
      .list = routes.add_subcommand("list", "Show what routes lead to, and who said so"),
      .set = routes.add_subcommand("set", "Set a route, or members of it"),
      .promote = routes.add_subcommand("promote", "Make the canary what the route leads to"),
      .rollback = routes.add_subcommand("rollback",
                                        "Take the canary away, or else the latest promotion back")};
  for (CLI::App* command : {commands.list, commands.set, commands.promote, commands.rollback}) {
    command->add_option("-c,--config", options.config_file, "The pool's configuration file")
        ->required();
    command->add_option("--set", options.overrides, "KEY=VALUE that wins over the file")
        ->take_all();
  }
  for (CLI::App* command : {commands.set, commands.promote, commands.rollback}) {
    command->add_option("route", options.name, "Its name")->required();
  }
  commands.set
      ->add_option("what", options.assignments,
                   "MEMBER=VALUE, such as canary.percent=25 or canary=null, a whole route "
                   "'{\"model\": ...}', or null to take the route away")
      ->required();
  commands.list->add_flag("--json", options.json, "As JSON");
  return commands;
}

int ListRoutes(const RoutesCommand& command) {
  const auto config = Load(command);
  if (!config.ok()) return Fail(Message(config.status()));
  auto loaded = LoadRoutesFile(RoutesFilePath(config->state));
  std::optional<RoutesFile> file;
  std::optional<std::string> problem;
  if (loaded.ok()) {
    file = *std::move(loaded);
  } else if (!absl::IsNotFound(loaded.status())) {
    problem = Message(loaded.status());
  }
  const bool counts = file && file->CountsFor(config->routes);
  std::optional<Followers> followers;
  if (const auto pool = FindPool(config->state); pool.ok() && *pool) {
    followers = CountFollowers(
        **pool, DigestOf(config->routes),
        [number = counts ? file->number() : 0](std::int64_t change) { return change == number; });
  }
  if (command.json) {
    fmt::print("{}\n", ListAsJson(*config, file, counts, problem, followers));
    return problem ? EXIT_FAILURE : EXIT_SUCCESS;
  }
  PrintTable(*config, file, counts);
  if (file) {
    for (const RoutesChange& change : file->changes) {
      fmt::print("change {}: {}, by {} at {}\n", change.number, change.what, change.by, change.at);
    }
    if (!counts) fmt::print("the configuration's routes have changed since: they count\n");
  }
  if (followers && !followers->of_this_configuration) {
    fmt::print("the pool has other routes than {} says: it was not reloaded\n",
               command.config_file);
  } else if (followers) {
    fmt::print("in effect in {} of {} workers\n", followers->following, followers->ready);
  }
  if (problem) return Fail(*problem + ": workers that knew the file before go by it");
  return EXIT_SUCCESS;
}

int SetRoute(const RoutesCommand& command) {
  if (const auto config = Load(command); config.ok() && config->pipelines.contains(command.name)) {
    return Fail(
        fmt::format("{} is the name of a pipeline: give the route another one", command.name));
  }
  return Change(command,
                fmt::format("set {} {}", command.name, fmt::join(command.assignments, " ")),
                [&](RoutesFile& file) {
                  return inferpool::SetRoute(file, command.name, command.assignments);
                });
}

int PromoteRoute(const RoutesCommand& command) {
  return Change(command, "promote " + command.name,
                [&](RoutesFile& file) { return inferpool::PromoteRoute(file, command.name); });
}

int RollBackRoute(const RoutesCommand& command) {
  return Change(command, "rollback " + command.name,
                [&](RoutesFile& file) { return inferpool::RollBackRoute(file, command.name); });
}

}  // namespace inferpool::ops

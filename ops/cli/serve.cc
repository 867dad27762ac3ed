#include "ops/cli/serve.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <opencv2/core/utility.hpp>
#include <opencv2/imgcodecs.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "fcgi/pool/child.h"
#include "fcgi/pool/listener.h"
#include "fcgi/pool/master.h"
#include "fcgi/pool/pid_file.h"
#include "fcgi/serving/crash_handler.h"
#include "fcgi/serving/server.h"
#include "fcgi/wire/connection.h"
#include "ops/cli/keys_command.h"
#include "ops/cli/state_folder.h"
#include "ops/sidecar/sidecar.h"
#include "shared/base/listen.h"
#include "shared/base/log.h"
#include "shared/base/tune_runtime.h"
#include "shared/board/scoreboard.h"
#include "shared/pictures/decode.h"
#include "shared/pictures/header.h"
#include "worker/backend/catalog.h"
#include "worker/backend/inference.h"
#include "worker/backend/rpc/client.h"
#include "worker/backend/shm/sweep.h"
#include "worker/http/key_ring.h"
#include "worker/predict/batch.h"
#include "worker/predict/cache.h"
#include "worker/router.h"

namespace inferpool::ops {
namespace {

log::Level LogLevel(const Config& config) {
  log::Level level = log::Level::kInfo;
  log::ParseLevel(config.log.level, level);
  return level;
}

fcgi::ReadLimits ReadLimitsOf(const Config& config) {
  return {.body_bytes = static_cast<std::size_t>(config.limits.body_mb) * 1024 * 1024,
          .io = std::chrono::seconds(config.timeouts.io_s),
          .whole = std::chrono::seconds(config.timeouts.request_s),
          .queue = std::chrono::milliseconds(config.limits.queue_ms)};
}

// The first decoding loads tables and code that the first request shall not wait for.
void DecodeOnce() {
  std::vector<unsigned char> jpeg;
  cv::imencode(".jpg", cv::Mat(16, 16, CV_8UC3, cv::Scalar(90, 120, 150)), jpeg);
  const std::string_view bytes(reinterpret_cast<const char*>(jpeg.data()), jpeg.size());
  const auto header = vision::ReadHeader(bytes);
  if (header.ok()) static_cast<void>(vision::Decode(bytes, *header));
}

// Connects the channel. A successor has to reach the model server, because the worker that it
// replaces may well reach it; it tries until the master's patience ends. Any other worker is better
// there, to say that the model server is away, than not. False: the master asks us to leave.
bool Connect(const backend::Client& client, bool successor) {
  constexpr auto kAttempt = std::chrono::milliseconds(500);
  constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 50'000'000};
  const Deadline patience = Deadline::After(kAttempt);
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  while (true) {
    const absl::Status ready = client.ServerReady(Deadline::After(kAttempt));
    if (ready.ok()) return true;
    if (!successor && patience.Expired(Clock::now())) {
      log::Warning("serving without a model server", {{"reason", Message(ready)}});
      return true;
    }
    if (sigtimedwait(&term, nullptr, &kPause) == SIGTERM) return false;
  }
}

backend::InferenceOptions InferenceOptionsOf(const Config& config) {
  using backend::Transport;
  backend::InferenceOptions options;
  options.transport = config.backend.transport == "shm"      ? Transport::kShm
                      : config.backend.transport == "inline" ? Transport::kInline
                                                             : Transport::kAuto;
  options.arena_bytes = static_cast<std::size_t>(config.backend.arena_mb) << 20;
  options.message_bytes = static_cast<std::size_t>(config.backend.message_mb) << 20;
  options.batch = {.max_rows = config.batch.max,
                   .wait = std::chrono::microseconds(config.batch.wait_us)};
  // A pool sweeps its own segments, not those of another one on this host.
  options.domain = config.state;
  return options;
}

int RunWorker(const Config& config, const fcgi::Notice& notice, const Scoreboard& scoreboard,
              int listener, int index, bool successor) {
  log::Init(LogLevel(config), fmt::format("worker {}", index));
  const HeavyWork heavy(scoreboard,
                        {.memory_bytes = static_cast<std::uint64_t>(config.limits.memory_mb) << 20,
                         .processors = 0,
                         .threads = config.threads});
  const fcgi::Station station{
      .pool = scoreboard.pool(),
      .slot = scoreboard.slot(index),
      .lanes = scoreboard.lanes(index).first(static_cast<std::size_t>(config.threads)),
      .heavy = heavy,
      .notice = notice};
  fcgi::InstallCrashHandler(station.slot, station.lanes, station.pool);
  fcgi::InitLibrary();
  TuneRuntime();
  cv::setNumThreads(1);  // the pool's threads are the parallelism; OpenCV's own would only contend
  DecodeOnce();
  const backend::Client client(
      config.backend.targets, config.backend.message_mb,
      {.channels = config.backend.channels,
       .breaker = {.open_for = std::chrono::seconds(config.breaker.open_s)},
       .counts = &station.slot.model_calls});
  std::optional<http::KeyRing> keys;
  if (!config.auth.keys_file.empty()) {
    keys.emplace(config.auth.keys_file, station.pool.keys, Clock::now());
    // The worker that it would replace may well know keys.
    if (successor && !keys->has_keys()) return EXIT_FAILURE;
  }
  const std::string cache_folder = config.state + "/children/cache";
  const auto cache_entries = static_cast<std::size_t>(config.cache.entries);
  std::optional<predict::Cache> cache;
  if (cache_entries > 0) {
    cache.emplace(cache_folder, cache_entries, std::chrono::seconds(config.cache.ttl_s), index,
                  config, station.slot.cache);
  }
  predict::ResponseCache::Sweep(cache_folder, cache_entries);
  if (!Connect(client, successor)) return EXIT_SUCCESS;
  backend::Catalog catalog(client);
  backend::Inference inference(client, InferenceOptionsOf(config));
  predict::SpareThreads spare_threads(config.threads);
  const worker::Router router({.config = config,
                               .client = client,
                               .inference = inference,
                               .catalog = catalog,
                               .quarantine = station.pool.quarantine,
                               .heavy = heavy,
                               .spare_threads = spare_threads,
                               .keys = keys ? &*keys : nullptr,
                               .cache = cache ? &*cache : nullptr});
  fcgi::Serve(
      listener, ReadLimitsOf(config),
      [&router](const fcgi::Request& request, Lane& lane) { return router.Handle(request, lane); },
      station);
  return EXIT_SUCCESS;
}

int RunSidecarProcess(const Config& config, const fcgi::Notice& notice,
                      const Scoreboard& scoreboard, int listener, int row) {
  log::Init(LogLevel(config), "sidecar");
  return RunSidecar(config, scoreboard, listener, [&] {
    scoreboard.pool().sidecars[static_cast<std::size_t>(row)].state = ProcessState::kReady;
    notice.Ring();
  });
}

// Becomes the model server. It is a program of its own, so nothing of the pool comes with it.
int ExecModelServer(const Config& config, const std::string& program) {
  fcgi::UnblockSignals();
  const Config::ModelServer& settings = config.modelserver;
  std::vector<std::string> arguments = {program,
                                        "--repository",
                                        settings.repository,
                                        "--listen",
                                        settings.listen,
                                        "--model-control-mode",
                                        settings.control,
                                        "--repository-poll-secs",
                                        std::to_string(settings.poll_s),
                                        "--max-message-mb",
                                        std::to_string(config.backend.message_mb),
                                        "--log-level",
                                        config.log.level,
                                        "--log-file",
                                        config.log.file};
  if (!settings.metrics.empty()) {
    arguments.insert(arguments.end(), {"--metrics-listen", settings.metrics});
  }
  if (settings.control == "explicit") {
    // The pool has models to serve before anybody asks for one.
    arguments.insert(arguments.end(), {"--load-model", "*"});
  }
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  execv(program.c_str(), pointers.data());
  log::Error("cannot start the model server", {{"program", program}, {"errno", errno}});
  return EXIT_FAILURE;
}

std::string OwnProgram() {
  return std::filesystem::read_symlink("/proc/self/exe");
}

// The model server's program lies beside ours.
std::string ModelServerProgram() {
  return std::filesystem::path(OwnProgram()).parent_path() / "modelserver";
}

int Refuse(std::string_view why) {
  fmt::print(stderr, "inferpool: {}\n", why);
  return EXIT_FAILURE;
}

// Every connection takes a descriptor; the usual soft limit of 1024 is for select().
void RaiseDescriptorLimit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// What a pool is built on: made here at a first start, or taken over from the program before.
struct Ground {
  FileDescriptor listener;
  FileDescriptor sidecar_listener;
  bool socket_activated = false;
  Scoreboard scoreboard;
  fcgi::Notice notice;
};

// Slots for the workers that there may be and for those on their way in and out.
absl::StatusOr<Scoreboard> NewScoreboard(const Config& config) {
  constexpr int kLeastLanes = 64;  // so that `threads` can be raised while the pool runs
  return Scoreboard::Create(config.workers_max + config.recycle.concurrent + 1,
                            std::max(config.threads, kLeastLanes));
}

// The sockets that systemd has opened for us: the unix one is for nginx, the other one for probes.
void TakeActivatedSockets(Ground& ground) {
  const int count = sd_listen_fds(/*unset_environment=*/1);
  for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + count; ++fd) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (sd_is_socket_unix(fd, SOCK_STREAM, 1, nullptr, 0) > 0) {
      ground.listener = FileDescriptor(fd);
      ground.socket_activated = true;
    } else {
      ground.sidecar_listener = FileDescriptor(fd);
    }
  }
}

absl::Status OpenSockets(const Config& config, Ground& ground) {
  TakeActivatedSockets(ground);
  if (!ground.sidecar_listener) {
    auto listener = ListenTcp({.host = config.sidecar.address,
                               .port = std::to_string(config.sidecar.port),
                               .backlog = kSidecarConnections});
    if (!listener.ok()) return listener.status();
    ground.sidecar_listener = *std::move(listener);
  }
  if (!ground.listener) {
    auto listener = fcgi::Listen(config.listen.socket, config.listen.backlog);
    if (!listener.ok()) return listener.status();
    ground.listener = *std::move(listener);
  }
  return absl::OkStatus();
}

absl::StatusOr<Ground> NewGround(const Config& config) {
  absl::StatusOr<Scoreboard> scoreboard = NewScoreboard(config);
  if (!scoreboard.ok()) return scoreboard.status();
  Ground ground{.listener = {},
                .sidecar_listener = {},
                .scoreboard = *std::move(scoreboard),
                .notice = fcgi::Notice()};
  RETURN_IF_ERROR(OpenSockets(config, ground));
  return ground;
}

absl::StatusOr<Scoreboard> InheritedScoreboard(const Config& config, int file) {
  absl::StatusOr<Scoreboard> inherited =
      Scoreboard::Open(FileDescriptor(file), Scoreboard::Access::kWrite);
  if (inherited.ok()) return inherited;
  log::Warning("counters begin anew", {{"reason", Message(inherited.status())}});
  return NewScoreboard(config);
}

absl::StatusOr<Ground> InheritedGround(const Config& config, const fcgi::Inheritance& inheritance) {
  absl::StatusOr<Scoreboard> scoreboard = InheritedScoreboard(config, inheritance.scoreboard);
  if (!scoreboard.ok()) return scoreboard.status();
  return Ground{.listener = FileDescriptor(inheritance.listener),
                .sidecar_listener = FileDescriptor(inheritance.sidecar_listener),
                .socket_activated = inheritance.socket_activated,
                .scoreboard = *std::move(scoreboard),
                .notice = fcgi::Notice(FileDescriptor(inheritance.notice))};
}

absl::StatusOr<std::optional<fcgi::Identity>> IdentityOf(const Config& config) {
  if (config.user.empty() || geteuid() != 0) return std::nullopt;
  auto identity = fcgi::FindIdentity(config.user, config.group);
  if (!identity.ok()) return identity.status();
  RETURN_IF_ERROR(GiveTo(*identity, config));
  return *std::move(identity);
}

// We, who are root, can read any file; the workers are to read the keys themselves.
absl::Status CheckKeysAreFor(const std::optional<fcgi::Identity>& identity, const Config& config) {
  struct stat info {};
  if (!identity || config.auth.keys_file.empty() ||
      stat(config.auth.keys_file.c_str(), &info) != 0) {
    return absl::OkStatus();
  }
  const mode_t needed = info.st_uid == identity->user    ? S_IRUSR
                        : info.st_gid == identity->group ? S_IRGRP
                                                         : S_IROTH;
  if ((info.st_mode & needed) != 0) return absl::OkStatus();
  return absl::PermissionDeniedError(
      fmt::format("auth.keys_file {} cannot be read by {}, as which the workers run: make it that "
                  "user's group's, with mode 0640",
                  config.auth.keys_file, identity->name));
}

// That the workers of this configuration would know their keys.
absl::Status CheckKeys(const std::optional<fcgi::Identity>& identity, const Config& config) {
  RETURN_IF_ERROR(CheckKeysFile(config));
  return CheckKeysAreFor(identity, config);
}

// A pool that runs already is not given up for its pid file.
absl::StatusOr<fcgi::PidFile> PidFileOf(const Config& config,
                                        const std::optional<fcgi::Inheritance>& inheritance) {
  if (inheritance && inheritance->pid_file >= 0) {
    return fcgi::PidFile::Inherit(config.state, FileDescriptor(inheritance->pid_file));
  }
  absl::StatusOr<fcgi::PidFile> pid_file = fcgi::PidFile::Take(config.state);
  if (!pid_file.ok() && inheritance) {
    log::Error("the pid file is lost", {{"reason", Message(pid_file.status())}});
    return fcgi::PidFile();
  }
  return pid_file;
}

absl::Status CheckModelServer(const Config& config, const std::string& program) {
  if (!config.modelserver.enabled) return absl::OkStatus();
  if (access(program.c_str(), X_OK) != 0) {
    return absl::NotFoundError(
        fmt::format("there is no program {}: build the target modelserver, or set "
                    "modelserver.enabled to false and name backend.targets",
                    program));
  }
  std::error_code error;
  if (!std::filesystem::is_directory(config.modelserver.repository, error)) {
    return absl::NotFoundError(
        fmt::format("modelserver.repository {} is no folder", config.modelserver.repository));
  }
  return absl::OkStatus();
}

// A program that takes over serves on the sockets, in the folders and as the user that are there,
// and with the number of workers that was asked for, whatever the file says by now.
void KeepWhatWasStarted(Config& config, const std::string& config_file,
                        const ConfigOverrides& overrides, const fcgi::Inheritance& inheritance) {
  ConfigOverrides all = overrides;
  all.insert(all.end(), inheritance.at_start.begin(), inheritance.at_start.end());
  ConfigResult result = LoadConfig(config_file, all);
  if (result.problems.empty()) config = std::move(result.config);
  if (inheritance.workers > 0) config.workers = inheritance.workers;
}

// The descriptors that whoever started us forgot to close would reach every child.
void CloseForgottenDescriptors() {
  std::vector<int> keep;
  keep.resize(static_cast<std::size_t>(std::max(0, sd_listen_fds(/*unset_environment=*/0))));
  std::iota(keep.begin(), keep.end(), SD_LISTEN_FDS_START);
  fcgi::CloseOthers(keep);
}

// Of one that had to be killed: otherwise it has removed its socket, and the workers their
// segments.
void RemoveTracesOfModelServer(const Config& config) {
  std::error_code error;
  if (config.modelserver.listen.starts_with("unix:")) {
    std::filesystem::remove(config.modelserver.listen.substr(5), error);
  }
  // What it had registered went with it; nobody has to be asked.
  const auto unregister = [](const std::string&) { return absl::OkStatus(); };
  backend::SweepSegments(config.state, unregister, Deadline::After(std::chrono::seconds(1)));
}

}  // namespace

int Serve(Config config, const std::string& config_file, const ConfigOverrides& overrides) {
  // Whoever reads our log may go away, or its file grow to its limit; that must not end us.
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  std::optional<fcgi::Inheritance> inheritance = fcgi::TakeInheritance();
  if (inheritance) {
    KeepWhatWasStarted(config, config_file, overrides, *inheritance);
  } else {
    CloseForgottenDescriptors();
  }
  if (const absl::Status status = MakeStateFolder(config.state); !status.ok() && !inheritance) {
    return Refuse(Message(status));
  }
  // Before anything in the folder is touched that may be another master's.
  const absl::StatusOr<fcgi::PidFile> pid_file = PidFileOf(config, inheritance);
  if (!pid_file.ok()) return Refuse(Message(pid_file.status()));
  if (const absl::Status status = CheckKeysFile(config); !status.ok() && !inheritance) {
    return Refuse(Message(status));
  }
  const std::string modelserver = ModelServerProgram();
  // One that runs already is not given up for this.
  if (const absl::Status status = CheckModelServer(config, modelserver);
      !status.ok() && !inheritance) {
    return Refuse(Message(status));
  }
  absl::StatusOr<Ground> ground =
      inheritance ? InheritedGround(config, *inheritance) : NewGround(config);
  if (!ground.ok()) return Refuse(Message(ground.status()));
  config.threads = std::min(config.threads, ground->scoreboard.lanes_per_slot());
  if (!log::OpenFile(config.log.file) && !inheritance) {
    return Refuse(fmt::format("cannot open the log file {}: {}", config.log.file,
                              std::generic_category().message(errno)));
  }
  const auto identity = IdentityOf(config);
  if (!identity.ok()) return Refuse(Message(identity.status()));
  if (const absl::Status status = CheckKeysAreFor(*identity, config);
      !status.ok() && !inheritance) {
    return Refuse(Message(status));
  }

  RaiseDescriptorLimit();
  log::Init(LogLevel(config), "master");
  fcgi::BlockSignals();
  fcgi::Programs programs;
  programs.worker = [&](const Config& of_generation, const fcgi::Notice& notice, int slot,
                        bool successor) {
    return RunWorker(of_generation, notice, ground->scoreboard, ground->listener.get(), slot,
                     successor);
  };
  programs.sidecar = [&](const Config& of_generation, const fcgi::Notice& notice, int row) {
    return RunSidecarProcess(of_generation, notice, ground->scoreboard,
                             ground->sidecar_listener.get(), row);
  };
  programs.model_server = [&](const Config& of_generation) {
    return ExecModelServer(of_generation, modelserver);
  };
  if (geteuid() == 0 && !*identity) log::Warning(kRunsAsRoot);
  log::Info("starting", {{"workers", config.workers},
                         {"threads", config.threads},
                         {"socket", config.listen.socket},
                         {"sidecar_port", config.sidecar.port}});
  const int status = fcgi::RunMaster(
      {.config = config,
       .config_file = config_file,
       .overrides = overrides,
       .program = OwnProgram(),
       .listener = ground->listener.get(),
       .sidecar_listener = ground->sidecar_listener.get(),
       .socket_activated = ground->socket_activated,
       .scoreboard = ground->scoreboard,
       .notice = ground->notice,
       .pid_file = *pid_file,
       .identity = *identity,
       .programs = std::move(programs),
       .check_files = [&](const Config& next) { return CheckKeys(*identity, next); },
       .inheritance = std::move(inheritance)});
  std::error_code error;
  if (!ground->socket_activated && !IsTcp(config.listen.socket)) {
    std::filesystem::remove(config.listen.socket, error);
  }
  if (config.modelserver.enabled) RemoveTracesOfModelServer(config);
  return status;
}

}  // namespace inferpool::ops

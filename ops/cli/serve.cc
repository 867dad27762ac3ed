#include "ops/cli/serve.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "fcgi/pool/child.h"
#include "fcgi/pool/listener.h"
#include "fcgi/pool/master.h"
#include "fcgi/pool/pid_file.h"
#include "ops/cli/keys_command.h"
#include "ops/cli/log_end.h"
#include "ops/cli/model_server_launcher.h"
#include "ops/cli/own_files.h"
#include "ops/cli/pool_roles.h"
#include "ops/cli/state_folder.h"
#include "ops/live/live.h"
#include "ops/sidecar/sidecar.h"
#include "shared/base/descriptor_limit.h"
#include "shared/base/listen.h"
#include "shared/base/log.h"
#include "shared/board/scoreboard.h"
#include "worker/model_settings.h"

namespace inferpool::ops {
namespace {

int Refuse(std::string_view why) {
  fmt::print(stderr, "inferpool: {}\n", why);
  return EXIT_FAILURE;
}

// What a pool is built on: made here at a first start, or taken over from the program before.
struct PoolResources {
  FileDescriptor listener;
  FileDescriptor sidecar_listener;
  bool socket_activated = false;
  Scoreboard scoreboard;
  fcgi::MasterWakeup wakeup;
};

// Slots for the workers that there may be and for those on their way in and out.
absl::StatusOr<Scoreboard> NewScoreboard(const Config& config) {
  constexpr int kMinThreads = 64;  // so that `threads` can be raised while the pool runs
  return Scoreboard::Create(config.workers_max + config.recycle.concurrent + 1,
                            std::max(config.threads, kMinThreads));
}

// The sockets that systemd has opened for us: the unix one is for nginx, the other one for probes.
void TakeActivatedSockets(PoolResources& resources) {
  const int count = sd_listen_fds(/*unset_environment=*/1);
  for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + count; ++fd) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (sd_is_socket_unix(fd, SOCK_STREAM, 1, nullptr, 0) > 0) {
      resources.listener = FileDescriptor(fd);
      resources.socket_activated = true;
    } else {
      resources.sidecar_listener = FileDescriptor(fd);
    }
  }
}

absl::Status OpenSockets(const Config& config, PoolResources& resources) {
  TakeActivatedSockets(resources);
  if (!resources.sidecar_listener) {
    auto listener = ListenTcp({.host = config.sidecar.address,
                               .port = std::to_string(config.sidecar.port),
                               .backlog = kSidecarConnections});
    if (!listener.ok()) return listener.status();
    resources.sidecar_listener = *std::move(listener);
  }
  if (!resources.listener) {
    auto listener = fcgi::Listen(config.listen.socket, config.listen.backlog);
    if (!listener.ok()) return listener.status();
    resources.listener = *std::move(listener);
  }
  return absl::OkStatus();
}

absl::StatusOr<PoolResources> NewPoolResources(const Config& config) {
  absl::StatusOr<Scoreboard> scoreboard = NewScoreboard(config);
  if (!scoreboard.ok()) return scoreboard.status();
  PoolResources resources{.listener = {},
                          .sidecar_listener = {},
                          .scoreboard = *std::move(scoreboard),
                          .wakeup = fcgi::MasterWakeup()};
  RETURN_IF_ERROR(OpenSockets(config, resources));
  return resources;
}

absl::StatusOr<Scoreboard> InheritedScoreboard(const Config& config, int file) {
  absl::StatusOr<Scoreboard> inherited =
      Scoreboard::Open(FileDescriptor(file), Scoreboard::Access::kWrite);
  if (inherited.ok()) return inherited;
  log::Warning("counters start again at zero", {{"reason", Message(inherited.status())}});
  return NewScoreboard(config);
}

absl::StatusOr<PoolResources> InheritedPoolResources(const Config& config,
                                                     const fcgi::Handover& handover) {
  absl::StatusOr<Scoreboard> scoreboard = InheritedScoreboard(config, handover.scoreboard);
  if (!scoreboard.ok()) return scoreboard.status();
  return PoolResources{.listener = FileDescriptor(handover.listener),
                       .sidecar_listener = FileDescriptor(handover.sidecar_listener),
                       .socket_activated = handover.socket_activated,
                       .scoreboard = *std::move(scoreboard),
                       .wakeup = fcgi::MasterWakeup(FileDescriptor(handover.wakeup))};
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

// That the processes of this configuration could use its files.
absl::Status CheckFiles(const std::optional<fcgi::Identity>& identity, const Config& config) {
  if (const auto problems = worker::CheckModels(config); !problems.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {}", problems.front().key, problems.front().message));
  }
  RETURN_IF_ERROR(CheckModelFiles(config));
  RETURN_IF_ERROR(CheckKeysFile(config));
  return CheckKeysAreFor(identity, config);
}

// A certificate is nginx's alone, which may run on another host or as a user who sees more than we
// do; so it is no reason to refuse.
std::string CertificateRemark(const std::vector<std::string>& changed, const Config& config) {
  std::string remark;
  for (const auto& [key, file] :
       {std::pair("nginx.certificate", &config.nginx.certificate),
        std::pair("nginx.certificate_key", &config.nginx.certificate_key)}) {
    std::error_code error;
    if (std::ranges::count(changed, key) > 0 && !std::filesystem::exists(*file, error) && !error) {
      remark += fmt::format("; {}: {} is not there", key, *file);
    }
  }
  return remark;
}

// A pool that runs already is not given up for its pid file.
absl::StatusOr<fcgi::PidFile> PidFileOf(const Config& config,
                                        const std::optional<fcgi::Handover>& handover) {
  if (handover && handover->pid_file >= 0) {
    return fcgi::PidFile::Inherit(config.state, FileDescriptor(handover->pid_file));
  }
  absl::StatusOr<fcgi::PidFile> pid_file = fcgi::PidFile::Take(config.state);
  if (!pid_file.ok() && handover) {
    log::Error("the pid file is lost", {{"reason", Message(pid_file.status())}});
    return fcgi::PidFile();
  }
  return pid_file;
}

// A program that takes over serves on the sockets, in the folders and as the user that are there,
// and with the number of workers that was asked for, whatever the file says by now.
void KeepWhatWasStarted(Config& config, const std::string& config_file,
                        const ConfigOverrides& overrides, const fcgi::Handover& handover) {
  ConfigOverrides all = overrides;
  all.insert(all.end(), handover.at_start.begin(), handover.at_start.end());
  ConfigResult result = LoadConfig(config_file, all);
  if (result.problems.empty()) config = std::move(result.config);
  if (handover.workers > 0) config.workers = handover.workers;
}

// The descriptors that whoever started us forgot to close would reach every child.
void CloseForgottenDescriptors() {
  std::vector<int> keep;
  keep.resize(static_cast<std::size_t>(std::max(0, sd_listen_fds(/*unset_environment=*/0))));
  std::iota(keep.begin(), keep.end(), SD_LISTEN_FDS_START);
  fcgi::CloseOthers(keep);
}

}  // namespace

int Serve(Config config, const std::string& config_file, const ConfigOverrides& overrides) {
  // Whoever reads our log may go away, or its file grow to its limit; that must not end us.
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  std::optional<fcgi::Handover> handover = fcgi::TakeHandover();
  if (handover) {
    KeepWhatWasStarted(config, config_file, overrides, *handover);
  } else {
    CloseForgottenDescriptors();
  }
  if (const absl::Status status = MakeStateFolder(config.state); !status.ok() && !handover) {
    return Refuse(Message(status));
  }
  // Before anything in the folder is touched that may be another master's.
  const absl::StatusOr<fcgi::PidFile> pid_file = PidFileOf(config, handover);
  if (!pid_file.ok()) return Refuse(Message(pid_file.status()));
  if (const absl::Status status = CheckKeysFile(config); !status.ok() && !handover) {
    return Refuse(Message(status));
  }
  const std::string program = OwnProgram();
  // One that runs already is not given up for this.
  if (const absl::Status status = CheckModelServer(config); !status.ok() && !handover) {
    return Refuse(Message(status));
  }
  absl::StatusOr<PoolResources> resources =
      handover ? InheritedPoolResources(config, *handover) : NewPoolResources(config);
  if (!resources.ok()) return Refuse(Message(resources.status()));
  config.threads = std::min(config.threads, resources->scoreboard.threads_per_slot());
  if (!log::OpenFile(config.log.file) && !handover) {
    return Refuse(fmt::format("cannot open the log file {}: {}", config.log.file,
                              std::generic_category().message(errno)));
  }
  const auto identity = IdentityOf(config);
  if (!identity.ok()) return Refuse(Message(identity.status()));
  if (const absl::Status status = CheckKeysAreFor(*identity, config); !status.ok() && !handover) {
    return Refuse(Message(status));
  }

  RaiseDescriptorLimit();
  log::Init(fcgi::LogLevel(config), "master");
  fcgi::BlockSignals();
  if (geteuid() == 0 && !*identity) log::Warning(kRunsAsRoot);
  log::Info("starting", {{"workers", config.workers},
                         {"threads", config.threads},
                         {"socket", config.listen.socket},
                         {"sidecar_port", config.sidecar.port}});
  LogEnd nginx_log(config.state + "/logs/nginx-access.log");
  const int status = fcgi::RunMaster(
      {.roles = PoolRoles(),
       .config = config,
       .config_file = config_file,
       .overrides = overrides,
       .program = program,
       .listener = resources->listener.get(),
       .sidecar_listener = resources->sidecar_listener.get(),
       .socket_activated = resources->socket_activated,
       .scoreboard = resources->scoreboard,
       .wakeup = resources->wakeup,
       .pid_file = *pid_file,
       .identity = *identity,
       .check_files = [&](const Config& next) { return CheckFiles(*identity, next); },
       .nginx_remark = &CertificateRemark,
       .each_second = [&nginx_log] { nginx_log.Mend(); },
       .handover = std::move(handover)});
  std::error_code error;
  // That of a live process that was killed.
  std::filesystem::remove(live::SocketPath(config), error);
  if (!resources->socket_activated && !IsTcp(config.listen.socket)) {
    std::filesystem::remove(config.listen.socket, error);
  }
  if (config.modelserver.enabled) RemoveTracesOfModelServer(config);
  return status;
}

}  // namespace inferpool::ops

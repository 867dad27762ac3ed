#include "ops/serve.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <opencv2/core/utility.hpp>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "fcgi/child.h"
#include "fcgi/connection.h"
#include "fcgi/listener.h"
#include "fcgi/master.h"
#include "fcgi/server.h"
#include "ops/sidecar.h"
#include "shared/log.h"
#include "shared/scoreboard.h"
#include "worker/api/api.h"
#include "worker/backend/catalog.h"
#include "worker/backend/client.h"

namespace inferpool::ops {
namespace {

log::Level LogLevel(const Config& config) {
  log::Level level = log::Level::kInfo;
  log::ParseLevel(config.log.level, level);
  return level;
}

// The planned number of requests of one worker's life; 0: no end.
std::uint64_t Quota(const Config::Recycle& recycle) {
  if (recycle.requests == 0) return 0;
  std::random_device random;
  std::uniform_int_distribution<int> jitter(0, recycle.jitter);
  return static_cast<std::uint64_t>(recycle.requests) + static_cast<std::uint64_t>(jitter(random));
}

int RunWorker(const Config& config, const Scoreboard& scoreboard, int listener, int index) {
  log::Init(LogLevel(config), fmt::format("worker {}", index));
  fcgi::InitLibrary();
  cv::setNumThreads(1);  // the pool's threads are the parallelism; OpenCV's own would only contend
  const backend::Client client(config.backend.targets, config.backend.message_mb);
  backend::Catalog catalog(client);
  const api::Api api(config, client, catalog);
  const fcgi::ServeOptions options{
      .limits = {.body_bytes = static_cast<std::size_t>(config.limits.body_mb) * 1024 * 1024,
                 .io = std::chrono::seconds(config.timeouts.io_s)},
      .requests = Quota(config.recycle)};
  fcgi::Serve(
      listener, options,
      [&api](const fcgi::Request& request, Lane& lane) { return api.Handle(request, lane); },
      scoreboard.slot(index), scoreboard.lanes(index));
  return EXIT_SUCCESS;
}

// Becomes the model server. It is a program of its own, so nothing of the pool comes with it.
int ExecModelServer(const Config& config, const std::string& program) {
  fcgi::UnblockSignals();
  execl(program.c_str(), program.c_str(), "--repository", config.modelserver.repository.c_str(),
        "--listen", config.modelserver.listen.c_str(), "--log-level", config.log.level.c_str(),
        static_cast<char*>(nullptr));
  log::Error("cannot start the model server", {{"program", program}, {"errno", errno}});
  return EXIT_FAILURE;
}

// The model server's program lies beside ours.
std::string ModelServerProgram() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "modelserver";
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

}  // namespace

int Serve(const Config& config) {
  std::error_code error;
  std::filesystem::create_directories(config.state, error);
  if (error) {
    return Refuse(
        fmt::format("cannot make the state folder {}: {}", config.state, error.message()));
  }
  const std::string modelserver = ModelServerProgram();
  if (config.modelserver.enabled) {
    if (access(modelserver.c_str(), X_OK) != 0) {
      return Refuse(
          fmt::format("there is no program {}: build the target modelserver, or set "
                      "modelserver.enabled to false and name backend.targets",
                      modelserver));
    }
    if (!std::filesystem::is_directory(config.modelserver.repository, error)) {
      return Refuse(
          fmt::format("modelserver.repository {} is no folder", config.modelserver.repository));
    }
  }
  absl::StatusOr<FileDescriptor> probe_port =
      ListenTcp(config.sidecar.address, config.sidecar.port);
  if (!probe_port.ok()) return Refuse(Message(probe_port.status()));
  absl::StatusOr<FileDescriptor> listener =
      fcgi::ListenUnix(config.listen.socket, config.listen.backlog);
  if (!listener.ok()) return Refuse(Message(listener.status()));

  RaiseDescriptorLimit();
  log::Init(LogLevel(config), "master");
  fcgi::BlockSignals();
  const Scoreboard scoreboard(config.workers, config.threads);
  std::vector<fcgi::ChildRole> roles;
  if (config.modelserver.enabled) {
    roles.push_back({.name = "modelserver", .first_to_leave = false, .run = [&] {
                       return ExecModelServer(config, modelserver);
                     }});
  }
  roles.push_back({.name = "sidecar", .first_to_leave = false, .run = [&] {
                     log::Init(LogLevel(config), "sidecar");
                     return RunSidecar(config, scoreboard, probe_port->get());
                   }});
  for (int worker = 0; worker < config.workers; ++worker) {
    roles.push_back({.name = fmt::format("worker {}", worker),
                     .first_to_leave = true,
                     .worker = worker,
                     .run = [&config, &scoreboard, &listener, worker] {
                       return RunWorker(config, scoreboard, listener->get(), worker);
                     }});
  }
  fcgi::Supervisor::Options options;
  options.drain = std::chrono::seconds(config.timeouts.drain_s);
  log::Info("starting", {{"workers", config.workers},
                         {"threads", config.threads},
                         {"socket", config.listen.socket},
                         {"sidecar_port", config.sidecar.port}});
  const int status = fcgi::RunMaster(roles, options, scoreboard);
  std::filesystem::remove(config.listen.socket, error);
  // The model server removes its own socket, unless it had to be killed.
  if (config.modelserver.enabled && config.modelserver.listen.starts_with("unix:")) {
    std::filesystem::remove(config.modelserver.listen.substr(5), error);
  }
  return status;
}

}  // namespace inferpool::ops

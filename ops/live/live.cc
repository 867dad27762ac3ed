#include "ops/live/live.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "fcgi/pool/listener.h"
#include "ops/live/api.h"
#include "ops/live/cameras.h"
#include "ops/live/follower.h"
#include "ops/live/http_server.h"
#include "ops/live/listeners.h"
#include "ops/live/questions.h"
#include "shared/base/file_descriptor.h"
#include "shared/base/log.h"
#include "shared/base/termination.h"
#include "worker/http/key_ring.h"
#include "worker/streams/address.h"

namespace inferpool::live {
namespace {

constexpr mode_t kFolderMode = 0750;

// A listening socket whose file is taken away at the end, unless it has become a successor's.
class Socket {
 public:
  static absl::StatusOr<Socket> Listen(const std::string& path) {
    // Under a name of its own first, so that there is no moment without one at `path`.
    const std::string own = fmt::format("{}.{}", path, getpid());
    ASSIGN_OR_RETURN(FileDescriptor listener, fcgi::ListenUnix(own, kConnections));
    struct stat info {};
    if (stat(own.c_str(), &info) != 0 || rename(own.c_str(), path.c_str()) != 0) {
      const int error = errno;
      unlink(own.c_str());
      return absl::InternalError(
          fmt::format("cannot listen on {}: {}", path, std::generic_category().message(error)));
    }
    return Socket(path, std::move(listener), info.st_ino);
  }

  ~Socket() {
    struct stat info {};
    if (listener_ && stat(path_.c_str(), &info) == 0 && info.st_ino == inode_) {
      unlink(path_.c_str());
    }
  }
  Socket(Socket&&) = default;
  Socket& operator=(Socket&&) = delete;

  int fd() const { return listener_.get(); }

 private:
  Socket(std::string path, FileDescriptor listener, ino_t inode)
      : path_(std::move(path)), listener_(std::move(listener)), inode_(inode) {}

  std::string path_;
  FileDescriptor listener_;
  ino_t inode_;
};

int Refuse(const absl::Status& status) {
  log::Error("live cannot start", {{"reason", Message(status)}});
  return EXIT_FAILURE;
}

}  // namespace

int RunLive(const LiveStart& start, const std::function<void()>& ready) {
  const Config& config = start.config;
  const streams::RedisAddress address = streams::AddressOf(config.streams);
  std::optional<http::KeyRing> keys;
  if (!config.auth.keys_file.empty()) {
    keys.emplace(config.auth.keys_file, start.scoreboard.pool().keys, Clock::now());
    if (start.successor && !keys->has_keys()) {
      start.row.not_ready.Store(
          NotReadyText(fmt::format("auth.keys_file: {}", keys->file_problem())));
      return EXIT_FAILURE;
    }
  }
  mkdir((config.state + "/children").c_str(), kFolderMode);
  const auto socket = Socket::Listen(SocketPath(config));
  if (!socket.ok()) return Refuse(socket.status());

  Questions questions(address, config.streams.shards, config.streams.camera_set);
  std::vector<std::string> configured;
  for (const auto& [id, camera] : config.streams.cameras) configured.push_back(id);
  Cameras cameras(questions, std::move(configured));
  Listeners listeners(start.row.clients);
  const Follower follower({.address = address,
                           .shards = config.streams.shards,
                           .take =
                               [&](std::shared_ptr<const Answer> answer, bool is_old) {
                                 if (!is_old) listeners.Put(answer);
                                 cameras.Put(std::move(answer), is_old, Clock::now());
                               },
                           .idle = [&] { cameras.Tidy(Clock::now()); }});
  const Api api({.cameras = cameras,
                 .listeners = listeners,
                 .questions = questions,
                 .is_connected = [&] { return follower.is_connected(); },
                 .keys = keys ? &*keys : nullptr,
                 .base_path = config.nginx.base_path,
                 .counts = &start.scoreboard.pool().live});
  const auto server =
      HttpServer::Start(socket->fd(), kConnections,
                        [&](const fcgi::Request& request) { return api.Handle(request); });
  if (!server.ok()) return Refuse(server.status());
  log::Info("live ready", {{"socket", SocketPath(config)}});
  ready();
  AwaitTermination();
  listeners.End();
  return EXIT_SUCCESS;
}

}  // namespace inferpool::live

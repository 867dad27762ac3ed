#include "fcgi/pool/control.h"

#include <fmt/format.h>
#include <json/reader.h>
#include <json/writer.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <exception>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

namespace inferpool::fcgi {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{64} * 1024;
constexpr std::size_t kMaxClients = 16;

std::string ToText(const Json::Value& value) {
  Json::StreamWriterBuilder builder;
  builder["indentation"] = "";
  return Json::writeString(builder, value);
}

bool FromText(std::string_view text, Json::Value& value) {
  const Json::CharReaderBuilder builder;
  const std::unique_ptr<Json::CharReader> reader(builder.newCharReader());
  std::string errors;
  try {
    return reader->parse(text.data(), text.data() + text.size(), &value, &errors) &&
           value.isObject();
  } catch (const std::exception&) {  // jsoncpp throws past its stack limit
    return false;
  }
}

bool Address(const std::string& path, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return false;
  path.copy(address.sun_path, path.size());
  return true;
}

absl::Status Failed(const std::string& path, int error) {
  return absl::InternalError(fmt::format("cannot open the control socket {}: {}", path,
                                         std::generic_category().message(error)));
}

absl::Status DoesNotAnswer(const std::string& state) {
  return absl::DeadlineExceededError(
      fmt::format("the master in {} does not answer: is it stopped?", state));
}

}  // namespace

std::string ControlPath(const std::string& state) {
  return state + "/control.sock";
}

absl::StatusOr<ControlSocket> ControlSocket::Listen(const std::string& path) {
  sockaddr_un address{};
  if (!Address(path, address)) return Failed(path, ENAMETOOLONG);
  FileDescriptor listener(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  unlink(path.c_str());
  const mode_t mask = umask(0177);
  const int bound =
      bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int error = errno;
  umask(mask);
  if (bound != 0) return Failed(path, error);
  if (listen(listener.get(), kMaxClients) != 0) return Failed(path, errno);
  FileDescriptor epoll(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = listener.get();
  epoll_ctl(epoll.get(), EPOLL_CTL_ADD, listener.get(), &event);
  return ControlSocket(std::move(listener), std::move(epoll));
}

void ControlSocket::Accept() {
  FileDescriptor client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client) return;
  if (clients_.size() >= kMaxClients) clients_.clear();  // mute ones
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = client.get();
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, client.get(), &event);
  const int fd = client.get();
  clients_[fd] = std::move(client);
}

void ControlSocket::Serve(const std::function<Json::Value(const Json::Value&)>& handle) {
  std::array<epoll_event, kMaxClients> events{};
  const int count = epoll_wait(epoll_.get(), events.data(), kMaxClients, 0);
  for (int i = 0; i < count; ++i) {
    const int fd = events[static_cast<std::size_t>(i)].data.fd;
    if (fd == listener_.get()) {
      Accept();
      continue;
    }
    const auto client = clients_.find(fd);
    if (client == clients_.end()) continue;
    std::string text(kMaxBytes, '\0');
    const ssize_t got = recv(fd, text.data(), text.size(), 0);
    if (got < 0 && errno == EAGAIN) continue;
    Json::Value request;
    if (got > 0 &&
        FromText(std::string_view(text).substr(0, static_cast<std::size_t>(got)), request)) {
      const std::string answer = ToText(handle(request));
      send(fd, answer.data(), std::min(answer.size(), kMaxBytes), MSG_NOSIGNAL);
    }
    clients_.erase(client);
  }
}

absl::StatusOr<Json::Value> AskMaster(const std::string& state, const Json::Value& request,
                                      std::chrono::seconds patience) {
  const std::string path = ControlPath(state);
  sockaddr_un address{};
  if (!Address(path, address)) return Failed(path, ENAMETOOLONG);
  const FileDescriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const timeval timeout{.tv_sec = patience.count(), .tv_usec = 0};
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) {
      return absl::UnavailableError(fmt::format("no inferpool runs in {}", state));
    }
    if (errno == EAGAIN) return DoesNotAnswer(state);  // it has not even accepted those before us
    return Failed(path, errno);
  }
  const std::string text = ToText(request);
  send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
  std::string answer(kMaxBytes, '\0');
  const ssize_t got = recv(socket.get(), answer.data(), answer.size(), 0);
  if (got < 0 && errno == EAGAIN) return DoesNotAnswer(state);
  if (got < 0) return absl::UnavailableError(fmt::format("the master in {} has gone", state));
  Json::Value value;
  if (!FromText(std::string_view(answer).substr(0, static_cast<std::size_t>(got)), value)) {
    return absl::UnavailableError(fmt::format("the master in {} gave no answer", state));
  }
  return value;
}

}  // namespace inferpool::fcgi

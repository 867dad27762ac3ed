#include "shared/monitor/http_port.h"

#include <microhttpd.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <exception>
#include <system_error>

#include "shared/base/deadline.h"

namespace inferpool::monitor {
namespace {

constexpr unsigned int kConnectionTimeoutSeconds = 10;
constexpr std::chrono::seconds kPatienceAtTheEnd{2};

HttpAnswer AnswerTo(const HttpPort::Handler& handler, std::string_view method,
                    std::string_view path) {
  if (method != MHD_HTTP_METHOD_GET && method != MHD_HTTP_METHOD_HEAD) {
    return {MHD_HTTP_METHOD_NOT_ALLOWED, "{\"detail\":\"only GET and HEAD are allowed\"}\n"};
  }
  return handler(path);
}

MHD_Result Send(MHD_Connection* connection, const HttpAnswer& answer) {
  MHD_Response* response = MHD_create_response_from_buffer(
      answer.body.size(), const_cast<char*>(answer.body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer.content_type);
  MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
  if (answer.status == MHD_HTTP_SERVICE_UNAVAILABLE) {
    MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
  }
  const MHD_Result queued =
      MHD_queue_response(connection, static_cast<unsigned int>(answer.status), response);
  MHD_destroy_response(response);
  return queued;
}

MHD_Result Handle(void* handler, MHD_Connection* connection, const char* url, const char* method,
                  const char* /*version*/, const char* /*upload*/, std::size_t* upload_size,
                  void** state) {
  // The first call comes before a body, the last one after it. Only the last one may answer.
  static char seen;
  if (*state == nullptr) {
    *state = &seen;
    return MHD_YES;
  }
  if (*upload_size > 0) {
    *upload_size = 0;
    return MHD_YES;
  }
  try {
    return Send(connection, AnswerTo(*static_cast<const HttpPort::Handler*>(handler), method, url));
  } catch (const std::exception&) {
    return MHD_NO;
  }
}

int DescriptorToPoll(MHD_Daemon* daemon) {
  return MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

bool HasConnections(MHD_Daemon* daemon) {
  return MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections > 0;
}

// How long poll(2) may wait: until the library has something to do, at most `longest` milliseconds
// (-1: for ever).
int PollTimeout(MHD_Daemon* daemon, int longest) {
  MHD_UNSIGNED_LONG_LONG due_ms = 0;
  if (MHD_get_timeout(daemon, &due_ms) != MHD_YES) return longest;
  const int due = static_cast<int>(
      std::min<MHD_UNSIGNED_LONG_LONG>(due_ms, 1000ULL * kConnectionTimeoutSeconds));
  return longest < 0 ? due : std::min(due, longest);
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpPort>> HttpPort::Start(int listener,
                                                          unsigned int max_connections,
                                                          Handler handler) {
  const absl::Status failed = absl::UnavailableError("the HTTP port cannot start");
  std::unique_ptr<HttpPort> port(new HttpPort(std::move(handler)));
  port->stop_ = FileDescriptor(eventfd(0, EFD_CLOEXEC));
  if (!port->stop_) return failed;
  // The thread is ours: it alone can tell that nobody has been accepted who is not yet counted.
  port->daemon_ = MHD_start_daemon(
      MHD_USE_EPOLL, 0, nullptr, nullptr, &Handle, const_cast<Handler*>(&port->handler_),
      MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT, max_connections,
      MHD_OPTION_CONNECTION_TIMEOUT, kConnectionTimeoutSeconds, MHD_OPTION_END);
  if (port->daemon_ == nullptr) return failed;
  try {
    port->thread_ = std::thread(&HttpPort::Serve, port.get());
  } catch (const std::system_error&) {
    return failed;
  }
  return port;
}

void HttpPort::Serve() {
  std::array<pollfd, 2> events{{{.fd = DescriptorToPoll(daemon_), .events = POLLIN, .revents = 0},
                                {.fd = stop_.get(), .events = POLLIN, .revents = 0}}};
  while (events[1].revents == 0) {
    poll(events.data(), events.size(), PollTimeout(daemon_, -1));
    MHD_run(daemon_);
  }
  // Also keeps the library from shutting the socket down for everyone who shares it.
  MHD_quiesce_daemon(daemon_);
  const auto deadline = Deadline::After(kPatienceAtTheEnd);
  while (HasConnections(daemon_)) {
    const auto left = deadline.Left(Clock::now());
    if (left == Clock::duration::zero()) break;
    const auto left_ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    poll(events.data(), 1, PollTimeout(daemon_, static_cast<int>(left_ms)));
    MHD_run(daemon_);
  }
}

HttpPort::~HttpPort() {
  if (thread_.joinable()) {
    eventfd_write(stop_.get(), 1);
    thread_.join();
  }
  if (daemon_ == nullptr) return;
  MHD_quiesce_daemon(daemon_);
  MHD_stop_daemon(daemon_);
}

}  // namespace inferpool::monitor

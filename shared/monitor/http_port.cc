#include "shared/monitor/http_port.h"

#include <microhttpd.h>

#include <exception>

namespace inferpool::monitor {
namespace {

constexpr unsigned int kConnectionTimeoutSeconds = 10;

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

}  // namespace

absl::StatusOr<std::unique_ptr<HttpPort>> HttpPort::Start(int listener,
                                                          unsigned int max_connections,
                                                          Handler handler) {
  std::unique_ptr<HttpPort> port(new HttpPort(std::move(handler)));
  port->daemon_ =
      MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, nullptr, nullptr, &Handle,
                       const_cast<Handler*>(&port->handler_), MHD_OPTION_LISTEN_SOCKET, listener,
                       MHD_OPTION_CONNECTION_LIMIT, max_connections, MHD_OPTION_CONNECTION_TIMEOUT,
                       kConnectionTimeoutSeconds, MHD_OPTION_END);
  if (port->daemon_ == nullptr) return absl::UnavailableError("the HTTP port cannot start");
  return port;
}

HttpPort::~HttpPort() {
  if (daemon_ == nullptr) return;
  // Otherwise the library would shut the socket down for everyone who shares it.
  MHD_quiesce_daemon(daemon_);
  MHD_stop_daemon(daemon_);
}

}  // namespace inferpool::monitor

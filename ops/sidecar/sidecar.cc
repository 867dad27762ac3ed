#include "ops/sidecar/sidecar.h"

#include <fmt/format.h>
#include <microhttpd.h>
#include <signal.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "ops/sidecar/exposition.h"
#include "ops/sidecar/health.h"
#include "ops/sidecar/model_servers.h"
#include "shared/base/log.h"

namespace inferpool::ops {
namespace {

// Probes and scrapers hold few connections; more are refused rather than kept.
constexpr unsigned int kMaxConnections = kSidecarConnections;
constexpr unsigned int kConnectionTimeoutSeconds = 10;

struct Answer {
  unsigned int status;
  std::string body;
  const char* content_type = "application/json";
};

struct Context {
  const Scoreboard& scoreboard;
  const ModelServers& model_servers;
};

Answer Route(const Context& context, std::string_view method, std::string_view path) {
  if (method != "GET" && method != "HEAD") {
    return {MHD_HTTP_METHOD_NOT_ALLOWED, "{\"detail\":\"only GET and HEAD are allowed\"}\n"};
  }
  if (path == "/livez") return {MHD_HTTP_OK, "{\"alive\":true}\n"};
  const Totals totals = context.scoreboard.Sum(Clock::now());
  const Health health = Judge(totals, context.model_servers.Latest());
  if (path == "/readyz") {
    const unsigned int status = health.Ready() ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
    return {status, ToJson(health)};
  }
  if (path == "/metrics") {
    return {MHD_HTTP_OK,
            Exposition(totals, health, ReadListenQueue(context.scoreboard.pool().listener_inode)),
            "text/plain; version=0.0.4; charset=utf-8"};
  }
  return {MHD_HTTP_NOT_FOUND, "{\"detail\":\"there are /livez, /readyz and /metrics\"}\n"};
}

MHD_Result Handle(void* context, MHD_Connection* connection, const char* url, const char* method,
                  const char*, const char*, std::size_t* upload_size, void** state) {
  // The first call comes before a body, which we let pass unread; the answer goes with the last.
  static char seen;
  if (*state == nullptr) {
    *state = &seen;
    return MHD_YES;
  }
  if (*upload_size > 0) {
    *upload_size = 0;
    return MHD_YES;
  }
  const Answer answer = Route(*static_cast<const Context*>(context), method, url);
  MHD_Response* response = MHD_create_response_from_buffer(
      answer.body.size(), const_cast<char*>(answer.body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, "Content-Type", answer.content_type);
  MHD_add_response_header(response, "Cache-Control", "no-store");
  if (answer.status == MHD_HTTP_SERVICE_UNAVAILABLE) {
    MHD_add_response_header(response, "Retry-After", "1");
  }
  const MHD_Result queued = MHD_queue_response(connection, answer.status, response);
  MHD_destroy_response(response);
  return queued;
}

}  // namespace

int RunSidecar(const Config& config, const Scoreboard& scoreboard, int listener,
               const std::function<void()>& ready) {
  ModelServers model_servers(config);
  model_servers.AwaitFirst();
  Context context{scoreboard, model_servers};
  MHD_Daemon* daemon = MHD_start_daemon(
      MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, nullptr, nullptr, &Handle, &context,
      MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT, kMaxConnections,
      MHD_OPTION_CONNECTION_TIMEOUT, kConnectionTimeoutSeconds, MHD_OPTION_END);
  if (daemon == nullptr) {
    log::Error("sidecar cannot start");
    return EXIT_FAILURE;
  }
  log::Info("sidecar ready", {{"port", config.sidecar.port}});
  ready();
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGUSR1);
  int signal = 0;
  while (sigwait(&signals, &signal) != 0 || signal != SIGTERM) {
    if (signal == SIGUSR1) log::Reopen();
  }
  // The listener is shared with our successor: the library must not shut it down.
  MHD_quiesce_daemon(daemon);
  MHD_stop_daemon(daemon);
  return EXIT_SUCCESS;
}

}  // namespace inferpool::ops

#include "ops/sidecar/sidecar.h"

#include <cstdlib>
#include <string_view>

#include "ops/sidecar/exposition.h"
#include "ops/sidecar/health.h"
#include "ops/sidecar/model_servers.h"
#include "shared/base/log.h"
#include "shared/base/status.h"
#include "shared/base/termination.h"
#include "shared/monitor/http_port.h"
#include "shared/monitor/prometheus_text.h"

namespace inferpool::ops {
namespace {

using monitor::HttpAnswer;
using monitor::HttpPort;

struct Context {
  const Scoreboard& scoreboard;
  const ModelServers& model_servers;
  bool with_names;
};

HttpAnswer Answer(const Context& context, std::string_view path) {
  if (path == "/livez") return {200, "{\"alive\":true}\n"};
  const Totals totals = context.scoreboard.Sum(Clock::now());
  const Health health = EvaluateHealth(totals, context.model_servers.Latest());
  if (path == "/readyz") return {health.Ready() ? 200 : 503, ToJson(health, context.with_names)};
  if (path == "/metrics") {
    return {200,
            Exposition(totals, health, ReadListenQueue(context.scoreboard.pool().listener_inode),
                       context.scoreboard.BusiestCameras()),
            monitor::kPrometheusContentType};
  }
  return {404, "{\"detail\":\"there are /livez, /readyz and /metrics\"}\n"};
}

}  // namespace

int RunSidecar(const Config& config, const Scoreboard& scoreboard, int listener,
               const std::function<void()>& ready) {
  ModelServers model_servers(config);
  model_servers.AwaitFirst();
  const Context context{scoreboard, model_servers, config.auth.keys_file.empty()};
  const auto port =
      HttpPort::Start(listener, kSidecarConnections,
                      [&context](std::string_view path) { return Answer(context, path); });
  if (!port.ok()) {
    log::Error("sidecar cannot start", {{"reason", Message(port.status())}});
    return EXIT_FAILURE;
  }
  log::Info("sidecar ready", {{"port", config.sidecar.port}});
  ready();
  AwaitTermination();
  return EXIT_SUCCESS;
}

}  // namespace inferpool::ops

#include "ops/nginx_config.h"

#include <fmt/format.h>

#include <map>

namespace inferpool::ops {
namespace {

// nginx gives up this much later than the worker, whose answer says more. In that time and
// timeouts.start_s a stuck worker is replaced and killed, so that what it had in work is sent
// again.
constexpr int kReadMarginSeconds = 10;

}  // namespace

std::string NginxConfig(const Config& config, std::string_view user) {
  const Config::Nginx& nginx = config.nginx;
  const bool limited = nginx.rate_per_s > 0;
  const std::map<std::string, std::string, std::less<>> values = {
      {"USER", user.empty() ? "" : fmt::format("user {};", user)},
      {"BODY_MB", fmt::format("{}", config.limits.body_mb)},
      {"RATE", fmt::format("{}", nginx.rate_per_s)},
      {"RATE_ZONE", limited ? fmt::format("    limit_req_zone $binary_remote_addr zone=client:10m "
                                          "rate={}r/s;\n    limit_req_status 429;",
                                          nginx.rate_per_s)
                            : ""},
      {"RATE_LIMIT", limited
                         ? fmt::format("            limit_req zone=client{} nodelay;",
                                       nginx.burst > 0 ? fmt::format(" burst={}", nginx.burst) : "")
                         : ""},
      {"SOCKET", config.listen.socket},
      {"SIDECAR", fmt::format("{}:{}", config.sidecar.address, config.sidecar.port)},
      {"HTTPS_PORT", fmt::format("{}", nginx.port)},
      {"HTTP_PORT", fmt::format("{}", nginx.http_port)},
      {"SERVER_NAME", nginx.server_name},
      {"CERTIFICATE", nginx.certificate},
      {"CERTIFICATE_KEY", nginx.certificate_key},
      {"IO_S", fmt::format("{}", config.timeouts.io_s)},
      {"READ_S",
       fmt::format("{}", config.timeouts.request_s + config.timeouts.start_s + kReadMarginSeconds)},
  };
  std::string text;
  std::string_view rest = kNginxTemplate;
  while (true) {
    const std::size_t begin = rest.find('@');
    text += rest.substr(0, begin);
    if (begin == std::string_view::npos) return text;
    const std::size_t end = rest.find('@', begin + 1);
    const std::string_view name = rest.substr(begin + 1, end - begin - 1);
    rest.remove_prefix(end + 1);
    if (name.empty()) {
      text += '@';
      continue;
    }
    const auto value = values.find(name);
    // A placeholder without a value is a mistake in the template, which a unit test finds first.
    if (value == values.end()) std::abort();
    text += value->second;
  }
}

}  // namespace inferpool::ops

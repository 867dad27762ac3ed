#include "ops/cli/nginx_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "ops/live/live.h"
#include "shared/base/listen.h"
#include "shared/config/nginx_values.h"

namespace inferpool::ops {
namespace {

// nginx gives up this much later than the worker, whose answer says more. In that time and
// timeouts.start_s a stuck worker is replaced and killed, so that what it had in work is sent
// again.
constexpr int kReadMarginSeconds = 10;

// Enough for some ten thousand clients at once; each costs nginx a few hundred bytes while idle.
constexpr std::uint64_t kMaxDescriptors = 40'000;

using Values = std::map<std::string, std::string, std::less<>>;

// "unix:/path" or "host:port", as nginx's upstreams have it.
std::string OwnPool(const std::string& socket) {
  if (!IsTcp(socket)) return "unix:" + socket;
  std::string address(TcpAddress(socket));
  if (address.starts_with("0.0.0.0:")) address.replace(0, 7, "127.0.0.1");
  if (address.starts_with("[::]:")) address.replace(0, 4, "[::1]");
  return address;
}

// Further tries for a request whose worker died: enough that none is lost beside a client that
// sends a new poison every 100 ms (docs/decisions/0007). Bounded, because a request that the
// quarantine cannot know, for whose memory the kernel kills its worker, costs a worker at each.
constexpr int kTries = 8;
// Rows of all pools after the first, each of which is one more try at each pool.
constexpr int kBackupRows = 3;

// The entries of `upstream workers`. A request is tried at each at most once, so each entry is one
// more try.
//
// One pool: it stands there kTries times, and is never marked down (max_fails=0): a dead worker
// says nothing about the socket. Several: after three failures a pool is spared for three seconds,
// and should all be, the further rows take over, which are never marked down.
std::vector<std::string> WorkerEntries(const Config& config) {
  std::vector<std::string> pools = config.nginx.pools;
  if (pools.empty()) pools = {OwnPool(config.listen.socket)};
  std::vector<std::string> entries;
  if (pools.size() == 1) {
    entries.assign(kTries, fmt::format("server \"{}\" max_fails=0;", pools[0]));
    return entries;
  }
  for (const std::string& pool : pools) {
    entries.push_back(fmt::format("server \"{}\" max_fails=3 fail_timeout=3s;", pool));
  }
  for (int row = 0; row < kBackupRows; ++row) {
    for (const std::string& pool : pools) {
      entries.push_back(fmt::format("server \"{}\" max_fails=0 backup;", pool));
    }
  }
  return entries;
}

std::string Lines(int indent, std::span<const std::string> lines) {
  std::string text;
  for (const std::string& line : lines) {
    if (!text.empty()) text += '\n';
    text += fmt::format("{:{}}{}", "", indent, line);
  }
  return text;
}

std::vector<std::string> Each(std::string_view form, const std::vector<std::string>& items) {
  std::vector<std::string> lines;
  lines.reserve(items.size());
  for (const std::string& item : items) lines.push_back(fmt::format(fmt::runtime(form), item));
  return lines;
}

// Nothing for 0, which switches off what the number is for.
std::string Number(int number) {
  return number > 0 ? fmt::format("{}", number) : "";
}

std::string Burst(int number) {
  return number > 0 ? fmt::format(" burst={}", number) : "";
}

// What stands behind the host in an address of ours: nothing for the scheme's own port.
std::string PublicPort(const Config::Nginx& nginx) {
  constexpr int kHttps = 443;
  const int port = nginx.https_port > 0 ? nginx.https_port : nginx.port;
  return port == kHttps ? "" : fmt::format(":{}", port);
}

void AddCors(const Config::Cors& cors, Values& values) {
  const std::vector<std::string>& origins = cors.origins;
  const bool any = std::ranges::find(origins, "*") != origins.end();
  const bool some = !any && !origins.empty();
  std::vector<std::string> lines;
  // Each once: nginx refuses what is named twice.
  for (const std::string& origin : std::set<std::string>(origins.begin(), origins.end())) {
    const bool wildcard = nginx_values::IsWildcard(origin);
    lines.push_back(fmt::format("\"{}\" $http_origin;",
                                wildcard ? "~" + nginx_values::OriginPattern(origin) : origin));
  }
  values["CORS_DEFAULT"] = any ? "*" : "";
  values["CORS_ORIGINS"] = some ? Lines(8, lines) : std::string();
  values["CORS_VARY"] = some ? "Origin" : "";
  values["CORS_HEADERS"] = fmt::format("{}", fmt::join(Each(", {}", cors.headers), ""));
}

void AddBasePath(const Config::Nginx& nginx, Values& values) {
  values["BASE_PATH"] = nginx.base_path;
  values["BASE_PATTERN"] = nginx_values::Escaped(nginx.base_path);
}

void AddLimits(const Config& config, Values& values) {
  const Config::Nginx& nginx = config.nginx;
  values["BODY_MB"] = fmt::format("{}", config.limits.body_mb);
  values["CLIENT_S"] = fmt::format("{}", nginx.client_timeout_s);
  values["RATE"] = Number(nginx.rate_per_s);
  values["BURST"] = Burst(nginx.burst);
  values["KEY_RATE"] = Number(nginx.key_rate_per_s);
  values["KEY_BURST"] = Burst(nginx.key_burst);
  values["CONNECTIONS"] = Number(nginx.connections);
  values["CLIENT_LIMITS"] =
      fmt::format("{} {} {}", nginx.rate_per_s, nginx.burst, nginx.connections);
}

// Where nginx reaches it: one that listens on any address is here.
std::string SidecarAddress(const Config::Sidecar& sidecar) {
  const std::string host = sidecar.address == "::"        ? "::1"
                           : sidecar.address == "0.0.0.0" ? "127.0.0.1"
                                                          : sidecar.address;
  return HostAndPort(host, std::to_string(sidecar.port));
}

void AddAddresses(const Config& config, const NginxHost& host, Values& values) {
  const Config::Nginx& nginx = config.nginx;
  const std::string sidecar = SidecarAddress(config.sidecar);
  const std::vector<std::string> workers = WorkerEntries(config);
  values["WORKERS"] = Lines(8, workers);
  values["TRIES"] = fmt::format("{}", workers.size());
  const std::size_t pools = std::max<std::size_t>(nginx.pools.size(), 1);
  values["POOLS"] = fmt::format("{}", pools);
  values["NEXT_POOL"] = pools > 1 ? "http_503 non_idempotent" : "off";
  values["SIDECAR"] = sidecar;
  values["LIVE"] = config.streams.workers > 0 ? live::SocketPath(config) : "";
  std::vector<std::string> sidecars = nginx.sidecars;
  if (sidecars.empty()) sidecars = {sidecar};
  values["PROBES"] = Lines(8, Each("server {} max_fails=0;", sidecars));
  values["PROBES_OF_STRANGERS"] = Lines(8, Each("server {} max_fails=0 max_conns=64;", sidecars));
  values["HTTPS_PORT"] = fmt::format("{}", nginx.port);
  values["HTTP_PORT"] = fmt::format("{}", nginx.http_port);
  values["PUBLIC_PORT"] = PublicPort(nginx);
  const bool ipv6 = nginx.ipv6 == "on" || (nginx.ipv6 == "auto" && host.has_ipv6);
  values["IPV6"] = ipv6 ? "on" : "";
  values["SERVER_NAME"] = nginx.server_name;
  values["TRUSTED"] = nginx.trusted_proxies.empty() ? "" : "on";
  values["SET_REAL_IP"] = Lines(4, Each("set_real_ip_from {};", nginx.trusted_proxies));
  const std::string proxies = Lines(8, Each("{} 1;", nginx.trusted_proxies));
  values["PROXIES"] = proxies;
  // Who speaks the PROXY protocol need not know HTTP, and passes the client's own headers on.
  values["HEADER_PROXIES"] = nginx.proxy_protocol ? "" : proxies;
  values["PROXY_PROTOCOL"] = nginx.proxy_protocol ? " proxy_protocol" : "";
  values["REAL_IP_HEADER"] = nginx.proxy_protocol ? "proxy_protocol" : "X-Forwarded-For";
  values["METRICS_ALLOW"] = Lines(12, Each("allow {};", nginx.metrics_allow));
}

void AddTls(const Config::Nginx& nginx, Values& values) {
  values["CERTIFICATE"] = nginx.certificate;
  values["CERTIFICATE_KEY"] = nginx.certificate_key;
  values["HSTS"] = nginx.hsts_s > 0 ? fmt::format("max-age={}", nginx.hsts_s) : "";
  values["RESOLVERS"] =
      nginx.ocsp_stapling ? fmt::format("{}", fmt::join(nginx.resolvers, " ")) : "";
}

void AddPages(const Config::Nginx& nginx, const NginxHost& host, Values& values) {
  values["PAGES"] = nginx.pages.empty()     ? host.data + "/pages"
                    : nginx.pages == "none" ? ""
                                            : nginx.pages;
  values["SWAGGER_UI"] = nginx.swagger_ui.empty() ? host.data + "/swagger-ui" : nginx.swagger_ui;
}

}  // namespace

std::string NginxConfig(const Config& config, const NginxHost& host) {
  const std::uint64_t descriptors = std::min(host.descriptors, kMaxDescriptors);
  const Config::Timeouts& timeouts = config.timeouts;
  Values values = {
      {"USER", host.user.empty() ? "" : fmt::format("user {};", host.user)},
      // Of its own, nginx counts all processors of the machine.
      {"PROCESSORS", fmt::format("{}", host.processors)},
      {"DESCRIPTORS", fmt::format("{}", descriptors)},
      // The rest is for files.
      {"CONNECTIONS_OF_WORKER",
       fmt::format("{}", std::max<std::uint64_t>(descriptors / 5 * 4, 64))},
      {"TEMPORARY", host.temporary},
      {"IO_S", fmt::format("{}", timeouts.io_s)},
      {"READ_S", fmt::format("{}", timeouts.request_s + timeouts.start_s + kReadMarginSeconds)},
  };
  AddCors(config.cors, values);
  AddBasePath(config.nginx, values);
  AddLimits(config, values);
  AddAddresses(config, host, values);
  AddTls(config.nginx, values);
  AddPages(config.nginx, host, values);

  std::string text;
  std::string_view rest = kNginxTemplate;
  while (true) {
    const std::size_t begin = rest.find('@');
    text += rest.substr(0, begin);
    if (begin == std::string_view::npos) return text;
    const std::size_t end = rest.find('@', begin + 1);
    std::string_view name = rest.substr(begin + 1, end - begin - 1);
    rest.remove_prefix(end + 1);
    if (name.empty()) {
      text += '@';
      continue;
    }
    const char mark = name.front() == '?' || name.front() == '/' ? name.front() : ' ';
    if (mark != ' ') name.remove_prefix(1);
    const auto value = values.find(name);
    // A placeholder without a value is a mistake in the template, which a unit test finds first.
    if (value == values.end()) std::abort();
    if (mark == ' ') {
      text += value->second;
      continue;
    }
    if (mark == '?' && value->second.empty()) {
      const std::string close = fmt::format("@/{}@", name);
      rest.remove_prefix(std::min(rest.find(close), rest.size() - close.size()) + close.size());
    }
    // A mark has its line to itself.
    if (rest.starts_with('\n')) rest.remove_prefix(1);
  }
}

}  // namespace inferpool::ops

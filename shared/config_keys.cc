#include "shared/config_keys.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <climits>

#include "shared/json_text.h"

namespace inferpool {
namespace {

constexpr std::array<std::string_view, 4> kLevels = {"debug", "info", "warning", "error"};

// A Config member as a function, so that nested members can stand in the table.
// clang-format off
#define FIELD(member) [](Config& c) -> auto& { return c.member; }
// clang-format on

const ConfigKey kKeys[] = {
    {"state", PathKey{FIELD(state)}, "folder of sockets, logs, certificate and pid files"},
    {"workers", IntegerKey{FIELD(workers), 0, 512}, "worker processes; 0: one a core"},
    {"threads", IntegerKey{FIELD(threads), 1, 256}, "requests that one worker has in work at once"},
    {"listen.socket", PathKey{FIELD(listen.socket), /*may_be_empty=*/true},
     "FastCGI socket between nginx and the workers; empty: inferpool.sock in the state folder"},
    {"listen.backlog", IntegerKey{FIELD(listen.backlog), 1, 65535},
     "connections that wait in the kernel for a free worker"},
    {"sidecar.address", TextKey{FIELD(sidecar.address)}, "address of the health and metrics port"},
    {"sidecar.port", IntegerKey{FIELD(sidecar.port), 1, 65535},
     "port of /livez, /readyz and /metrics"},
    {"backend.targets", TextListKey{FIELD(backend.targets)},
     "gRPC addresses of the model server, such as \"dns:triton:8001\" (several: \"ipv4:\" each); "
     "empty: the embedded one"},
    {"backend.message_mb", IntegerKey{FIELD(backend.message_mb), 4, 2047},
     "largest gRPC message to or from the model server"},
    {"modelserver.enabled", BooleanKey{FIELD(modelserver.enabled)},
     "start the embedded model server"},
    {"modelserver.repository", PathKey{FIELD(modelserver.repository)},
     "its model repository, in Triton's layout"},
    {"modelserver.listen", TextKey{FIELD(modelserver.listen)},
     "its gRPC address; empty: a socket in the state folder"},
    {"limits.body_mb", IntegerKey{FIELD(limits.body_mb), 1, 1024}, "largest request body"},
    {"limits.pixels", IntegerKey{FIELD(limits.pixels), 1, INT_MAX},
     "largest picture, width times height, judged before it is decoded"},
    {"predict.confidence", NumberKey{FIELD(predict.confidence), 0, 1},
     "least confidence of a detection when the request names none"},
    {"predict.iou", NumberKey{FIELD(predict.iou), 0, 1},
     "overlap above which non-maximum suppression drops the weaker box, when the request names "
     "none"},
    {"predict.max_detections", IntegerKey{FIELD(predict.max_detections), 1, 10'000},
     "most detections in an answer; a request may ask for fewer"},
    {"timeouts.request_s", IntegerKey{FIELD(timeouts.request_s), 1, 3'600},
     "time a request may take in a worker, the model included; then 504"},
    {"timeouts.drain_s", IntegerKey{FIELD(timeouts.drain_s), 1, 3'600},
     "time that requests in work have to finish when the pool stops; then they are killed"},
    {"timeouts.io_s", IntegerKey{FIELD(timeouts.io_s), 1, 600},
     "time that nginx may leave a worker waiting for the next bytes"},
    {"recycle.requests", IntegerKey{FIELD(recycle.requests), 0, INT_MAX},
     "requests after which a worker is replaced; 0: never"},
    {"recycle.jitter", IntegerKey{FIELD(recycle.jitter), 0, INT_MAX},
     "up to this many requests more, by chance, so that workers do not leave together"},
    {"log.level", TextKey{FIELD(log.level), kLevels}, "least level that is logged"},
    {"log.access", BooleanKey{FIELD(log.access)}, "log a line for every request"},
    {"log.slow_ms", IntegerKey{FIELD(log.slow_ms), 0, INT_MAX},
     "log a warning for a request that takes longer; 0: never"},
    {"nginx.port", IntegerKey{FIELD(nginx.port), 1, 65535}, "HTTPS port"},
    {"nginx.http_port", IntegerKey{FIELD(nginx.http_port), 1, 65535},
     "HTTP port: health probes, and a redirect to HTTPS"},
    {"nginx.server_name", TextKey{FIELD(nginx.server_name)}, "host name; _: any"},
    {"nginx.certificate", PathKey{FIELD(nginx.certificate), /*may_be_empty=*/true},
     "TLS certificate (PEM); empty: tls/certificate.pem in the state folder"},
    {"nginx.certificate_key", PathKey{FIELD(nginx.certificate_key), /*may_be_empty=*/true},
     "its private key (PEM); empty: tls/key.pem in the state folder"},
    {"nginx.rate_per_s", IntegerKey{FIELD(nginx.rate_per_s), 0, 1'000'000},
     "requests per second and client address before 429; 0: no limit"},
    {"nginx.burst", IntegerKey{FIELD(nginx.burst), 0, 1'000'000},
     "requests above that rate that are let through at once"},
};

#undef FIELD

}  // namespace

std::span<const ConfigKey> ConfigKeys() {
  return kKeys;
}

std::string Allowed(const ConfigKey& key) {
  struct Visitor {
    std::string operator()(const IntegerKey& k) const {
      return fmt::format("a whole number from {} to {}", k.least, k.most);
    }
    std::string operator()(const NumberKey& k) const {
      return fmt::format("a number from {} to {}", k.least, k.most);
    }
    std::string operator()(const BooleanKey&) const { return "true or false"; }
    std::string operator()(const TextKey& k) const {
      return k.words.empty() ? "text" : fmt::format("one of {}", fmt::join(k.words, ", "));
    }
    std::string operator()(const PathKey&) const { return "a path"; }
    std::string operator()(const TextListKey&) const { return "a list of texts"; }
  };
  return std::visit(Visitor{}, key.kind);
}

std::string ValueOf(const ConfigKey& key, const Config& config) {
  Config copy = config;
  struct Visitor {
    Config& config;
    std::string operator()(const IntegerKey& k) const { return fmt::format("{}", k.field(config)); }
    std::string operator()(const NumberKey& k) const { return fmt::format("{}", k.field(config)); }
    std::string operator()(const BooleanKey& k) const { return fmt::format("{}", k.field(config)); }
    std::string operator()(const TextKey& k) const { return QuotedJson(k.field(config)); }
    std::string operator()(const PathKey& k) const { return QuotedJson(k.field(config)); }
    std::string operator()(const TextListKey& k) const {
      std::vector<std::string> quoted;
      for (const std::string& text : k.field(config)) quoted.push_back(QuotedJson(text));
      return fmt::format("[{}]", fmt::join(quoted, ", "));
    }
  };
  return std::visit(Visitor{copy}, key.kind);
}

}  // namespace inferpool

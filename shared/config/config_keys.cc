#include "shared/config/config_keys.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <climits>

#include "shared/base/json_text.h"
#include "shared/base/log.h"
#include "shared/config/models_key.h"
#include "shared/config/motion_key.h"
#include "shared/config/pipelines_key.h"
#include "shared/config/routes_key.h"
#include "shared/config/rules_key.h"
#include "shared/config/streams_keys.h"

namespace inferpool {
namespace {

constexpr std::array<std::string_view, 3> kTransports = {"auto", "shm", "inline"};
constexpr std::array<std::string_view, 3> kIpv6 = {"auto", "on", "off"};
constexpr std::array<std::string_view, 2> kTemporaryFiles = {"auto", "disk"};
constexpr std::array<std::string_view, 3> kStreamModes = {"auto", "async", "sync"};
constexpr std::array<std::string_view, 3> kControls = {"none", "explicit", "poll"};

// A Config member as a function, so that nested members can stand in the table.
// clang-format off
#define FIELD(member) [](Config& c) -> auto& { return c.member; }  // NOLINT(bugprone-macro-parentheses)
// clang-format on

const ConfigKey kKeys[] = {
    {"state", PathKey{FIELD(state)}, "folder of sockets, logs, certificate and pid files",
     ReloadEffect::kStart},
    {"workers", IntegerKey{FIELD(workers), 0, 512},
     "worker processes; 0: one per processor that this process may use (its affinity, its control "
     "groups' quota rounded up), as far as workers_max allows",
     ReloadEffect::kMaster},
    {"workers_max", IntegerKey{FIELD(workers_max), 1, 512},
     "most workers that `workers` may be raised to without a new start", ReloadEffect::kStart},
    {"threads", IntegerKey{FIELD(threads), 1, 256}, "requests that one worker has in work at once",
     ReloadEffect::kWorkers},
    {"user", TextKey{FIELD(user)},
     "user that workers, sidecar and model server run as when started by root; empty: root",
     ReloadEffect::kStart},
    {"group", TextKey{FIELD(group)}, "their group; empty: the user's", ReloadEffect::kStart},
    {"core_dumps", BooleanKey{FIELD(core_dumps)}, "let a crashing process write a core dump",
     ReloadEffect::kClients},
    {"listen.socket", PathKey{FIELD(listen.socket), /*may_be_empty=*/true, /*other=*/"tcp:"},
     "FastCGI socket between nginx and the workers, or \"tcp:ADDRESS:PORT\", which must be out of "
     "the reach of all but nginx; empty: inferpool.sock in the state folder",
     ReloadEffect::kStart},
    {"listen.backlog", IntegerKey{FIELD(listen.backlog), 1, 65535},
     "connections that wait in the kernel for a free worker", ReloadEffect::kMaster},
    {"sidecar.address", TextKey{FIELD(sidecar.address)}, "address of the health and metrics port",
     ReloadEffect::kStart},
    {"sidecar.port", IntegerKey{FIELD(sidecar.port), 1, 65535},
     "port of /livez, /readyz and /metrics", ReloadEffect::kStart},
    {"backend.targets", TextListKey{FIELD(backend.targets)},
     "gRPC addresses of the model servers, such as \"dns:triton:8001\", used in turn; a plain path "
     "follows \"unix:\"; empty: the embedded one",
     ReloadEffect::kClients},
    {"backend.channels", IntegerKey{FIELD(backend.channels), 1, 64},
     "connections of a worker to each address of a model server", ReloadEffect::kWorkers},
    {"backend.message_mb", IntegerKey{FIELD(backend.message_mb), 4, 2047},
     "largest gRPC message to or from the model server", ReloadEffect::kAll},
    {"backend.transport", TextKey{FIELD(backend.transport), kTransports},
     "how tensors travel: by shared memory (shm), in the messages (inline), or by shared memory "
     "where the model server can (auto)",
     ReloadEffect::kClients},
    {"backend.arena_mb", IntegerKey{FIELD(backend.arena_mb), 1, 4'096},
     "shared memory that a worker takes once it serves; tensors that find no room in it go inline",
     ReloadEffect::kWorkers},
    {"models",
     ObjectKey{"\"MODEL\": { ... }",
               [](const Json::Value& object, const std::string& folder, Config& config) {
                 return ReadModels(object, folder, config.models);
               },
               [](const Config& config) { return ToJson(config.models); }},
     "what model servers do not say of their models, by name: what config.pbtxt's parameters would "
     "(family, input_size, ...), class_names, max_batch_size, inputs, outputs; see servers.md",
     ReloadEffect::kClients},
    {"pipelines",
     ObjectKey{"\"NAME\": { \"model\": ... }",
               [](const Json::Value& object, const std::string&, Config& config) {
                 return ReadPipelines(object, config.pipelines);
               },
               [](const Config& config) { return ToJson(config.pipelines); }},
     "models that are asked about what another one has found, by the name under which clients ask "
     "for all of it; see pipelines.md",
     ReloadEffect::kWorkers},
    {"analyze", TextListKey{FIELD(analyze)},
     "models and pipelines that /v1/analyze asks when a request names none: those of these that "
     "there are",
     ReloadEffect::kWorkers},
    {"routes",
     ObjectKey{"\"ROUTE\": { ... }",
               [](const Json::Value& object, const std::string&, Config& config) {
                 return ReadRoutes(object, config.routes);
               },
               [](const Config& config) { return ToJson(config.routes); }},
     "names for clients in front of models, each with a model, and perhaps a version, a canary, a "
     "shadow and a fallback; see routes.md",
     ReloadEffect::kWorkers},
    {"batch.max", IntegerKey{FIELD(batch.max), 1, 1'024},
     "most pictures that a worker sends in one call, for model servers that do not batch; 1: each "
     "goes alone",
     ReloadEffect::kWorkers},
    {"batch.wait_us", IntegerKey{FIELD(batch.wait_us), 0, 1'000'000},
     "longest wait of a picture for others while a call is out; a lone one never waits",
     ReloadEffect::kWorkers},
    {"breaker.open_s", IntegerKey{FIELD(breaker.open_s), 1, 3'600},
     "time for which a model server that is away is spared requests, unless a probe finds it ready "
     "before",
     ReloadEffect::kWorkers},
    {"modelserver.enabled", BooleanKey{FIELD(modelserver.enabled)},
     "start the embedded model server", ReloadEffect::kStart},
    {"modelserver.repository", PathKey{FIELD(modelserver.repository)},
     "its model repository, in Triton's layout", ReloadEffect::kModels},
    {"modelserver.metrics", TextKey{FIELD(modelserver.metrics)},
     "host:port of its own /metrics, such as \"127.0.0.1:8002\"; empty: none",
     ReloadEffect::kStart},
    {"modelserver.listen", TextKey{FIELD(modelserver.listen)},
     "its gRPC address; empty: a socket in the state folder", ReloadEffect::kStart},
    {"modelserver.control", TextKey{FIELD(modelserver.control), kControls},
     "who decides what is loaded after the start: nobody (none), requests to the model server "
     "(explicit), or the repository (poll), looked at for added, changed and removed models",
     ReloadEffect::kModels},
    {"modelserver.poll_s", IntegerKey{FIELD(modelserver.poll_s), 1, 86'400},
     "seconds between two looks; a change is acted upon when two looks agree",
     ReloadEffect::kModels},
    {"modelserver.onnxruntime", PathKey{FIELD(modelserver.onnxruntime), /*may_be_empty=*/true},
     "file of ONNX Runtime's library, which runs ONNX models; empty: the one that came with the "
     "program, else the system's",
     ReloadEffect::kModels},
    {"limits.body_mb", IntegerKey{FIELD(limits.body_mb), 1, 1024}, "largest request body",
     ReloadEffect::kWorkers},
    {"limits.pixels", IntegerKey{FIELD(limits.pixels), 1, INT_MAX},
     "largest picture, width times height, judged before it is decoded", ReloadEffect::kWorkers},
    {"limits.queue_ms", IntegerKey{FIELD(limits.queue_ms), 0, 600'000},
     "longest wait for a worker; a request that waited longer is answered 503 at once; 0: no limit",
     ReloadEffect::kWorkers},
    {"limits.batch_images", IntegerKey{FIELD(limits.batch_images), 1, 1'024},
     "most pictures in one batch request", ReloadEffect::kWorkers},
    {"limits.memory_mb", IntegerKey{FIELD(limits.memory_mb), 16, 1'048'576},
     "memory for large inputs, of all workers together: half for bodies, half for decoding and "
     "reading; what finds none waits, then 503",
     ReloadEffect::kWorkers},
    {"decode.reduced", BooleanKey{FIELD(decode.reduced)},
     "decode a JPEG that is at least twice as large as the model's input at a reduced scale",
     ReloadEffect::kWorkers},
    {"auth.keys_file", PathKey{FIELD(auth.keys_file), /*may_be_empty=*/true},
     "file of API keys (inferpool keys); read again when it changes; empty: no key is asked for",
     ReloadEffect::kWorkers},
    {"cache.entries", IntegerKey{FIELD(cache.entries), 0, 1'000'000},
     "answers that are kept, for all workers, and given again for the same picture, model version "
     "and parameters; 0: none",
     ReloadEffect::kWorkers},
    {"cache.ttl_s", IntegerKey{FIELD(cache.ttl_s), 1, INT_MAX}, "time for which they are kept",
     ReloadEffect::kWorkers},
    {"predict.confidence", NumberKey{FIELD(predict.confidence), 0, 1},
     "least confidence of a detection when the request names none", ReloadEffect::kWorkers},
    {"predict.iou", NumberKey{FIELD(predict.iou), 0, 1},
     "overlap above which non-maximum suppression drops the weaker box, when the request names "
     "none",
     ReloadEffect::kWorkers},
    {"predict.max_detections", IntegerKey{FIELD(predict.max_detections), 1, 10'000},
     "most detections in an answer; a request may ask for fewer", ReloadEffect::kWorkers},
    {"predict.tiles", IntegerKey{FIELD(predict.tiles), 1, 256},
     "most tiles that a request may have a picture cut into", ReloadEffect::kWorkers},
    {"timeouts.request_s", IntegerKey{FIELD(timeouts.request_s), 1, 3'600},
     "time a request may take in a worker, the model included; then 504", ReloadEffect::kWorkers},
    {"timeouts.drain_s", IntegerKey{FIELD(timeouts.drain_s), 1, 3'600},
     "time that requests in work have to finish when the pool stops; then they are killed",
     ReloadEffect::kMaster},
    {"timeouts.start_s", IntegerKey{FIELD(timeouts.start_s), 1, 3'600},
     "time that a started worker has to get ready; then it is killed, and a new configuration "
     "given up",
     ReloadEffect::kMaster},
    {"timeouts.io_s", IntegerKey{FIELD(timeouts.io_s), 1, 600},
     "time that nginx may leave a worker waiting for the next bytes", ReloadEffect::kWorkers},
    {"recycle.requests", IntegerKey{FIELD(recycle.requests), 0, INT_MAX},
     "requests after which a worker is replaced; 0: never", ReloadEffect::kMaster},
    {"recycle.jitter", IntegerKey{FIELD(recycle.jitter), 0, INT_MAX},
     "up to this many requests more, by chance, so that workers do not leave together",
     ReloadEffect::kMaster},
    {"recycle.age_s", IntegerKey{FIELD(recycle.age_s), 0, INT_MAX},
     "age in seconds at which a worker is replaced; 0: never", ReloadEffect::kMaster},
    {"recycle.rss_mb", IntegerKey{FIELD(recycle.rss_mb), 0, INT_MAX},
     "resident memory in MiB above which a worker is replaced; 0: never", ReloadEffect::kMaster},
    {"recycle.concurrent", IntegerKey{FIELD(recycle.concurrent), 1, 64},
     "workers that are being replaced at once, however many are due", ReloadEffect::kMaster},
    {"quarantine.ttl_s", IntegerKey{FIELD(quarantine.ttl_s), 0, INT_MAX},
     "time for which a picture that crashed a worker is refused; 0: it is not",
     ReloadEffect::kMaster},
    {"log.level", TextKey{FIELD(log.level), log::kLevelNames}, "least level that is logged",
     ReloadEffect::kClients},
    {"log.file", PathKey{FIELD(log.file), /*may_be_empty=*/true},
     "log file, opened again on SIGUSR1; empty: stderr", ReloadEffect::kStart},
    {"log.access", BooleanKey{FIELD(log.access)}, "log a line for every request",
     ReloadEffect::kWorkers},
    {"log.slow_ms", IntegerKey{FIELD(log.slow_ms), 0, INT_MAX},
     "log a warning for a request that takes longer; 0: never", ReloadEffect::kWorkers},
    {"streams.redis", TextKey{FIELD(streams.redis)},
     "Redis (or Valkey) through which cameras' frames come: \"unix:/path\" or \"HOST:PORT\"; see "
     "streams.md",
     ReloadEffect::kIngest},
    {"streams.user", TextKey{FIELD(streams.user)}, "user there; empty: Redis' default user",
     ReloadEffect::kIngest},
    {"streams.password_file", PathKey{FIELD(streams.password_file), /*may_be_empty=*/true},
     "file whose first line is the password; empty: none is needed", ReloadEffect::kIngest},
    {"streams.workers", IntegerKey{FIELD(streams.workers), 0, 32},
     "processes that read and answer frames, beside the workers; 0: none", ReloadEffect::kMaster},
    {"streams.shards", IntegerKey{FIELD(streams.shards), 1, 256},
     "parts into which cameras are spread; producers and all pools at one Redis must have the same",
     ReloadEffect::kStart},
    {"streams.cameras",
     ObjectKey{"\"ID\": { ... }",
               [](const Json::Value& object, const std::string&, Config& config) {
                 return ReadCameras(object, config.streams.cameras);
               },
               [](const Config& config) { return ToJson(config.streams.cameras); }},
     "cameras by id, each with what differs from the others: model, parameters, policy, "
     "max_age_ms, rate (frames a second that are answered at most), priority (high, normal, low), "
     "results, motion",
     ReloadEffect::kIngest},
    {"streams.camera_set", TextKey{FIELD(streams.camera_set)},
     "key of a set in Redis that names more cameras, looked at every few seconds; empty: none",
     ReloadEffect::kIngest},
    {"streams.model", TextKey{FIELD(streams.model)}, "model for cameras and frames that name none",
     ReloadEffect::kIngest},
    {"streams.policy", TextKey{FIELD(streams.policy), kStreamPolicies},
     "which frames are answered when there are too many: the newest (latest), the oldest first "
     "(fifo), or all of them, retried for as long as it takes (all)",
     ReloadEffect::kIngest},
    {"streams.max_age_ms", IntegerKey{FIELD(streams.max_age_ms), 0, 86'400'000},
     "age above which a frame with a time is dropped; 0: none is too old", ReloadEffect::kIngest},
    {"streams.mode", TextKey{FIELD(streams.mode), kStreamModes},
     "frames in work in a process: as many as processors, for models on this machine (sync), as "
     "many as threads, for servers that batch (async), or as the model shows (auto)",
     ReloadEffect::kIngest},
    {"streams.results_max", IntegerKey{FIELD(streams.results_max), 1, 100'000'000},
     "answers that are kept in a shard's stream of results", ReloadEffect::kIngest},
    {"streams.results", TextKey{FIELD(streams.results), kStreamResults},
     "answers that are stored: all of them, or those in which something was found, and problems "
     "(findings)",
     ReloadEffect::kIngest},
    {"streams.metrics_cameras", IntegerKey{FIELD(streams.metrics_cameras), 0, 100},
     "cameras that /metrics names: those with the most frames", ReloadEffect::kIngest},
    {"streams.fields",
     ObjectKey{"\"FIELD\": \"NAME\"",
               [](const Json::Value& object, const std::string&, Config& config) {
                 return ReadFields(object, config.streams.fields);
               },
               [](const Config& config) { return ToJson(config.streams.fields); }},
     "producers' names for the fields of a frame, where they differ: picture, frame, epoch, seq, "
     "time, model, parameters",
     ReloadEffect::kIngest},
    {"streams.motion",
     ObjectKey{"\"MEMBER\": VALUE",
               [](const Json::Value& object, const std::string&, Config& config) {
                 return ReadMotion(object, "streams.motion", config.streams.motion);
               },
               [](const Config& config) { return ToJson(config.streams.motion); }},
     "whether frames on which nothing moves are answered without the model: enabled (false), "
     "threshold (12, in grey levels), area (0.001, the share of the picture that must change), "
     "keyframe_s (10), masks (polygons that do not count); a camera's `motion` goes before it",
     ReloadEffect::kIngest},
    {"streams.rules",
     ObjectKey{"\"RULE\": { ... }",
               [](const Json::Value& object, const std::string& folder, Config& config) {
                 return ReadRules(object, folder, config.streams.rules);
               },
               [](const Config& config) { return ToJson(config.streams.rules); }},
     "rules by name: of which findings a webhook is told: cameras, classes, min_confidence, zone, "
     "hold_off_s, url, secret_file",
     ReloadEffect::kRules},
    {"cors.origins", TextListKey{FIELD(cors.origins)},
     "origins whose pages may read the answers, such as \"https://example.com\", or "
     "\"https://*.example.com\" for all sub-domains; \"*\": all; empty: none but our own",
     ReloadEffect::kNginx},
    {"cors.headers", TextListKey{FIELD(cors.headers)},
     "request headers that their pages may send besides those that mean something here; \"*\": any",
     ReloadEffect::kNginx},
    {"nginx.port", IntegerKey{FIELD(nginx.port), 1, 65535}, "HTTPS port", ReloadEffect::kNginx},
    {"nginx.http_port", IntegerKey{FIELD(nginx.http_port), 1, 65535},
     "HTTP port: health probes, and a redirect to HTTPS", ReloadEffect::kNginx},
    {"nginx.https_port", IntegerKey{FIELD(nginx.https_port), 0, 65535},
     "port that the redirect names, where clients reach the HTTPS port by another one, as that of "
     "a container; 0: nginx.port",
     ReloadEffect::kNginx},
    {"nginx.ipv6", TextKey{FIELD(nginx.ipv6), kIpv6},
     "listen on IPv6 too: on, off, or where the host has it when the configuration is rendered "
     "(auto)",
     ReloadEffect::kNginx},
    {"nginx.temporary_files", TextKey{FIELD(nginx.temporary_files), kTemporaryFiles},
     "where bodies above 4 MB wait: in /dev/shm, where that has 1 GB free at the start (auto), or "
     "in "
     "the state folder",
     ReloadEffect::kNginx},
    {"nginx.server_name", TextKey{FIELD(nginx.server_name)}, "host name; _: any",
     ReloadEffect::kNginx},
    {"nginx.certificate", PathKey{FIELD(nginx.certificate), /*may_be_empty=*/true},
     "TLS certificate (PEM); empty: tls/certificate.pem in the state folder", ReloadEffect::kNginx},
    {"nginx.certificate_key", PathKey{FIELD(nginx.certificate_key), /*may_be_empty=*/true},
     "its private key (PEM); empty: tls/key.pem in the state folder", ReloadEffect::kNginx},
    {"nginx.hsts_s", IntegerKey{FIELD(nginx.hsts_s), 0, INT_MAX},
     "time for which browsers that came once insist on HTTPS (Strict-Transport-Security); 0: they "
     "are not told",
     ReloadEffect::kNginx},
    {"nginx.ocsp_stapling", BooleanKey{FIELD(nginx.ocsp_stapling)},
     "show clients that the certificate is not revoked; needs nginx.resolvers and its issuer in "
     "the certificate's file",
     ReloadEffect::kNginx},
    {"nginx.resolvers", TextListKey{FIELD(nginx.resolvers)},
     "addresses of DNS servers for nginx.ocsp_stapling, with or without a port",
     ReloadEffect::kNginx},
    {"nginx.trusted_proxies", TextListKey{FIELD(nginx.trusted_proxies)},
     "addresses or networks (CIDR) of load balancers before nginx, whose X-Forwarded-For and "
     "X-Forwarded-Proto are believed",
     ReloadEffect::kNginx},
    {"nginx.proxy_protocol", BooleanKey{FIELD(nginx.proxy_protocol)},
     "both ports expect the PROXY protocol before TLS and HTTP; nginx.trusted_proxies are believed "
     "what it says of the client, instead of those headers",
     ReloadEffect::kNginx},
    {"nginx.base_path", TextKey{FIELD(nginx.base_path)},
     "path below which clients find all of this, such as \"/vision\" behind somebody's proxy; "
     "requests are taken with and without it",
     ReloadEffect::kWorkers},
    {"nginx.rate_per_s", IntegerKey{FIELD(nginx.rate_per_s), 0, 1'000'000},
     "requests per second and client (an IPv4 address, or an IPv6 network of /64) before 429; 0: "
     "no limit",
     ReloadEffect::kNginx},
    {"nginx.burst", IntegerKey{FIELD(nginx.burst), 0, 1'000'000},
     "requests above that rate that are let through at once", ReloadEffect::kNginx},
    {"nginx.key_rate_per_s", IntegerKey{FIELD(nginx.key_rate_per_s), 0, 1'000'000},
     "requests per second and API key, of whatever address, before 429; 0: no limit",
     ReloadEffect::kNginx},
    {"nginx.key_burst", IntegerKey{FIELD(nginx.key_burst), 0, 1'000'000},
     "requests above that rate that are let through at once", ReloadEffect::kNginx},
    {"nginx.connections", IntegerKey{FIELD(nginx.connections), 0, 1'000'000},
     "requests of one client in work at once before 429; 0: no limit", ReloadEffect::kNginx},
    {"nginx.client_timeout_s", IntegerKey{FIELD(nginx.client_timeout_s), 1, 3'600},
     "time for the head of a request, and for each pause in its body or in taking the answer",
     ReloadEffect::kNginx},
    {"nginx.metrics_allow", TextListKey{FIELD(nginx.metrics_allow)},
     "addresses or networks (CIDR) that may read /metrics through nginx; empty: none",
     ReloadEffect::kNginx},
    {"nginx.pools", TextListKey{FIELD(nginx.pools)},
     "FastCGI addresses of the pools behind nginx, \"unix:/path/inferpool.sock\" or "
     "\"host:port\", used in turn; empty: this pool",
     ReloadEffect::kNginx},
    {"nginx.sidecars", TextListKey{FIELD(nginx.sidecars)},
     "host:port of their sidecars, for /livez and /readyz, which are good when one of them is; "
     "empty: this pool's",
     ReloadEffect::kNginx},
    {"nginx.pages", PathKey{FIELD(nginx.pages), /*may_be_empty=*/true, /*other=*/"none"},
     "folder of the pages for people; empty: those that came with the program; none: no pages",
     ReloadEffect::kNginx},
    {"nginx.swagger_ui", PathKey{FIELD(nginx.swagger_ui), /*may_be_empty=*/true},
     "folder of Swagger UI, for /docs; empty: the one that came with the program",
     ReloadEffect::kNginx},
};

#undef FIELD

}  // namespace

std::span<const ConfigKey> ConfigKeys() {
  return kKeys;
}

std::string Allowed(const ConfigKey& key) {
  struct Visitor {
    std::string operator()(const IntegerKey& k) const {
      return fmt::format("a whole number from {} to {}", k.min, k.max);
    }
    std::string operator()(const NumberKey& k) const {
      return fmt::format("a number from {} to {}", k.min, k.max);
    }
    std::string operator()(const BooleanKey&) const { return "true or false"; }
    std::string operator()(const TextKey& k) const {
      return k.words.empty() ? "text" : fmt::format("one of {}", fmt::join(k.words, ", "));
    }
    std::string operator()(const PathKey& k) const {
      return k.other.empty() ? "a path" : fmt::format("a path or {}", k.other);
    }
    std::string operator()(const TextListKey&) const { return "a list of texts"; }
    std::string operator()(const ObjectKey& k) const {
      return fmt::format("an object {{ {} }}", k.member);
    }
  };
  return std::visit(Visitor{}, key.kind);
}

std::string_view Describe(ReloadEffect effect) {
  switch (effect) {
    case ReloadEffect::kMaster:
      return "at once";
    case ReloadEffect::kWorkers:
      return "replaces workers";
    case ReloadEffect::kClients:
      return "replaces workers and sidecar";
    case ReloadEffect::kModels:
      return "restarts the model server";
    case ReloadEffect::kAll:
      return "restarts the model server, replaces workers and sidecar";
    case ReloadEffect::kIngest:
      return "replaces ingest";
    case ReloadEffect::kRules:
      return "replaces rules";
    case ReloadEffect::kNginx:
      return "nginx";
    case ReloadEffect::kStart:
      return "at the start";
  }
  return "";
}

std::vector<const ConfigKey*> ChangedKeys(const Config& before, const Config& after) {
  std::vector<const ConfigKey*> changed;
  for (const ConfigKey& key : kKeys) {
    if (ValueOf(key, before) != ValueOf(key, after)) changed.push_back(&key);
  }
  return changed;
}

std::string ToOverride(const ConfigKey& key, const Config& config) {
  Config copy = config;
  std::string value;
  if (const auto* text = std::get_if<TextKey>(&key.kind)) {
    value = text->field(copy);
  } else if (const auto* path = std::get_if<PathKey>(&key.kind)) {
    value = path->field(copy);
  } else {
    value = ValueOf(key, config);
  }
  return fmt::format("{}={}", key.name, value);
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
    std::string operator()(const ObjectKey& k) const { return k.text(config); }
  };
  return std::visit(Visitor{copy}, key.kind);
}

}  // namespace inferpool

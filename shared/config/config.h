// The configuration: one JSON file with comments, every key optional.
//
// The members here have the defaults. The keys, their limits and their documentation are one table
// (config_keys.cc). Parsing, `inferpool check`, the table in docs/configuration.md and the example
// file are made from both or checked against them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "shared/base/polygon.h"

namespace inferpool {

// What becomes of a camera's frames when there are more than can be answered.
inline constexpr std::array<std::string_view, 3> kStreamPolicies = {"latest", "fifo", "all"};
inline constexpr std::array<std::string_view, 2> kStreamResults = {"all", "findings"};
// What a frame's entry in Redis may have.
inline constexpr std::array<std::string_view, 7> kStreamFields = {
    "picture", "frame", "epoch", "seq", "time", "model", "parameters"};

// A value: copy it freely, share it as const. Paths are absolute after loading.
struct Config {
  std::string state = "run";
  int workers = 0;
  int workers_max = 128;
  int threads = 8;
  std::string user;
  std::string group;
  bool core_dumps = false;

  struct Listen {
    std::string socket;
    int backlog = 511;
  } listen;

  struct Sidecar {
    std::string address = "127.0.0.1";
    int port = 9090;
  } sidecar;

  struct Backend {
    std::vector<std::string> targets;
    int channels = 1;
    int message_mb = 256;
    std::string transport = "auto";
    int arena_mb = 64;
  } backend;

  // What the operator says of a model, for model servers that do not say it themselves.
  struct Model {
    int line = 0;  // of the file
    std::optional<int> max_batch_size = {};
    std::vector<std::string> class_names = {};           // those of the file that was named
    std::map<std::string, std::string> parameters = {};  // "family", "input_size", ...
    struct Tensor {
      std::string name;
      std::string datatype;
      std::vector<std::int64_t> shape;
    };
    std::vector<Tensor> inputs = {};
    std::vector<Tensor> outputs = {};
  };
  using Models = std::map<std::string, Model>;
  Models models;

  // A step of a pipeline: a model that is asked about the picture, or about the parts of it where
  // the step before has found something.
  struct Step {
    std::string model;
    // A classification model whose classes are degrees: by how many a part is turned clockwise. The
    // part is turned back by that. Empty: parts are taken as they are.
    std::string turn = {};
    bool reading_order = false;  // of what it finds; false: the most confident first
    // Which findings of the step before it is asked about.
    std::vector<std::string> classes = {};  // empty: of all classes
    double min_confidence = 0;
    int min_size = 1;             // of the box's shorter side, in the picture's pixels
    int most = 16;                // of one picture: the most confident
    std::vector<Step> each = {};  // asked about what this one finds

    bool operator==(const Step&) const = default;
  };
  using Pipelines = std::map<std::string, Step>;  // the first steps, by name
  static Pipelines DefaultPipelines();
  Pipelines pipelines = DefaultPipelines();

  // What /v1/analyze asks when a request names no models: those of these that there are.
  std::vector<std::string> analyze = {"objects", "faces", "text", "embedding"};

  // A name for clients in front of a model. An empty version: whichever the server chooses.
  struct Route {
    std::string model = {};
    std::string version = {};
    // Who gets another model: a share of the clients, told apart by key or by address.
    struct Canary {
      std::string model = {};
      std::string version = {};
      double percent = 0;
      bool by_address = false;
    };
    std::optional<Canary> canary = {};
    // What is asked as well once the answer was sent, for a share of the requests.
    struct Shadow {
      std::string model = {};
      std::string version = {};
      double percent = 0;
    };
    std::optional<Shadow> shadow = {};
    std::string fallback = {};  // another route, or a model; empty: none
  };
  using Routes = std::map<std::string, Route>;
  Routes routes;

  struct Batch {
    int max = 1;
    int wait_us = 2'000;
  } batch;

  struct Breaker {
    int open_s = 30;
  } breaker;

  struct ModelServer {
    std::string metrics;
    bool enabled = true;
    std::string repository = "models";
    std::string listen;
    // A model that is put into the folder, or replaced there, is served: what people expect of a
    // folder, and an update that fails or is half copied harms nobody.
    std::string control = "poll";
    int poll_s = 15;
    std::string onnxruntime;
  } modelserver;

  struct Limits {
    int body_mb = 50;
    // A phone's photograph of 50 megapixels has 8160 x 6144.
    int pixels = 64'000'000;
    int queue_ms = 1'000;
    int batch_images = 64;
    int memory_mb = 512;
  } limits;

  struct Decode {
    bool reduced = true;
  } decode;

  struct Auth {
    std::string keys_file;
  } auth;

  struct Cache {
    int entries = 0;
    int ttl_s = 600;
  } cache;

  struct Predict {
    double confidence = 0.25;
    double iou = 0.45;
    int max_detections = 300;
    int tiles = 64;
  } predict;

  struct Timeouts {
    int request_s = 30;
    int drain_s = 30;
    int start_s = 10;
    int io_s = 10;
  } timeouts;

  struct Recycle {
    int requests = 50'000;
    int jitter = 5'000;
    int age_s = 0;
    int rss_mb = 0;
    int concurrent = 1;
  } recycle;

  struct Quarantine {
    int ttl_s = 600;
  } quarantine;

  struct Log {
    std::string level = "info";
    std::string file;
    bool access = false;
    int slow_ms = 100;
  } log;

  struct Cors {
    std::vector<std::string> origins;
    // What tracing, error reports and HTTP libraries of pages send on their own.
    std::vector<std::string> headers = {"baggage", "sentry-trace", "X-Requested-With",
                                        "Cache-Control", "Pragma"};
  } cors;

  struct Nginx {
    int port = 8443;
    int http_port = 8080;
    int https_port = 0;
    // A socket on [::] cannot be made on every host, and nginx does not start without it.
    std::string ipv6 = "auto";
    std::string temporary_files = "auto";
    std::string server_name = "_";
    std::string certificate;
    std::string certificate_key;
    int hsts_s = 0;
    bool ocsp_stapling = false;
    std::vector<std::string> resolvers;
    std::vector<std::string> trusted_proxies;
    bool proxy_protocol = false;
    std::string base_path;
    int rate_per_s = 1'000;
    int burst = 2'000;
    int key_rate_per_s = 0;
    int key_burst = 100;
    int connections = 1'000;
    int client_timeout_s = 15;
    std::vector<std::string> metrics_allow = {"127.0.0.1", "::1"};
    std::vector<std::string> pools;
    std::vector<std::string> sidecars;
    std::string pages;
    std::string swagger_ui;
  } nginx;

  // Whether frames on which nothing moves are answered without the model (worker/streams/motion.h).
  struct Motion {
    std::optional<bool> enabled = {};
    std::optional<int> threshold = {};
    std::optional<double> area = {};
    std::optional<double> keyframe_s = {};
    std::optional<std::vector<Polygon>> masks = {};
  };
  // Of which findings of cameras somebody is told, and where he is.
  struct Rule {
    std::vector<std::string> cameras = {};  // empty: all
    std::vector<std::string> classes = {};  // empty: all
    double min_confidence = 0;
    Polygon zone = {};  // empty: the whole picture
    int hold_off_s = 60;
    std::string url = {};
    std::string secret_file = {};
  };
  using Rules = std::map<std::string, Rule>;
  // A camera whose frames come by Redis.
  struct Camera {
    std::string model = {};
    std::string parameters = {};  // as in a URL's query
    std::string policy = {};      // of kStreamPolicies
    std::optional<int> max_age_ms = {};
    double rate = 0;
    std::string priority = {};
    std::string results = {};  // of kStreamResults
    Motion motion = {};
  };
  using Cameras = std::map<std::string, Camera>;
  using Fields = std::map<std::string, std::string>;  // of kStreamFields: the producers' names
  struct Streams {
    std::string redis = "127.0.0.1:6379";
    std::string user;
    std::string password_file;
    int workers = 0;
    int shards = 32;
    Cameras cameras;
    std::string camera_set = "inferpool:cameras";
    std::string model;
    std::string policy = "latest";
    int max_age_ms = 0;
    std::string mode = "auto";
    // An hour of a camera of 25 frames a second; with JSON of 400 bytes 36 MB a shard.
    int results_max = 90'000;
    std::string results = "all";
    int metrics_cameras = 20;
    Fields fields;
    Motion motion;
    Rules rules;
  } streams;
};

inline constexpr std::size_t kMaxRules = 64;

// Models that one request to /v1/analyze may name.
inline constexpr std::size_t kMaxAnalyzed = 16;

// Whether listen.socket is "tcp:ADDRESS:PORT" and not a path.
constexpr bool IsTcp(std::string_view socket) {
  return socket.starts_with("tcp:");
}

// Returns the "ADDRESS:PORT" of such a listen.socket.
constexpr std::string_view TcpAddress(std::string_view socket) {
  return socket.substr(4);
}

// One mistake in a configuration.
struct ConfigProblem {
  int line = 0;         // 1-based line of the file; 0 when the problem is not at a line
  std::string key;      // dotted; empty for a problem with the whole file
  std::string message;  // what is wrong and what is allowed
};

struct ConfigResult {
  Config config;
  std::vector<ConfigProblem> problems;  // empty: `config` is good
};

// A `key=value` from the command line, which wins over the file. The value is JSON, or plain text
// for a key that holds text. A relative path is relative to the working directory.
using ConfigOverrides = std::vector<std::string>;

// Reads and checks `file`, and reports all problems at once. A relative path in the file is
// relative to the file's folder. Defaults that depend on other values (sockets in the state folder,
// one worker per core) are filled in.
ConfigResult LoadConfig(const std::string& file, const ConfigOverrides& overrides);

// Does the same for a text in memory. Relative paths are relative to `folder`.
ConfigResult ParseConfig(std::string_view text, const std::string& folder,
                         const ConfigOverrides& overrides);

// The names of the models that it says something of.
std::vector<std::string> NamesOfModels(const Config& config);

// "FILE:12: limits.body_mb: is 0, allowed are whole numbers from 1 to 1024"
std::string Format(const ConfigProblem& problem, std::string_view file);

}  // namespace inferpool

#include "worker/process.h"
#include "worker/predict/side_by_side.h"

#include <fmt/format.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <opencv2/core/utility.hpp>
#include <opencv2/imgcodecs.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fcgi/serving/crash_handler.h"
#include "fcgi/serving/server.h"
#include "fcgi/wire/connection.h"
#include "shared/base/log.h"
#include "shared/base/process_tuning.h"
#include "shared/board/heavy_work.h"
#include "shared/config/routes_file.h"
#include "shared/pictures/decode.h"
#include "shared/pictures/header.h"
#include "worker/backend/catalog.h"
#include "worker/backend/inference_client.h"
#include "worker/backend/rpc/client.h"
#include "worker/http/key_ring.h"
#include "worker/model_settings.h"
#include "worker/predict/cache.h"
#include "worker/predict/shadow.h"
#include "worker/router.h"
#include "worker/routes/route_service.h"
#include "worker/streams/ingest.h"

namespace inferpool {
namespace {

fcgi::ReadLimits ReadLimitsOf(const Config& config) {
  return {.body_bytes = static_cast<std::size_t>(config.limits.body_mb) * 1024 * 1024,
          .io = std::chrono::seconds(config.timeouts.io_s),
          .whole = std::chrono::seconds(config.timeouts.request_s),
          .queue = std::chrono::milliseconds(config.limits.queue_ms)};
}

// The first decoding loads tables and code that the first request shall not wait for.
void DecodeOnce() {
  std::vector<unsigned char> jpeg;
  cv::imencode(".jpg", cv::Mat(16, 16, CV_8UC3, cv::Scalar(90, 120, 150)), jpeg);
  const std::string_view bytes(reinterpret_cast<const char*>(jpeg.data()), jpeg.size());
  const auto header = vision::ReadHeader(bytes);
  if (header.ok()) static_cast<void>(vision::Decode(bytes, *header));
}

// Connects the channel. A successor has to reach the model server, because the worker that it
// replaces may well reach it; it tries until the master's patience ends. Any other worker is better
// there, to say that the model server is away, than not. False: the master asks us to leave.
bool Connect(const backend::Client& client, bool successor, ProcessRow& row) {
  constexpr auto kAttempt = std::chrono::milliseconds(500);
  constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 50'000'000};
  const Deadline patience = Deadline::After(kAttempt);
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  while (true) {
    const absl::Status ready = client.ServerReady(Deadline::After(kAttempt));
    if (ready.ok()) return true;
    row.not_ready.Store(NotReadyText(fmt::format("no model server is ready: {}", Message(ready))));
    if (!successor && patience.Expired(Clock::now())) {
      log::Warning("serving without a model server", {{"reason", Message(ready)}});
      return true;
    }
    if (sigtimedwait(&term, nullptr, &kPause) == SIGTERM) return false;
  }
}

// A hung server's are found out while we serve.
constexpr std::chrono::milliseconds kPatienceForModels{500};

backend::InferenceOptions InferenceOptionsOf(const Config& config) {
  using backend::Transport;
  backend::InferenceOptions options;
  options.transport = config.backend.transport == "shm"      ? Transport::kShm
                      : config.backend.transport == "inline" ? Transport::kInline
                                                             : Transport::kAuto;
  options.arena_bytes = static_cast<std::size_t>(config.backend.arena_mb) << 20;
  options.message_bytes = static_cast<std::size_t>(config.backend.message_mb) << 20;
  options.batch = {.max_rows = config.batch.max,
                   .wait = std::chrono::microseconds(config.batch.wait_us)};
  // A pool sweeps its own segments, not those of another one on this host.
  options.domain = config.state;
  return options;
}

// What answering a picture needs, however it comes.
struct Engine {
  explicit Engine(const ProcessStart& start)
      : config(start.config),
        heavy(start.scoreboard,
              {.memory_bytes = static_cast<std::uint64_t>(start.config.limits.memory_mb) << 20,
               .processors = 0,
               .threads = start.config.threads}),
        pool(start.scoreboard.pool()),
        slot(start.scoreboard.slot(start.slot)),
        thread_slots(start.scoreboard.thread_slots(start.slot)
                         .first(static_cast<std::size_t>(start.config.threads))),
        spare_threads(start.config.threads) {}

  // Before any thread is started.
  void Prepare() {
    fcgi::InstallCrashHandler(slot, thread_slots, pool);
    TuneProcess();
    cv::setNumThreads(1);  // our threads are the parallelism; OpenCV's own would only contend
    DecodeOnce();
    client.emplace(
        config.backend.targets, config.backend.message_mb,
        backend::ClientOptions{.channels = config.backend.channels,
                               .breaker = {.open_for = std::chrono::seconds(config.breaker.open_s)},
                               .counts = &slot.model_calls,
                               .models = NamesOfModels(config)});
  }

  // After Connect.
  void Begin() {
    // Pictures come as soon as we serve, and choose their server by what it has.
    if (client->targets() > 1) client->AwaitModels(Deadline::After(kPatienceForModels));
    catalog.emplace(*client, backend::Catalog::kMaxAge, worker::SettingsOf(config));
    inference.emplace(*client, InferenceOptionsOf(config));
  }

  http::Services Services() {
    return {.config = config,
            .client = *client,
            .inference = *inference,
            .catalog = *catalog,
            .quarantine = pool.quarantine,
            .heavy = heavy,
            .spare_threads = spare_threads};
  }

  const Config& config;
  const HeavyWork heavy;
  Pool& pool;
  WorkerSlot& slot;
  const std::span<ThreadSlot> thread_slots;
  predict::SpareThreads spare_threads;
  std::optional<backend::Client> client;
  std::optional<backend::Catalog> catalog;
  std::optional<backend::InferenceClient> inference;
};

}  // namespace

int RunWorker(const ProcessStart& start) {
  const Config& config = start.config;
  Engine engine(start);
  ProcessRow& row = engine.slot.process;
  fcgi::InitLibrary();
  engine.Prepare();
  std::optional<http::KeyRing> keys;
  if (!config.auth.keys_file.empty()) {
    keys.emplace(config.auth.keys_file, engine.pool.keys, Clock::now());
    // The worker that it would replace may well know keys.
    if (start.successor && !keys->has_keys()) {
      row.not_ready.Store(NotReadyText(fmt::format("auth.keys_file: {}", keys->file_problem())));
      return EXIT_FAILURE;
    }
  }
  const std::string cache_folder = config.state + "/children/cache";
  const auto cache_entries = static_cast<std::size_t>(config.cache.entries);
  std::optional<predict::Cache> cache;
  if (cache_entries > 0) {
    cache.emplace(cache_folder, cache_entries, std::chrono::seconds(config.cache.ttl_s), start.slot,
                  config, engine.slot.cache);
  }
  predict::ResponseCache::Sweep(cache_folder, cache_entries);
  if (!Connect(*engine.client, start.successor, row)) return EXIT_SUCCESS;
  engine.Begin();
  routes::RouteService routes{.live = {config.routes, RoutesFilePath(config.state),
                                       KeptRoutesPath(config.state), engine.pool, engine.slot},
                              .counts = engine.pool.routes};
  // The worker that it would replace may well go by changes that the file had.
  if (const std::string problem = routes.live.file_problem(); start.successor && !problem.empty()) {
    row.not_ready.Store(NotReadyText(problem));
    return EXIT_FAILURE;
  }
  http::Services services = engine.Services();
  services.keys = keys ? &*keys : nullptr;
  services.cache = cache ? &*cache : nullptr;
  services.routes = &routes;
  predict::ShadowRunner shadows(services, engine.thread_slots);
  services.shadows = &shadows;
  const worker::Router router(services);
  fcgi::Serve(start.listener, ReadLimitsOf(config),
              [&router](const fcgi::Request& request, ThreadSlot& thread_slot) {
                return router.Handle(request, thread_slot);
              },
              {.pool = engine.pool,
               .slot = engine.slot,
               .thread_slots = engine.thread_slots,
               .heavy = engine.heavy,
               .wakeup = start.wakeup});
  return EXIT_SUCCESS;
}

int RunIngest(const ProcessStart& start) {
  const Config& config = start.config;
  Engine engine(start);
  engine.Prepare();
  // A model server that is away keeps frames waiting; it is no reason to refuse a new
  // configuration.
  if (!Connect(*engine.client, /*successor=*/false, engine.slot.process)) return EXIT_SUCCESS;
  engine.Begin();
  routes::RouteService routes{.live = {config.routes, RoutesFilePath(config.state),
                                       KeptRoutesPath(config.state), engine.pool, engine.slot},
                              .counts = engine.pool.routes};
  http::Services services = engine.Services();
  services.routes = &routes;
  streams::Ingest({.config = config,
                   .services = services,
                   .board = start.scoreboard,
                   .slot = engine.slot,
                   .thread_slots = engine.thread_slots,
                   .wakeup = start.wakeup});
  return EXIT_SUCCESS;
}

}  // namespace inferpool

#include "worker/process.h"
#include "worker/predict/side_by_side.h"

#include <fmt/format.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <opencv2/core/utility.hpp>
#include <opencv2/imgcodecs.hpp>
#include <optional>
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

}  // namespace

int RunWorker(const WorkerStart& start) {
  const Config& config = start.config;
  ProcessRow& row = start.scoreboard.slot(start.slot).process;
  const HeavyWork heavy(start.scoreboard,
                        {.memory_bytes = static_cast<std::uint64_t>(config.limits.memory_mb) << 20,
                         .processors = 0,
                         .threads = config.threads});
  const fcgi::WorkerContext context{
      .pool = start.scoreboard.pool(),
      .slot = start.scoreboard.slot(start.slot),
      .thread_slots =
          start.scoreboard.thread_slots(start.slot).first(static_cast<std::size_t>(config.threads)),
      .heavy = heavy,
      .wakeup = start.wakeup};
  fcgi::InstallCrashHandler(context.slot, context.thread_slots, context.pool);
  fcgi::InitLibrary();
  TuneProcess();
  cv::setNumThreads(1);  // the pool's threads are the parallelism; OpenCV's own would only contend
  DecodeOnce();
  const backend::Client client(
      config.backend.targets, config.backend.message_mb,
      {.channels = config.backend.channels,
       .breaker = {.open_for = std::chrono::seconds(config.breaker.open_s)},
       .counts = &context.slot.model_calls,
       .models = NamesOfModels(config)});
  std::optional<http::KeyRing> keys;
  if (!config.auth.keys_file.empty()) {
    keys.emplace(config.auth.keys_file, context.pool.keys, Clock::now());
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
                  config, context.slot.cache);
  }
  predict::ResponseCache::Sweep(cache_folder, cache_entries);
  if (!Connect(client, start.successor, row)) return EXIT_SUCCESS;
  // Requests come as soon as we serve, and choose their server by what it has.
  if (client.targets() > 1) client.AwaitModels(Deadline::After(kPatienceForModels));
  backend::Catalog catalog(client, backend::Catalog::kMaxAge, worker::SettingsOf(config));
  backend::InferenceClient inference(client, InferenceOptionsOf(config));
  predict::SpareThreads spare_threads(config.threads);
  routes::RouteService routes{
      .live = {config.routes, RoutesFilePath(config.state), context.pool, context.slot},
      .counts = context.pool.routes};
  http::Services services{.config = config,
                          .client = client,
                          .inference = inference,
                          .catalog = catalog,
                          .quarantine = context.pool.quarantine,
                          .heavy = heavy,
                          .spare_threads = spare_threads,
                          .keys = keys ? &*keys : nullptr,
                          .cache = cache ? &*cache : nullptr,
                          .routes = &routes};
  predict::ShadowRunner shadows(services, context.thread_slots);
  services.shadows = &shadows;
  const worker::Router router(services);
  fcgi::Serve(
      start.listener, ReadLimitsOf(config),
      [&router](const fcgi::Request& request, ThreadSlot& thread_slot) {
        return router.Handle(request, thread_slot);
      },
      context);
  return EXIT_SUCCESS;
}

}  // namespace inferpool

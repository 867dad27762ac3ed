#include "ops/sidecar/exposition.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/monitor/prometheus_text.h"

namespace inferpool::ops {
namespace {

using monitor::Add;
using monitor::Counter;
using monitor::Gauge;
using monitor::MetricFamily;

constexpr double kMicrosPerSecond = 1e6;  // a division rounds right: 0.1, not 0.09999999999999999
constexpr double kMillisPerSecond = 1e3;

MetricFamily Requests(const Totals& totals) {
  MetricFamily family = Counter("inferpool_requests_total", "Requests answered, by HTTP status");
  for (std::size_t i = 0; i < kHttpStatuses.size(); ++i) {
    Add(family, {{"status", fmt::format("{}", kHttpStatuses[i].code)}},
        static_cast<double>(totals.by_status[i]));
  }
  return family;
}

std::array<double, kBucketBoundsUs.size()> BucketBounds() {
  std::array<double, kBucketBoundsUs.size()> bounds{};
  std::ranges::transform(kBucketBoundsUs, bounds.begin(),
                         [](long us) { return static_cast<double>(us) / kMicrosPerSecond; });
  return bounds;
}

MetricFamily Stages(const Totals& totals) {
  const auto bounds = BucketBounds();
  MetricFamily family =
      monitor::Histogram("inferpool_stage_seconds", "Time that requests spent in each stage");
  for (std::size_t stage = 0; stage < kStages; ++stage) {
    const HistogramTotal& total = totals.stages[stage];
    monitor::AddHistogram(family, {{"stage", std::string(kStageNames[stage])}}, bounds,
                          total.buckets, static_cast<double>(total.sum_us) / kMicrosPerSecond);
  }
  return family;
}

MetricFamily HeavyRequests(const Totals& totals) {
  MetricFamily family = Gauge("inferpool_heavy_requests",
                              "Requests with large inputs that wait for a processor or memory, or "
                              "have a processor");
  Add(family, {{"state", "waiting"}}, static_cast<double>(totals.heavy_waiting));
  Add(family, {{"state", "working"}}, static_cast<double>(totals.heavy_working));
  return family;
}

MetricFamily Workers(const Totals& totals) {
  MetricFamily family = Gauge("inferpool_workers", "Workers, by state");
  // The first state is no process at all.
  for (std::size_t i = 1; i < kProcessStateNames.size(); ++i) {
    Add(family, {{"state", std::string(kProcessStateNames[i])}},
        static_cast<double>(totals.workers().by_state[i]));
  }
  return family;
}

MetricFamily ModelCalls(const Totals& totals) {
  MetricFamily family = Counter("inferpool_model_calls_total",
                                "What happened to the workers' calls to model servers");
  for (std::size_t i = 0; i < kModelCalls; ++i) {
    Add(family, {{"event", std::string(kModelCallNames[i])}},
        static_cast<double>(totals.model_calls[i]));
  }
  return family;
}

MetricFamily ModelServers(const Health& health) {
  MetricFamily family =
      Gauge("inferpool_model_server_target_ready", "1 when this model server can be sent requests");
  for (const ModelServer& server : health.model_servers) {
    Add(family, {{"target", server.target}}, server.ready ? 1 : 0);
  }
  return family;
}

MetricFamily Cache(const Totals& totals) {
  MetricFamily family =
      Counter("inferpool_cache_requests_total", "Requests that looked for a cached answer");
  Add(family, {{"outcome", "hit"}}, static_cast<double>(totals.cache_hits));
  Add(family, {{"outcome", "miss"}}, static_cast<double>(totals.cache_misses));
  return family;
}

MetricFamily Keys(const Totals& totals) {
  MetricFamily family = Counter("inferpool_key_requests_total",
                                "Requests with a good API key, by the key's name: let through, or "
                                "over its rate");
  for (const KeyRequests& key : totals.keys) {
    const std::string name(key.name.view());
    Add(family, {{"key", name}, {"outcome", "allowed"}}, static_cast<double>(key.allowed));
    Add(family, {{"key", name}, {"outcome", "limited"}}, static_cast<double>(key.limited));
  }
  return family;
}

// Of routes, by what answered.
std::vector<MetricFamily> Routes(const Totals& totals) {
  std::array<double, kBucketBoundsUs.size()> bounds{};
  std::ranges::transform(kBucketBoundsUs, bounds.begin(),
                         [](long us) { return static_cast<double>(us) / kMicrosPerSecond; });
  MetricFamily requests = Counter("inferpool_route_requests_total",
                                  "Requests for a route, by variant, model and version");
  MetricFamily errors =
      Counter("inferpool_route_errors_total", "Those that ended with a status of 500 or above");
  MetricFamily seconds =
      monitor::Histogram("inferpool_route_seconds", "Time from the choice of the model on");
  MetricFamily pictures =
      Counter("inferpool_route_pictures_total", "Pictures that a model was asked about");
  MetricFamily findings = Counter("inferpool_route_findings_total", "What was found in them");
  MetricFamily agreement = Counter("inferpool_route_agreement_total",
                                   "Findings that the shadow shares with the answer, or one of "
                                   "them has alone");
  MetricFamily dropped = Counter("inferpool_route_shadows_dropped_total",
                                 "Shadows that were not asked, for want of memory or time");
  for (const RouteTotals& row : totals.routes) {
    monitor::Labels labels = {{"route", std::string(row.labels.route.view())},
                              {"variant", std::string(row.labels.variant.view())},
                              {"model", std::string(row.labels.model.view())},
                              {"version", std::string(row.labels.version.view())}};
    Add(requests, labels, static_cast<double>(row.requests));
    Add(errors, labels, static_cast<double>(row.errors));
    monitor::AddHistogram(seconds, labels, bounds, row.buckets,
                          static_cast<double>(row.sum_us) / kMicrosPerSecond);
    Add(pictures, labels, static_cast<double>(row.pictures));
    Add(findings, labels, static_cast<double>(row.findings));
    if (row.labels.variant.view() != "shadow") continue;
    Add(dropped, labels, static_cast<double>(row.dropped));
    for (const auto& [outcome, count] : {std::pair("matched", row.agreement.matched),
                                         std::pair("only_primary", row.agreement.only_primary),
                                         std::pair("only_shadow", row.agreement.only_shadow)}) {
      monitor::Labels with = labels;
      with.push_back({"outcome", outcome});
      Add(agreement, std::move(with), static_cast<double>(count));
    }
  }
  return {requests, errors, seconds, pictures, findings, agreement, dropped};
}

MetricFamily Ends(const Totals& totals) {
  MetricFamily family =
      Counter("inferpool_worker_ends_total", "Worker processes that ended, by reason");
  Add(family, {{"reason", "planned"}}, static_cast<double>(totals.workers().planned_ends));
  Add(family, {{"reason", "crash"}}, static_cast<double>(totals.workers().crashes));
  return family;
}

// Of each kind of process, the workers included.
std::vector<MetricFamily> Roles(const Totals& totals) {
  MetricFamily processes = Gauge("inferpool_processes", "Processes of the pool, by role and state");
  MetricFamily wanted =
      Gauge("inferpool_processes_wanted", "Processes that the configuration asks for");
  MetricFamily backing_off =
      Gauge("inferpool_processes_backing_off", "Processes that wait to be started after a crash");
  MetricFamily starts = Counter("inferpool_process_starts_total", "Processes started");
  MetricFamily ends = Counter("inferpool_process_ends_total", "Processes that ended, by reason");
  for (const RoleTotals& role : totals.roles) {
    const std::string name(role.name.view());
    if (name.empty()) continue;
    // The first state is no process at all.
    for (std::size_t i = 1; i < kProcessStateNames.size(); ++i) {
      Add(processes, {{"role", name}, {"state", std::string(kProcessStateNames[i])}},
          static_cast<double>(role.by_state[i]));
    }
    Add(wanted, {{"role", name}}, static_cast<double>(role.wanted));
    Add(backing_off, {{"role", name}}, static_cast<double>(role.backing_off));
    Add(starts, {{"role", name}}, static_cast<double>(role.starts));
    Add(ends, {{"role", name}, {"reason", "planned"}}, static_cast<double>(role.planned_ends));
    Add(ends, {{"role", name}, {"reason", "crash"}}, static_cast<double>(role.crashes));
  }
  return {processes, wanted, backing_off, starts, ends};
}

// Of cameras' streams, a line for each shard that this pool has or had.
std::vector<MetricFamily> StreamShards(const Totals& totals) {
  MetricFamily events = Counter("inferpool_stream_events_total",
                                "What processes of this pool did with cameras' frames, by shard");
  MetricFamily ledger = Gauge("inferpool_stream_frames",
                              "What became of the frames that producers numbered, by shard, as the "
                              "ledger in Redis has it; produced is the sum of the others");
  MetricFamily waiting =
      Gauge("inferpool_stream_waiting", "Frames in Redis that wait or are in work, by shard");
  MetricFamily lag =
      Gauge("inferpool_stream_lag_seconds", "Age of the oldest of these frames, by shard");
  MetricFamily lost = Counter("inferpool_stream_results_lost_total",
                              "Answers that were trimmed before consumer groups had read and "
                              "acknowledged them, by shard; one that two groups lost counts twice");
  MetricFamily cameras = Gauge("inferpool_stream_cameras", "Cameras, by shard");
  MetricFamily owned = Gauge("inferpool_stream_owned", "1 when this pool has the shard's lease");
  for (const StreamShardTotals& shard : totals.stream_shards) {
    const std::string name = fmt::format("{:02}", shard.shard);
    for (std::size_t i = 0; i < kStreamEvents; ++i) {
      Add(events, {{"shard", name}, {"event", std::string(kStreamEventNames[i])}},
          static_cast<double>(shard.events[i]));
    }
    for (std::size_t i = 0; i < kLedgerEntries; ++i) {
      Add(ledger, {{"shard", name}, {"state", std::string(kLedgerNames[i])}},
          static_cast<double>(shard.ledger[i]));
    }
    Add(waiting, {{"shard", name}}, static_cast<double>(shard.waiting));
    Add(lag, {{"shard", name}}, static_cast<double>(shard.lag_ms) / kMillisPerSecond);
    Add(lost, {{"shard", name}}, static_cast<double>(shard.results_lost));
    Add(cameras, {{"shard", name}}, static_cast<double>(shard.cameras));
    Add(owned, {{"shard", name}}, shard.owned ? 1 : 0);
  }
  return {events, ledger, waiting, lag, lost, cameras, owned};
}

// Of the processes that answer cameras' frames, together.
std::vector<MetricFamily> StreamProcesses(const Totals& totals) {
  MetricFamily ages = monitor::Histogram("inferpool_stream_answer_seconds",
                                         "Time from a frame's capture until its answer was stored");
  monitor::AddHistogram(ages, {}, BucketBounds(), totals.answer_age.buckets,
                        static_cast<double>(totals.answer_age.sum_us) / kMicrosPerSecond);
  std::array<double, kTripBounds.size()> bounds{};
  std::ranges::transform(kTripBounds, bounds.begin(),
                         [](std::uint64_t frames) { return static_cast<double>(frames); });
  MetricFamily batches =
      monitor::Histogram("inferpool_stream_batch_frames",
                         "Frames that one trip to Redis took (in), or stored the answers of (out)");
  MetricFamily trips = Counter("inferpool_stream_trips_total",
                               "Trips to Redis that took frames (in), or stored answers (out)");
  MetricFamily frames = Counter("inferpool_stream_trip_frames_total",
                                "Frames taken (in), or answers stored (out), in these trips");
  for (std::size_t i = 0; i < kStreamWays; ++i) {
    const TripSizesTotal& sizes = totals.stream_trips[i];
    const monitor::Labels way = {{"way", std::string(kStreamWayNames[i])}};
    monitor::AddHistogram(batches, way, bounds, sizes.buckets, static_cast<double>(sizes.frames));
    Add(trips, way, std::accumulate(sizes.buckets.begin(), sizes.buckets.end(), 0.0));
    Add(frames, way, static_cast<double>(sizes.frames));
  }
  MetricFamily calls = Counter("inferpool_stream_model_calls_total",
                               "What happened to the calls to model servers about cameras' frames, "
                               "of which one may have many");
  for (std::size_t i = 0; i < kModelCalls; ++i) {
    Add(calls, {{"event", std::string(kModelCallNames[i])}},
        static_cast<double>(totals.stream_model_calls[i]));
  }
  return {ages,
          batches,
          trips,
          frames,
          calls,
          Gauge("inferpool_stream_redis_up", "Ingest processes that have a connection to Redis",
                static_cast<double>(totals.stream_processes_up))};
}

// Of the rules for cameras' answers.
std::vector<MetricFamily> Rules(const Totals& totals) {
  if (totals.rules.empty()) return {};
  MetricFamily events =
      Counter("inferpool_rule_events_total", "What became of the rules for cameras' answers");
  MetricFamily waiting =
      Gauge("inferpool_rule_waiting", "Events that a rule's receiver is still to be told of");
  for (const RuleTotals& row : totals.rules) {
    const std::string name(row.rule.view());
    for (std::size_t i = 0; i < kRuleEvents; ++i) {
      Add(events, {{"rule", name}, {"event", std::string(kRuleEventNames[i])}},
          static_cast<double>(row.events[i]));
    }
    Add(waiting, {{"rule", name}}, static_cast<double>(row.waiting));
  }
  return {events, waiting};
}

// Of the cameras that are named.
std::vector<MetricFamily> StreamCameras(std::span<const StreamCamera> cameras) {
  MetricFamily frames =
      Gauge("inferpool_camera_frames",
            "What became of the frames of a camera, of those with the most frames "
            "(streams.metrics_cameras), as the ledger in Redis has it");
  MetricFamily waiting =
      Gauge("inferpool_camera_waiting", "Frames of the camera that wait or are in work");
  MetricFamily lag = Gauge("inferpool_camera_lag_seconds", "Age of the oldest of these frames");
  for (const StreamCamera& camera : cameras) {
    const std::string name(camera.name.view());
    for (std::size_t i = 0; i < kLedgerEntries; ++i) {
      Add(frames, {{"camera", name}, {"state", std::string(kLedgerNames[i])}},
          static_cast<double>(camera.frames[i]));
    }
    Add(waiting, {{"camera", name}}, static_cast<double>(camera.waiting));
    Add(lag, {{"camera", name}}, static_cast<double>(camera.lag_ms) / kMillisPerSecond);
  }
  return {frames, waiting, lag};
}

// Of those who look at cameras.
std::vector<MetricFamily> Live(const Totals& totals) {
  const auto live = std::ranges::find(totals.roles, std::string_view("live"),
                                      [](const RoleTotals& role) { return role.name.view(); });
  const std::uint64_t clients = live == totals.roles.end() ? 0 : live->clients;
  return {Gauge("inferpool_live_clients", "Clients that follow a camera's answers now",
                static_cast<double>(clients)),
          Counter("inferpool_live_events_total", "Answers sent to clients that follow a camera",
                  static_cast<double>(totals.live_events)),
          Counter("inferpool_live_snapshots_total", "Pictures of cameras sent",
                  static_cast<double>(totals.live_snapshots)),
          Counter("inferpool_live_too_slow_total",
                  "Clients that were sent away because they did not take answers fast enough",
                  static_cast<double>(totals.live_too_slow))};
}

std::vector<MetricFamily> Streams(const Totals& totals, std::span<const StreamCamera> cameras) {
  if (totals.stream_shards.empty()) return {};
  std::vector<MetricFamily> all;
  for (auto families :
       {StreamShards(totals), StreamProcesses(totals), StreamCameras(cameras), Live(totals)}) {
    std::ranges::move(families, std::back_inserter(all));
  }
  return all;
}

}  // namespace

std::string Exposition(const Totals& totals, const Health& health,
                       const std::optional<ListenQueue>& queue,
                       std::span<const StreamCamera> cameras) {
  const auto value = [](std::uint64_t number) { return static_cast<double>(number); };
  std::vector<MetricFamily> families = {
      Requests(totals),
      Stages(totals),
      ModelCalls(totals),
      Counter("inferpool_received_bytes_total", "Bytes of request bodies", value(totals.bytes_in)),
      Counter("inferpool_sent_bytes_total", "Bytes of answer bodies", value(totals.bytes_out)),
      Gauge("inferpool_requests_in_work", "Requests that workers have in work",
            value(totals.in_work)),
      HeavyRequests(totals),
      Gauge("inferpool_heavy_bytes", "Memory that large inputs have claimed of limits.memory_mb",
            value(totals.heavy_bytes)),
      Gauge("inferpool_listen_queue", "Connections that wait in the kernel for a worker",
            queue ? queue->waiting : 0),
      Gauge("inferpool_listen_queue_limit", "Connections that may wait; more are refused",
            queue ? queue->max : 0),
      Workers(totals),
      Counter("inferpool_worker_starts_total", "Worker processes started",
              value(totals.workers().starts)),
      Ends(totals),
      Gauge("inferpool_workers_wanted", "Workers that the configuration asks for",
            value(totals.workers().wanted)),
      Gauge("inferpool_workers_backing_off", "Workers that wait to be started after a crash",
            value(totals.workers().backing_off)),
      Gauge("inferpool_quarantined_inputs",
            "Pictures that are refused because they crashed a worker", value(totals.quarantined)),
      Gauge("inferpool_model_server_ready", "1 when a model server can be sent requests",
            health.model_server.ready ? 1 : 0),
      Cache(totals),
      Keys(totals),
      ModelServers(health),
      Gauge("inferpool_ready", "1 when /readyz answers 200", health.Ready() ? 1 : 0),
  };
  for (MetricFamily& family : Routes(totals)) families.push_back(std::move(family));
  for (MetricFamily& family : Roles(totals)) families.push_back(std::move(family));
  for (MetricFamily& family : Streams(totals, cameras)) families.push_back(std::move(family));
  for (MetricFamily& family : Rules(totals)) families.push_back(std::move(family));
  return monitor::PrometheusText(families);
}

}  // namespace inferpool::ops

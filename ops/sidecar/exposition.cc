#include "ops/sidecar/exposition.h"

#include <fmt/format.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>
#include <utility>
#include <vector>

namespace inferpool::ops {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr double kMicrosPerSecond = 1e6;  // a division rounds right: 0.1, not 0.09999999999999999

MetricFamily Family(std::string name, std::string help, MetricType type) {
  MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  return family;
}

void Add(MetricFamily& family, std::vector<ClientMetric::Label> labels, double value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  family.metric.push_back(std::move(metric));
}

MetricFamily Single(std::string name, std::string help, MetricType type, double value) {
  MetricFamily family = Family(std::move(name), std::move(help), type);
  Add(family, {}, value);
  return family;
}

MetricFamily Requests(const Totals& totals) {
  MetricFamily family =
      Family("inferpool_requests_total", "Requests answered, by HTTP status", MetricType::Counter);
  for (std::size_t i = 0; i < kHttpStatuses.size(); ++i) {
    Add(family, {{"status", fmt::format("{}", kHttpStatuses[i].code)}},
        static_cast<double>(totals.by_status[i]));
  }
  return family;
}

MetricFamily Stages(const Totals& totals) {
  MetricFamily family = Family("inferpool_stage_seconds", "Time that requests spent in each stage",
                               MetricType::Histogram);
  for (std::size_t stage = 0; stage < kStages; ++stage) {
    const HistogramTotal& total = totals.stages[stage];
    ClientMetric metric;
    metric.label = {{"stage", std::string(kStageNames[stage])}};
    std::uint64_t cumulative = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      cumulative += total.buckets[i];
      const double bound = i < kBucketBoundsUs.size()
                               ? static_cast<double>(kBucketBoundsUs[i]) / kMicrosPerSecond
                               : std::numeric_limits<double>::infinity();
      metric.histogram.bucket.push_back({cumulative, bound});
    }
    metric.histogram.sample_count = cumulative;
    metric.histogram.sample_sum = static_cast<double>(total.sum_us) / kMicrosPerSecond;
    family.metric.push_back(std::move(metric));
  }
  return family;
}

MetricFamily HeavyRequests(const Totals& totals) {
  MetricFamily family = Family("inferpool_heavy_requests",
                               "Requests with large inputs that wait for a processor or memory, or "
                               "have a processor",
                               MetricType::Gauge);
  Add(family, {{"state", "waiting"}}, static_cast<double>(totals.heavy_waiting));
  Add(family, {{"state", "working"}}, static_cast<double>(totals.heavy_working));
  return family;
}

MetricFamily Workers(const Totals& totals) {
  MetricFamily family = Family("inferpool_workers", "Workers, by state", MetricType::Gauge);
  // The first state is no process at all.
  for (std::size_t i = 1; i < kProcessStateNames.size(); ++i) {
    Add(family, {{"state", std::string(kProcessStateNames[i])}},
        static_cast<double>(totals.workers_by_state[i]));
  }
  return family;
}

MetricFamily ModelCalls(const Totals& totals) {
  MetricFamily family =
      Family("inferpool_model_calls_total", "What happened to the workers' calls to model servers",
             MetricType::Counter);
  for (std::size_t i = 0; i < kModelCalls; ++i) {
    Add(family, {{"event", std::string(kModelCallNames[i])}},
        static_cast<double>(totals.model_calls[i]));
  }
  return family;
}

MetricFamily ModelServers(const Health& health) {
  MetricFamily family = Family("inferpool_model_server_target_ready",
                               "1 when this model server can be sent requests", MetricType::Gauge);
  for (const ModelServer& server : health.model_servers) {
    Add(family, {{"target", server.target}}, server.ready ? 1 : 0);
  }
  return family;
}

MetricFamily Cache(const Totals& totals) {
  MetricFamily family = Family("inferpool_cache_requests_total",
                               "Requests that looked for a cached answer", MetricType::Counter);
  Add(family, {{"outcome", "hit"}}, static_cast<double>(totals.cache_hits));
  Add(family, {{"outcome", "miss"}}, static_cast<double>(totals.cache_misses));
  return family;
}

MetricFamily Keys(const Totals& totals) {
  MetricFamily family = Family("inferpool_key_requests_total",
                               "Requests with a good API key, by the key's name: let through, or "
                               "over its rate",
                               MetricType::Counter);
  for (const KeyRequests& key : totals.keys) {
    const std::string name(key.name.view());
    Add(family, {{"key", name}, {"outcome", "allowed"}}, static_cast<double>(key.allowed));
    Add(family, {{"key", name}, {"outcome", "limited"}}, static_cast<double>(key.limited));
  }
  return family;
}

MetricFamily Ends(const Totals& totals) {
  MetricFamily family = Family("inferpool_worker_ends_total",
                               "Worker processes that ended, by reason", MetricType::Counter);
  Add(family, {{"reason", "planned"}}, static_cast<double>(totals.worker_recycles));
  Add(family, {{"reason", "crash"}}, static_cast<double>(totals.worker_crashes));
  return family;
}

}  // namespace

std::string Exposition(const Totals& totals, const Health& health,
                       const std::optional<ListenQueue>& queue) {
  const auto value = [](std::uint64_t number) { return static_cast<double>(number); };
  return prometheus::TextSerializer().Serialize({
      Requests(totals),
      Stages(totals),
      ModelCalls(totals),
      Single("inferpool_received_bytes_total", "Bytes of request bodies", MetricType::Counter,
             value(totals.bytes_in)),
      Single("inferpool_sent_bytes_total", "Bytes of answer bodies", MetricType::Counter,
             value(totals.bytes_out)),
      Single("inferpool_requests_in_work", "Requests that workers have in work", MetricType::Gauge,
             value(totals.in_work)),
      HeavyRequests(totals),
      Single("inferpool_heavy_bytes", "Memory that large inputs have claimed of limits.memory_mb",
             MetricType::Gauge, value(totals.heavy_bytes)),
      Single("inferpool_listen_queue", "Connections that wait in the kernel for a worker",
             MetricType::Gauge, queue ? queue->waiting : 0),
      Single("inferpool_listen_queue_limit", "Connections that may wait; more are refused",
             MetricType::Gauge, queue ? queue->most : 0),
      Workers(totals),
      Single("inferpool_worker_starts_total", "Worker processes started", MetricType::Counter,
             value(totals.worker_starts)),
      Ends(totals),
      Single("inferpool_workers_wanted", "Workers that the configuration asks for",
             MetricType::Gauge, value(totals.wanted_workers)),
      Single("inferpool_workers_backing_off", "Workers that wait to be started after a crash",
             MetricType::Gauge, value(totals.backing_off)),
      Single("inferpool_quarantined_inputs",
             "Pictures that are refused because they crashed a worker", MetricType::Gauge,
             value(totals.quarantined)),
      Single("inferpool_model_server_ready", "1 when a model server can be sent requests",
             MetricType::Gauge, health.model_server.ready ? 1 : 0),
      Cache(totals),
      Keys(totals),
      ModelServers(health),
      Single("inferpool_ready", "1 when /readyz answers 200", MetricType::Gauge,
             health.Ready() ? 1 : 0),
  });
}

}  // namespace inferpool::ops

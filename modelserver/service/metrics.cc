#include "modelserver/service/metrics.h"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>

#include <chrono>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/base/listen.h"
#include "shared/monitor/prometheus_text.h"

namespace inferpool::modelserver {
namespace {

using monitor::MetricFamily;

constexpr unsigned int kMaxConnections = 64;

// A model's version and what it has done.
struct Row {
  std::string name;
  std::string version;
  ModelStatistics::Values values;
  std::size_t pending = 0;

  monitor::Labels Labels() const { return {{"model", name}, {"version", version}}; }
};

std::vector<Row> Rows(const Repository& repository) {
  std::vector<Row> rows;
  for (const std::shared_ptr<Model>& model : repository.ReadyModels()) {
    rows.push_back({model->config().name(), std::to_string(model->version()), model->statistics(),
                    model->pending()});
  }
  return rows;
}

template <typename Value>
MetricFamily Filled(MetricFamily family, const std::vector<Row>& rows, Value value) {
  for (const Row& row : rows) {
    monitor::Add(family, row.Labels(), static_cast<double>(value(row)));
  }
  return family;
}

MetricFamily Failures(const std::vector<Row>& rows) {
  MetricFamily family =
      monitor::Counter("nv_inference_request_failure", "Number of failed inference requests");
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < kFailureReasonNames.size(); ++i) {
      monitor::Labels labels = row.Labels();
      labels.push_back({"reason", std::string(kFailureReasonNames[i])});
      monitor::Add(family, labels, static_cast<double>(row.values.failures[i]));
    }
  }
  return family;
}

double Micros(const Tally& tally) {
  return static_cast<double>(
      std::chrono::duration_cast<std::chrono::microseconds>(tally.time).count());
}

MetricFamily Histograms(const std::vector<Row>& rows, std::string name, std::string help,
                        Histogram ModelStatistics::Values::*member) {
  MetricFamily family = monitor::Histogram(std::move(name), std::move(help));
  for (const Row& row : rows) {
    const Histogram& histogram = row.values.*member;
    monitor::AddHistogram(family, row.Labels(), kHistogramBounds, histogram.counts,
                          histogram.sum_s);
  }
  return family;
}

monitor::HttpAnswer Answer(const Repository& repository, std::string_view path) {
  if (path != "/metrics") return {404, "{\"detail\":\"there is /metrics\"}\n"};
  return {200, Exposition(repository), monitor::kPrometheusContentType};
}

// The port that a bound socket has.
std::string PortOf(int listener) {
  sockaddr_storage address = {};
  socklen_t length = sizeof address;
  char port[NI_MAXSERV] = "";
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  getnameinfo(reinterpret_cast<sockaddr*>(&address), length, nullptr, 0, port, sizeof port,
              NI_NUMERICSERV);
  return port;
}

}  // namespace

std::string Exposition(const Repository& repository) {
  const std::vector<Row> rows = Rows(repository);
  using V = ModelStatistics::Values;
  const auto count = [&](const char* name, const char* help, auto value) {
    return Filled(monitor::Counter(name, help), rows,
                  [&](const Row& row) { return value(row.values); });
  };
  return monitor::PrometheusText({
      count("nv_inference_request_success", "Number of successful inference requests",
            [](const V& v) { return v.success.count; }),
      Failures(rows),
      count("nv_inference_count",
            "Number of inferences performed, the rows of batches counted each",
            [](const V& v) { return v.inferences; }),
      count("nv_inference_exec_count", "Number of model executions, one a batch",
            [](const V& v) { return v.executions; }),
      count("nv_inference_request_duration_us", "Time of successful requests, microseconds",
            [](const V& v) { return Micros(v.success); }),
      count("nv_inference_queue_duration_us", "Time that they waited for an instance",
            [](const V& v) { return Micros(v.queue); }),
      count("nv_inference_compute_input_duration_us", "Time in which their inputs were prepared",
            [](const V& v) { return Micros(v.compute_input); }),
      count("nv_inference_compute_infer_duration_us", "Time in which the model ran",
            [](const V& v) { return Micros(v.compute_infer); }),
      count("nv_inference_compute_output_duration_us", "Time in which their outputs were prepared",
            [](const V& v) { return Micros(v.compute_output); }),
      Filled(monitor::Gauge("nv_inference_pending_request_count",
                            "Requests that wait for an instance"),
             rows, [](const Row& row) { return row.pending; }),
      Histograms(rows, "inferpool_model_request_seconds", "Time of successful requests",
                 &V::request_s),
      Histograms(rows, "inferpool_model_queue_seconds", "Time that they waited for an instance",
                 &V::queue_s),
  });
}

absl::StatusOr<MetricsServer> MetricsServer::Start(const Repository& repository,
                                                   const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0) {
    return absl::InvalidArgumentError(fmt::format("'{}' is not host:port", address));
  }
  std::string host = address.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  ASSIGN_OR_RETURN(
      FileDescriptor listener,
      ListenTcp({.host = host, .port = address.substr(colon + 1), .backlog = kMaxConnections}));
  std::string bound = fmt::format("{}:{}", address.substr(0, colon), PortOf(listener.get()));
  ASSIGN_OR_RETURN(std::unique_ptr<monitor::HttpPort> port,
                   monitor::HttpPort::Start(
                       listener.get(), kMaxConnections,
                       [&repository](std::string_view path) { return Answer(repository, path); }));
  return MetricsServer(std::move(listener), std::move(port), std::move(bound));
}

}  // namespace inferpool::modelserver

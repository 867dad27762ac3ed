#include "modelserver/service/metrics.h"

#include <fmt/format.h>
#include <microhttpd.h>
#include <netdb.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/socket.h>

#include <chrono>
#include <limits>
#include <utility>
#include <vector>

#include "shared/base/listen.h"

namespace inferpool::modelserver {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr unsigned int kMaxConnections = 64;
constexpr unsigned int kConnectionTimeoutSeconds = 10;
constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";

// A model's version and what it has done.
struct Row {
  std::string name;
  std::string version;
  ModelStatistics::Values values;
  std::size_t pending = 0;

  std::vector<ClientMetric::Label> Labels() const {
    return {{"model", name}, {"version", version}};
  }
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
MetricFamily Family(const std::vector<Row>& rows, std::string name, std::string help,
                    MetricType type, Value value) {
  MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  for (const Row& row : rows) {
    ClientMetric metric;
    metric.label = row.Labels();
    (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) =
        static_cast<double>(value(row));
    family.metric.push_back(std::move(metric));
  }
  return family;
}

double Micros(const Tally& tally) {
  return static_cast<double>(
      std::chrono::duration_cast<std::chrono::microseconds>(tally.time).count());
}

MetricFamily Histograms(const std::vector<Row>& rows, std::string name, std::string help,
                        Histogram ModelStatistics::Values::*member) {
  MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = MetricType::Histogram;
  for (const Row& row : rows) {
    const Histogram& histogram = row.values.*member;
    ClientMetric metric;
    metric.label = row.Labels();
    std::uint64_t cumulative = 0;
    for (std::size_t i = 0; i < histogram.counts.size(); ++i) {
      cumulative += histogram.counts[i];
      metric.histogram.bucket.push_back(
          {cumulative, i < kHistogramBounds.size() ? kHistogramBounds[i]
                                                   : std::numeric_limits<double>::infinity()});
    }
    metric.histogram.sample_count = cumulative;
    metric.histogram.sample_sum = histogram.sum_s;
    family.metric.push_back(std::move(metric));
  }
  return family;
}

MHD_Result Handle(void* context, MHD_Connection* connection, const char* url, const char* method,
                  const char* /*version*/, const char* /*upload*/, std::size_t* upload_size,
                  void** /*state*/) {
  *upload_size = 0;
  unsigned int status = MHD_HTTP_OK;
  std::string body;
  try {
    if (std::string_view(method) != "GET" && std::string_view(method) != "HEAD") {
      status = MHD_HTTP_METHOD_NOT_ALLOWED;
      body = "only GET and HEAD are allowed\n";
    } else if (std::string_view(url) != "/metrics") {
      status = MHD_HTTP_NOT_FOUND;
      body = "there is /metrics\n";
    } else {
      body = Exposition(*static_cast<const Repository*>(context));
    }
  } catch (const std::exception&) {
    return MHD_NO;  // out of memory: the connection is closed
  }
  MHD_Response* response =
      MHD_create_response_from_buffer(body.size(), body.data(), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, "Content-Type", kContentType);
  const MHD_Result queued = MHD_queue_response(connection, status, response);
  MHD_destroy_response(response);
  return queued;
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
    return Family(rows, name, help, MetricType::Counter,
                  [&](const Row& row) { return value(row.values); });
  };
  return prometheus::TextSerializer().Serialize({
      count("nv_inference_request_success", "Number of successful inference requests",
            [](const V& v) { return v.success.count; }),
      count("nv_inference_request_failure", "Number of failed inference requests",
            [](const V& v) { return v.fail.count; }),
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
      Family(rows, "nv_inference_pending_request_count", "Requests that wait for an instance",
             MetricType::Gauge, [](const Row& row) { return row.pending; }),
      Histograms(rows, "inferpool_model_request_seconds", "Time of successful requests",
                 &V::request_s),
      Histograms(rows, "inferpool_model_queue_seconds", "Time that they waited for an instance",
                 &V::queue_s),
  });
}

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(const Repository& repository,
                                                                    const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0) {
    return absl::InvalidArgumentError(fmt::format("'{}' is not host:port", address));
  }
  std::string host = address.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  absl::StatusOr<FileDescriptor> listener =
      ListenTcp({.host = host, .port = address.substr(colon + 1), .backlog = kMaxConnections});
  RETURN_IF_ERROR(listener.status());
  const std::string bound = fmt::format("{}:{}", address.substr(0, colon), PortOf(listener->get()));
  MHD_Daemon* daemon =
      MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, nullptr, nullptr, &Handle,
                       const_cast<Repository*>(&repository), MHD_OPTION_LISTEN_SOCKET,
                       listener->get(), MHD_OPTION_CONNECTION_LIMIT, kMaxConnections,
                       MHD_OPTION_CONNECTION_TIMEOUT, kConnectionTimeoutSeconds, MHD_OPTION_END);
  if (daemon == nullptr) {
    return absl::UnavailableError("the metrics server cannot start");
  }
  static_cast<void>(listener->Release());  // the daemon's now
  return std::unique_ptr<MetricsServer>(new MetricsServer(daemon, bound));
}

MetricsServer::~MetricsServer() {
  MHD_stop_daemon(daemon_);
}

}  // namespace inferpool::modelserver

// Metrics as Prometheus text, format 0.0.4.
//
//   MetricFamily requests = Counter("inferpool_requests_total", "Requests answered, by status");
//   Add(requests, {{"status", "200"}}, 17);
//   const std::string text = PrometheusText({requests});
#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace inferpool::monitor {

using prometheus::MetricFamily;
using Labels = std::vector<prometheus::ClientMetric::Label>;

inline constexpr const char* kPrometheusContentType = "text/plain; version=0.0.4; charset=utf-8";

// A family without metrics.
MetricFamily Counter(std::string name, std::string help);
MetricFamily Gauge(std::string name, std::string help);
MetricFamily Histogram(std::string name, std::string help);

// Adds a metric to a family of counters or of gauges.
void Add(MetricFamily& family, Labels labels, double value);

// A family of one metric without labels.
MetricFamily Counter(std::string name, std::string help, double value);
MetricFamily Gauge(std::string name, std::string help, double value);

// Adds a metric to a family of histograms. `bounds` are the upper bounds of the buckets in rising
// order; `counts` are the observations per bucket, one more than there are bounds: the last bucket
// has no bound. `sum` is the sum of all observations.
void AddHistogram(MetricFamily& family, Labels labels, std::span<const double> bounds,
                  std::span<const std::uint64_t> counts, double sum);

std::string PrometheusText(const std::vector<MetricFamily>& families);

}  // namespace inferpool::monitor

#include "shared/monitor/prometheus_text.h"

#include <prometheus/text_serializer.h>

#include <limits>
#include <utility>

#include "shared/base/check.h"

namespace inferpool::monitor {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricType;

MetricFamily Family(std::string name, std::string help, MetricType type) {
  MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  return family;
}

MetricFamily WithOne(MetricFamily family, double value) {
  Add(family, {}, value);
  return family;
}

}  // namespace

MetricFamily Counter(std::string name, std::string help) {
  return Family(std::move(name), std::move(help), MetricType::Counter);
}

MetricFamily Gauge(std::string name, std::string help) {
  return Family(std::move(name), std::move(help), MetricType::Gauge);
}

MetricFamily Histogram(std::string name, std::string help) {
  return Family(std::move(name), std::move(help), MetricType::Histogram);
}

void Add(MetricFamily& family, Labels labels, double value) {
  CHECK(family.type == MetricType::Counter || family.type == MetricType::Gauge);
  ClientMetric metric;
  metric.label = std::move(labels);
  (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  family.metric.push_back(std::move(metric));
}

MetricFamily Counter(std::string name, std::string help, double value) {
  return WithOne(Counter(std::move(name), std::move(help)), value);
}

MetricFamily Gauge(std::string name, std::string help, double value) {
  return WithOne(Gauge(std::move(name), std::move(help)), value);
}

void AddHistogram(MetricFamily& family, Labels labels, std::span<const double> bounds,
                  std::span<const std::uint64_t> counts, double sum) {
  CHECK(family.type == MetricType::Histogram);
  CHECK(counts.size() == bounds.size() + 1);
  ClientMetric metric;
  metric.label = std::move(labels);
  std::uint64_t cumulative = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    cumulative += counts[i];
    metric.histogram.bucket.push_back(
        {cumulative, i < bounds.size() ? bounds[i] : std::numeric_limits<double>::infinity()});
  }
  metric.histogram.sample_count = cumulative;
  metric.histogram.sample_sum = sum;
  family.metric.push_back(std::move(metric));
}

std::string PrometheusText(const std::vector<MetricFamily>& families) {
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace inferpool::monitor

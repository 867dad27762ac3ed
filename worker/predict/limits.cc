#include "worker/predict/limits.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>

#include "shared/pictures/jpeg_scans.h"
#include "worker/http/output.h"

namespace inferpool::predict {
namespace {

// The types of the pictures that are decoded (vision::Format).
constexpr std::array<std::string_view, 4> kFormats = {"image/jpeg", "image/png", "image/webp",
                                                      "image/gif"};

// nginx's client_max_body_size where no picture is expected, and its large_client_header_buffers.
constexpr int kOtherBodyBytes = 64 << 10;
constexpr int kHeadLineBytes = 8 << 10;

// A number that is no limit when it is 0.
std::string NumberOrNull(std::int64_t number) {
  return number > 0 ? fmt::format("{}", number) : "null";
}

std::optional<std::array<std::int64_t, 3>> ParseEdge(std::string_view text) {
  std::array<std::int64_t, 3> numbers{};
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  for (std::int64_t& number : numbers) {
    if (&number != numbers.data()) {
      if (at == end || *at != ' ') return std::nullopt;
      ++at;
    }
    const auto [rest, error] = std::from_chars(at, end, number);
    if (error != std::errc()) return std::nullopt;
    at = rest;
  }
  if (at != end) return std::nullopt;
  return numbers;
}

std::string RateJson(const RateLimit& rate) {
  if (rate.per_s <= 0) return "null";
  return fmt::format(R"({{"requests_per_s":{},"burst":{}}})", rate.per_s, rate.burst);
}

std::string EdgeJson(std::string_view edge) {
  const auto numbers = ParseEdge(edge);
  if (!numbers) return "null";
  const auto& [rate, burst, connections] = *numbers;
  return fmt::format(R"({{"requests_per_s":{},"burst":{},"in_work":{}}})", NumberOrNull(rate),
                     rate > 0 ? NumberOrNull(burst + 1) : "null", NumberOrNull(connections));
}

std::string Quoted(std::string_view word) {
  return fmt::format("\"{}\"", word);
}

}  // namespace

fcgi::Response TellLimits(const http::Exchange& exchange, const http::Services& services) {
  const ApiKey* key = exchange.holder == nullptr ? nullptr : &exchange.holder->key;
  return http::Json(
      LimitsJson(services.config, key, exchange.request.Header("inferpool-edge-limits")));
}

std::string LimitsJson(const Config& config, const ApiKey* key, std::string_view edge) {
  std::vector<std::string> formats;
  for (const std::string_view format : kFormats) formats.push_back(Quoted(format));
  const std::string own = key == nullptr ? "null"
                                         : fmt::format(R"({{"rate":{},"priority":"{}"}})",
                                                       RateJson(key->rate), Name(key->priority));
  return fmt::format(
      R"({{"body_bytes":{},"other_body_bytes":{},"head_line_bytes":{},"pixels":{},"jpeg_scans":{},)"
      R"("batch_images":{},"max_detections":{},"tiles":{},"formats":[{}],"timeout_ms":{},)"
      R"("queue_ms":{},"key":{},"client":{}}})"
      "\n",
      std::int64_t{config.limits.body_mb} << 20, kOtherBodyBytes, kHeadLineBytes,
      config.limits.pixels, kMaxJpegScans, config.limits.batch_images,
      config.predict.max_detections, config.predict.tiles, fmt::join(formats, ","),
      std::int64_t{config.timeouts.request_s} * 1000, NumberOrNull(config.limits.queue_ms), own,
      EdgeJson(edge));
}

}  // namespace inferpool::predict

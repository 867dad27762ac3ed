#include "worker/http/stage_times.h"

#include <fmt/format.h>

#include <iterator>

namespace inferpool::http {
namespace {

double Milliseconds(StageTimes::Duration duration) {
  return static_cast<double>(duration.count()) / 1000;
}

}  // namespace

void StageTimes::Add(const StageTimes& part) {
  for (std::size_t i = 0; i < kStages; ++i) {
    if (part.stages_[i]) stages_[i] = stages_[i].value_or(Duration(0)) + *part.stages_[i];
  }
}

std::string StageTimes::Json() const {
  std::string json;
  for (std::size_t i = 0; i < kStages; ++i) {
    fmt::format_to(std::back_inserter(json), "{}\"{}\":{:.3f}", i == 0 ? '{' : ',', kStageNames[i],
                   Milliseconds(stages_[i].value_or(Duration(0))));
  }
  return json + "}";
}

std::string StageTimes::ServerTiming() const {
  std::string header;
  for (std::size_t i = 0; i < kStages; ++i) {
    if (!stages_[i]) continue;
    fmt::format_to(std::back_inserter(header), "{}{};dur={:.3f}", header.empty() ? "" : ", ",
                   kStageNames[i], Milliseconds(*stages_[i]));
  }
  return header;
}

}  // namespace inferpool::http

#include "worker/http/output.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <iterator>
#include <string>

#include "worker/http/header_text.h"

namespace inferpool::http {
namespace {

constexpr std::array kOutputs = {Output::kJson, Output::kJpeg, Output::kPng};

// How well a range of the header fits a type: 0 not at all, 3 exactly.
int Fit(std::string_view range, std::string_view type) {
  if (range == type) return 3;
  if (range == "*/*") return 1;
  const bool whole_kind = range.ends_with("/*");
  return whole_kind && type.starts_with(range.substr(0, range.size() - 1)) ? 2 : 0;
}

double Quality(std::string_view range) {
  const auto text = HeaderParameter(range, "q");
  if (!text) return 1;
  double quality = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), quality);
  if (error != std::errc() || !(quality >= 0 && quality <= 1)) return 0;
  return quality;
}

}  // namespace

std::string_view ContentType(Output output) {
  switch (output) {
    case Output::kJpeg:
      return "image/jpeg";
    case Output::kPng:
      return "image/png";
    case Output::kJson:
      break;
  }
  return "application/json";
}

std::vector<Output> Negotiate(std::string_view accept) {
  std::array<int, kOutputs.size()> fits{};
  std::array<double, kOutputs.size()> qualities{};
  while (!accept.empty()) {
    const std::string_view range = accept.substr(0, accept.find(','));
    accept.remove_prefix(std::min(range.size() + 1, accept.size()));
    const std::string type = MediaType(range);
    for (std::size_t i = 0; i < kOutputs.size(); ++i) {
      const int fit = Fit(type, ContentType(kOutputs[i]));
      if (fit <= fits[i]) continue;
      fits[i] = fit;
      qualities[i] = Quality(range);
    }
  }
  const auto quality = [&](Output output) { return qualities[static_cast<std::size_t>(output)]; };
  std::vector<Output> accepted;
  std::ranges::copy_if(kOutputs, std::back_inserter(accepted),
                       [&](Output output) { return quality(output) > 0; });
  std::ranges::stable_sort(accepted, std::ranges::greater(), quality);
  if (accepted.empty()) accepted.push_back(Output::kJson);
  return accepted;
}

}  // namespace inferpool::http

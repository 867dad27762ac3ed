#include "modelserver/config/ultralytics.h"

#include <charconv>
#include <cstddef>

namespace inferpool::modelserver {
namespace {

constexpr std::size_t kMaxSide = 65'535;

void SkipSpace(std::string_view& text) {
  const std::size_t start = text.find_first_not_of(" \t\r\n");
  text.remove_prefix(start == std::string_view::npos ? text.size() : start);
}

bool Take(std::string_view& text, char wanted) {
  SkipSpace(text);
  if (text.empty() || text.front() != wanted) {
    return false;
  }
  text.remove_prefix(1);
  return true;
}

bool TakeNumber(std::string_view& text, std::size_t& number) {
  SkipSpace(text);
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) {
    return false;
  }
  text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
  return true;
}

}  // namespace

std::optional<UltralyticsSize> ParseUltralyticsSize(std::string_view text) {
  std::size_t height = 0;
  std::size_t width = 0;
  if (!Take(text, '[') || !TakeNumber(text, height) || !Take(text, ',') ||
      !TakeNumber(text, width) || !Take(text, ']') || height < 1 || width < 1 ||
      height > kMaxSide || width > kMaxSide) {
    return std::nullopt;
  }
  return UltralyticsSize{static_cast<std::int64_t>(height), static_cast<std::int64_t>(width)};
}

bool SaysNms(std::string_view args) {
  constexpr std::string_view kKey = "'nms':";
  const std::size_t at = args.find(kKey);
  if (at == std::string_view::npos) {
    return false;
  }
  std::string_view value = args.substr(at + kKey.size());
  SkipSpace(value);
  return value.starts_with("True");
}

}  // namespace inferpool::modelserver

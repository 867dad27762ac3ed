#include "modelserver/config/ultralytics.h"

#include <fmt/format.h>

#include <charconv>
#include <map>

#include "shared/base/utf8.h"

namespace inferpool::modelserver {
namespace {

constexpr std::size_t kMaxClass = 9999;
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

// A quoted string; a backslash takes the next character as it is.
bool TakeString(std::string_view& text, std::string& value) {
  SkipSpace(text);
  if (text.empty() || (text.front() != '\'' && text.front() != '"')) {
    return false;
  }
  const char quote = text.front();
  value.clear();
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == quote) {
      text.remove_prefix(i + 1);
      return true;
    }
    if (text[i] == '\\' && i + 1 < text.size()) {
      ++i;
    }
    value += text[i] == '\n' ? ' ' : text[i];
  }
  return false;
}

}  // namespace

std::vector<std::string> ParseUltralyticsNames(std::string_view text) {
  std::map<std::size_t, std::string> names;
  if (!IsUtf8(text) || !Take(text, '{')) {
    return {};
  }
  while (!Take(text, '}')) {
    std::size_t number = 0;
    std::string name;
    if ((!names.empty() && !Take(text, ',')) || !TakeNumber(text, number) || number > kMaxClass ||
        !Take(text, ':') || !TakeString(text, name)) {
      return {};
    }
    names[number] = name;
  }
  std::vector<std::string> ordered;
  for (const auto& [number, name] : names) {
    while (ordered.size() < number) {
      ordered.push_back(fmt::format("{}", ordered.size()));
    }
    ordered.push_back(name);
  }
  return ordered;
}

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

}  // namespace inferpool::modelserver

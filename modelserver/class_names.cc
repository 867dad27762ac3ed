#include "modelserver/class_names.h"

#include <fmt/format.h>

#include <charconv>
#include <fstream>
#include <map>

#include "modelserver/config_file.h"
#include "shared/utf8.h"

namespace inferpool::modelserver {
namespace {

constexpr std::uintmax_t kMaxLabelsBytes = 1U << 20U;
constexpr std::size_t kMaxClass = 9999;

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

absl::StatusOr<std::vector<std::string>> ReadLabels(const std::filesystem::path& file) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  std::ifstream stream(file);
  if (error || !stream) {
    return absl::InvalidArgumentError(fmt::format("{}: cannot be read", file.string()));
  }
  if (size > kMaxLabelsBytes) {
    return absl::InvalidArgumentError(fmt::format("{}: larger than 1 MiB", file.string()));
  }
  std::vector<std::string> labels;
  for (std::string line; std::getline(stream, line);) {
    while (!line.empty() && line.back() == '\r') {
      line.pop_back();
    }
    labels.push_back(line);
    if (!IsUtf8(line)) {
      return absl::InvalidArgumentError(
          fmt::format("{}: line {} is not UTF-8", file.string(), labels.size()));
    }
  }
  while (!labels.empty() && labels.back().empty()) {
    labels.pop_back();
  }
  return labels;
}

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

absl::Status AddClassNames(const std::filesystem::path& model_folder,
                           const std::vector<std::string>& fallback,
                           inference::ModelConfig& config) {
  if (FindParameter(config, std::string(kClassNamesParameter)) != nullptr) {
    return absl::OkStatus();
  }
  std::filesystem::path file;
  for (const inference::ModelOutput& output : config.output()) {
    if (!output.label_filename().empty()) {
      file = output.label_filename();
      if (file.filename() != file || file == "..") {
        return absl::InvalidArgumentError(
            fmt::format("label_filename '{}' is not a plain file name", file.string()));
      }
      break;
    }
  }
  std::error_code error;
  if (file.empty() && std::filesystem::exists(model_folder / "labels.txt", error)) {
    file = "labels.txt";
  }
  std::vector<std::string> names = fallback;
  if (!file.empty()) {
    absl::StatusOr<std::vector<std::string>> labels = ReadLabels(model_folder / file);
    RETURN_IF_ERROR(labels.status());
    names = *std::move(labels);
  }
  if (!names.empty()) {
    (*config.mutable_parameters())[std::string(kClassNamesParameter)].set_string_value(
        fmt::format("{}", fmt::join(names, "\n")));
  }
  return absl::OkStatus();
}

}  // namespace inferpool::modelserver

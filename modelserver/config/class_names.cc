#include "modelserver/config/class_names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>

#include "modelserver/config/config_file.h"
#include "shared/base/ascii.h"
#include "shared/base/utf8.h"

namespace inferpool::modelserver {
namespace {

constexpr std::uintmax_t kMaxLabelsBytes = 1U << 20U;

std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// Without what nobody sees around a name.
std::string_view WithoutBlanks(std::string_view line) {
  // A no-break space, a zero width space, and a byte order mark.
  constexpr std::array<std::string_view, 3> kUnseen{"\xc2\xa0", "\xe2\x80\x8b", "\xef\xbb\xbf"};
  while (true) {
    line = Trim(line, " \t\v\f");
    const auto* found = std::ranges::find_if(
        kUnseen, [line](std::string_view unseen) { return line.ends_with(unseen); });
    if (found == kUnseen.end()) {
      return line;
    }
    line.remove_suffix(found->size());
  }
}

bool NamesFile(const inference::ModelOutput& output) {
  return !output.label_filename().empty();
}

absl::StatusOr<OutputLabels> ReadLabelFiles(const std::filesystem::path& model_folder,
                                            const inference::ModelConfig& config) {
  OutputLabels labels(static_cast<std::size_t>(config.output_size()));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const inference::ModelOutput& output = config.output(static_cast<int>(i));
    if (!NamesFile(output)) {
      continue;
    }
    const std::filesystem::path file = output.label_filename();
    if (file.filename() != file || file == "..") {
      return InvalidArgument("label_filename '{}' is not a plain file name", file.string());
    }
    ASSIGN_OR_RETURN(std::vector<std::string> read, ReadLabels(model_folder / file));
    labels[i] = std::move(read);
  }
  return labels;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ReadLabels(const std::filesystem::path& file) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  std::ifstream stream(file);
  if (error || !stream) {
    return InvalidArgument("{}: cannot be read", file.string());
  }
  if (size > kMaxLabelsBytes) {
    return InvalidArgument("{}: larger than 1 MiB", file.string());
  }
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  std::string_view rest = text;
  if (rest.starts_with("\xff\xfe") || rest.starts_with("\xfe\xff")) {
    return InvalidArgument("{}: is UTF-16; save it as UTF-8", file.string());
  }
  if (constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
      rest.starts_with(kByteOrderMark)) {
    rest.remove_prefix(kByteOrderMark.size());
  }
  std::vector<std::string> labels;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find_first_of("\r\n"));
    rest.remove_prefix(line.size());
    rest.remove_prefix(rest.starts_with("\r\n") ? 2 : rest.empty() ? 0 : 1);
    labels.emplace_back(WithoutBlanks(line));
    if (!IsUtf8(line) || line.find('\0') != std::string_view::npos) {
      return InvalidArgument("{}: line {} is not UTF-8", file.string(), labels.size());
    }
  }
  while (!labels.empty() && labels.back().empty()) {
    labels.pop_back();
  }
  return labels;
}

absl::StatusOr<OutputLabels> AddClassNames(const std::filesystem::path& model_folder,
                                           const std::vector<std::string>& fallback,
                                           inference::ModelConfig& config) {
  ASSIGN_OR_RETURN(OutputLabels labels, ReadLabelFiles(model_folder, config));
  const auto first = std::ranges::find_if(config.output(), NamesFile);
  const bool by_files = first != config.output().end();
  std::vector<std::string> names = fallback;
  std::error_code error;
  const std::string* given = FindParameter(config, std::string(kClassNamesParameter));
  if (given != nullptr) {
    names = Lines(*given);
  } else if (by_files) {
    names = labels[static_cast<std::size_t>(first - config.output().begin())];
  } else if (std::filesystem::exists(model_folder / "labels.txt", error)) {
    ASSIGN_OR_RETURN(std::vector<std::string> read, ReadLabels(model_folder / "labels.txt"));
    names = std::move(read);
  }
  if (given == nullptr && !names.empty()) {
    for (std::string& name : names) {
      std::ranges::replace(name, '\n', ' ');
    }
    (*config.mutable_parameters())[std::string(kClassNamesParameter)].set_string_value(
        fmt::format("{}", fmt::join(names, "\n")));
  }
  if (labels.size() == 1 && !by_files) {
    labels.front() = std::move(names);
  }
  return labels;
}

}  // namespace inferpool::modelserver

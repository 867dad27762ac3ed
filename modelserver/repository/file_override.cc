#include "modelserver/repository/file_override.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <string_view>
#include <system_error>

#include "modelserver/repository/model_folder.h"

namespace inferpool::modelserver {
namespace {

constexpr std::size_t kMaxDepth = 8;
constexpr std::size_t kMaxNameBytes = 255;

bool IsPlain(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && name.front() != '.' &&
         std::ranges::none_of(name, [](char c) {
           return c == '\\' || std::iscntrl(static_cast<unsigned char>(c)) != 0;
         });
}

bool IsVersionedPath(std::string_view path) {
  std::size_t depth = 0;
  for (std::string_view rest = path;; ++depth) {
    const std::size_t slash = rest.find('/');
    const std::string_view name = rest.substr(0, slash);
    const auto version = depth == 0 ? ParseVersion(name) : std::nullopt;
    if (depth == 0 ? !version || std::to_string(*version) != name : !IsPlain(name)) {
      return false;
    }
    if (slash == std::string_view::npos) {
      return depth >= 1 && depth < kMaxDepth;
    }
    rest.remove_prefix(slash + 1);
  }
}

absl::Status Check(const OverrideFiles& files) {
  if (files.size() > kMaxOverrideFiles) {
    return InvalidArgument("{} files, {} is the most", files.size(), kMaxOverrideFiles);
  }
  std::size_t bytes = 0;
  for (const auto& [path, content] : files) {
    if (!IsVersionedPath(path)) {
      return InvalidArgument("the file '{}' is not named <version>/<name>", path.substr(0, 100));
    }
    bytes += content.size();
  }
  if (bytes > kMaxOverrideBytes) {
    return InvalidArgument("the files have {} bytes, {} is the most", bytes, kMaxOverrideBytes);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileOverride>> FileOverride::Write(const OverrideFiles& files) {
  RETURN_IF_ERROR(Check(files));
  std::error_code error;
  std::string name = std::filesystem::temp_directory_path(error) / "inferpool-model-XXXXXX";
  if (error || mkdtemp(name.data()) == nullptr) {
    return absl::InternalError(
        fmt::format("there is no folder for temporary files: {}",
                    error ? error.message() : std::generic_category().message(errno)));
  }
  std::unique_ptr<FileOverride> made(new FileOverride(name));
  for (const auto& [path, content] : files) {
    const std::filesystem::path file = made->folder_ / path;
    std::filesystem::create_directories(file.parent_path(), error);
    std::ofstream stream(file, std::ios::binary);
    stream.write(content.data(), static_cast<std::streamsize>(content.size()));
    stream.close();
    if (error || !stream) {
      return absl::InternalError(fmt::format("the file '{}' cannot be written", path));
    }
  }
  return made;
}

FileOverride::~FileOverride() {
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
}

}  // namespace inferpool::modelserver

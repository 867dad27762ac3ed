#include "modelserver/repository/model_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "modelserver/config/config_check.h"
#include "modelserver/config/config_file.h"
#include "modelserver/engines/backends.h"
#include "shared/base/log.h"
#include "shared/base/utf8.h"

namespace inferpool::modelserver {
namespace {

constexpr std::size_t kMaxVersions = 1000;
constexpr std::size_t kMaxFiles = 10'000;
constexpr int kMaxDepth = 8;

// The hashes of a folder's files are summed, because files are found in any order. A file that was
// removed after it was listed counts with zeros.
Fingerprint HashOf(const std::filesystem::path& path, const std::string& name) {
  struct stat status {};
  stat(path.c_str(), &status);
  const std::array<std::int64_t, 7> facts{
      static_cast<std::int64_t>(status.st_ino), static_cast<std::int64_t>(status.st_dev),
      S_ISDIR(status.st_mode) ? 0 : status.st_size,
      // A folder's own times change with hidden files.
      S_ISDIR(status.st_mode) ? 0 : status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec,
      S_ISDIR(status.st_mode) ? 0 : status.st_ctim.tv_sec * 1'000'000'000 + status.st_ctim.tv_nsec,
      static_cast<std::int64_t>(status.st_mode), static_cast<std::int64_t>(name.size())};
  return XXH3_64bits_withSeed(name.data(), name.size(), XXH3_64bits(facts.data(), sizeof facts));
}

// Warns in the log of specific versions in the policy that are not in `versions`, which is sorted.
void WarnOfMissing(const inference::ModelConfig& config,
                   const std::vector<std::int64_t>& versions) {
  constexpr std::size_t kMaxNamed = 10;
  std::vector<std::int64_t> missing;
  for (const std::int64_t version : config.version_policy().specific().versions()) {
    if (missing.size() < kMaxNamed && !std::ranges::binary_search(versions, version)) {
      missing.push_back(version);
    }
  }
  if (!missing.empty()) {
    log::Warning(
        "version_policy names versions without a folder",
        {{"model", config.name()}, {"versions", fmt::format("{}", fmt::join(missing, ", "))}});
  }
}

// Whether a message, a path and a line of the log can carry the name.
bool CanBeSaid(const std::string& name) {
  const auto is_control = [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; };
  return IsUtf8(name) && std::ranges::none_of(name, is_control);
}

}  // namespace

std::optional<std::int64_t> ParseVersion(std::string_view text) {
  std::int64_t version = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc() || rest != text.data() + text.size() || version < 1) {
    return std::nullopt;
  }
  return version;
}

absl::StatusOr<std::vector<std::string>> SubFolders(const std::filesystem::path& folder,
                                                    std::size_t max_folders,
                                                    std::vector<std::string>* skipped) {
  std::vector<std::string> names;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(folder, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    std::string name = entry->path().filename().string();
    std::error_code unreadable;
    if (entry->is_directory(unreadable) &&
        (name.front() != '.' ||
         std::filesystem::exists(entry->path() / "config.pbtxt", unreadable))) {
      names.push_back(std::move(name));
    }
  }
  if (error) {
    return InvalidArgument("{}: {}", folder.string(), error.message());
  }
  if (names.size() > max_folders) {
    return InvalidArgument("{}: has {} folders, {} is the most", folder.string(), names.size(),
                           max_folders);
  }
  std::ranges::sort(names);
  const auto bad = std::stable_partition(names.begin(), names.end(), CanBeSaid);
  if (skipped != nullptr) {
    skipped->insert(skipped->end(), bad, names.end());
  }
  names.erase(bad, names.end());
  return names;
}

absl::StatusOr<std::vector<std::int64_t>> VersionsToLoad(const std::filesystem::path& folder,
                                                         const inference::ModelConfig& config) {
  ASSIGN_OR_RETURN(const std::vector<std::string> folders, SubFolders(folder, kMaxVersions));
  std::vector<std::int64_t> available;
  for (const std::string& version : folders) {
    // "01" is not a version, because its folder would not be found by its number.
    if (const auto number = ParseVersion(version); number && std::to_string(*number) == version) {
      available.push_back(*number);
    }
  }
  bool needs_folder = false;
  if (!IsEnsemble(config)) {
    ASSIGN_OR_RETURN(const Backend* backend, FindBackend(config));
    needs_folder = backend->needs_version_folder;
  }
  if (available.empty() && !needs_folder) {
    available.push_back(1);
  }
  ASSIGN_OR_RETURN(std::vector<std::int64_t> versions,
                   ChooseVersions(config.version_policy(), std::move(available)));
  if (versions.empty()) {
    return InvalidArgument("{}: there is no version folder (1, 2, ...)", folder.string());
  }
  WarnOfMissing(config, versions);
  return versions;
}

std::optional<Fingerprint> FingerprintOf(const std::filesystem::path& folder) {
  using Walk = std::filesystem::recursive_directory_iterator;
  constexpr auto kOptions = std::filesystem::directory_options::follow_directory_symlink |
                            std::filesystem::directory_options::skip_permission_denied;
  std::error_code error;
  Walk entry(folder, kOptions, error);
  if (error) {
    return std::nullopt;
  }
  Fingerprint sum = HashOf(folder, "");
  std::size_t files = 0;
  // A file that is removed during the walk ends it. The next look sees what is there then.
  for (; !error && entry != Walk(); entry.increment(error)) {
    if (entry->path().filename().string().front() == '.') {
      entry.disable_recursion_pending();
      continue;
    }
    if (++files > kMaxFiles) {
      break;
    }
    sum += HashOf(entry->path(), entry->path().string());
    if (entry.depth() + 1 >= kMaxDepth) {
      entry.disable_recursion_pending();
    }
  }
  return sum;
}

}  // namespace inferpool::modelserver

// A model's folder on disk: what of it is to be loaded, and whether it has changed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// A version folder's number, from 1 on; nothing for other names.
std::optional<std::int64_t> ParseVersion(std::string_view text);

// The names of the folders in `folder`, sorted, without hidden ones and those whose names are not
// UTF-8, which no message can carry; these are added to `skipped` unless it is null. Error:
// INVALID_ARGUMENT when it cannot be read, or there are over `max_folders`, skipped or not.
absl::StatusOr<std::vector<std::string>> SubFolders(const std::filesystem::path& folder,
                                                    std::size_t max_folders,
                                                    std::vector<std::string>* skipped = nullptr);

// The versions of `folder` that `config` asks for, ascending, at least one: those of the version
// policy, with a warning in the log when it names others too; 1 when the model has no version
// folder and needs none. Error: INVALID_ARGUMENT.
absl::StatusOr<std::vector<std::int64_t>> VersionsToLoad(const std::filesystem::path& folder,
                                                         const inference::ModelConfig& config);

// Tells one state of a folder from another: its files' names, sizes, times and inodes, at any
// depth to 8, without hidden ones, 10,000 at most. Contents are not read.
using Fingerprint = std::uint64_t;

// Nothing when `folder` is no folder.
std::optional<Fingerprint> FingerprintOf(const std::filesystem::path& folder);

// What to do about a model whose folder is looked at from time to time. A change is acted upon when
// two looks in a row agree, so a copy that is under way is left alone, and one that changes while
// it is loaded is loaded again.
class FolderWatch {
 public:
  enum class Change { kNone, kLoad, kUnload };

  // The state that is loaded, or has failed to; nothing: the folder is not there.
  void Acted(std::optional<Fingerprint> state) { acted_ = seen_ = state; }
  std::optional<Fingerprint> acted() const { return acted_; }

  Change Look(std::optional<Fingerprint> now) {
    const bool unchanged = now == seen_;
    seen_ = now;
    if (now == acted_ || !unchanged) {
      return Change::kNone;
    }
    acted_ = now;
    return now ? Change::kLoad : Change::kUnload;
  }

 private:
  std::optional<Fingerprint> acted_;
  std::optional<Fingerprint> seen_;
};

}  // namespace inferpool::modelserver

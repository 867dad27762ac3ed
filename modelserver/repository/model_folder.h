// Looks at a model's folder on disk: which versions are to be loaded, and whether it has changed.
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

// The number of a version folder, at least 1; nullopt when `text` is not such a number.
std::optional<std::int64_t> ParseVersion(std::string_view text);

// The names of the folders in `folder`, sorted. Hidden ones (with a leading dot) are left out
// unless they have a config.pbtxt: a repository may also be a checkout, or a mounted volume. Names
// that are not UTF-8 or have control characters are left out, because no message or path can carry
// them, and added to `skipped` unless it is null. INVALID_ARGUMENT when `folder` cannot be read or
// has more than `max_folders`, skipped ones included.
absl::StatusOr<std::vector<std::string>> SubFolders(const std::filesystem::path& folder,
                                                    std::size_t max_folders,
                                                    std::vector<std::string>* skipped = nullptr);

// The versions in `folder` that the version policy of `config` serves, in ascending order; 1 when
// there is no version folder and the model needs none. Writes a warning to the log when the policy
// names versions that have no folder. INVALID_ARGUMENT when there is no version to load.
absl::StatusOr<std::vector<std::int64_t>> VersionsToLoad(const std::filesystem::path& folder,
                                                         const inference::ModelConfig& config);

// A hash by which one state of a folder is told from another. It covers the names, sizes, times and
// inodes of the first 10,000 files that are not hidden, down to a depth of 8, and not their
// contents.
using Fingerprint = std::uint64_t;

// The fingerprint of `folder`; nullopt when it is not a folder.
std::optional<Fingerprint> FingerprintOf(const std::filesystem::path& folder);

// Decides what to do about a model whose folder is looked at from time to time. A change counts
// when two looks in a row see the same state, so that files that are still being copied are left
// alone. A model that changes while it is loaded is loaded again.
class FolderWatch {
 public:
  enum class Change { kNone, kLoad, kUnload };

  // Tells that the model was loaded in that state, or has failed to; nullopt when the folder is
  // gone.
  void Acted(std::optional<Fingerprint> state) { acted_ = seen_ = state; }
  std::optional<Fingerprint> acted() const { return acted_; }

  // Takes a look's state, nullopt when the folder is gone, and returns what is to be done now.
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

// Keeps the files that a load request brings along in place of the repository's.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "shared/base/status.h"

namespace inferpool::modelserver {

// The files' bytes by "<version>/<name>", which is what follows "file:" in the request's
// parameters.
using OverrideFiles = std::map<std::string, std::string>;

inline constexpr std::size_t kMaxOverrideFiles = 1000;
inline constexpr std::size_t kMaxOverrideBytes = std::size_t{256} << 20U;

// A private temporary folder (mode 0700) that has those files. The destructor removes it with all
// that is in it.
class FileOverride {
 public:
  // Writes the files. INVALID_ARGUMENT when a name is not <version>/<name> with a version of at
  // least 1, when a part of a name is "..", hidden or has control characters, when folders are
  // nested more than 8 deep, or when a limit above is exceeded. INTERNAL when a file cannot be
  // written.
  static absl::StatusOr<std::unique_ptr<FileOverride>> Write(const OverrideFiles& files);

  ~FileOverride();
  FileOverride(const FileOverride&) = delete;
  FileOverride& operator=(const FileOverride&) = delete;

  const std::filesystem::path& folder() const { return folder_; }

 private:
  explicit FileOverride(std::filesystem::path folder) : folder_(std::move(folder)) {}

  const std::filesystem::path folder_;
};

}  // namespace inferpool::modelserver

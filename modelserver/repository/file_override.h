// The files that a load request brings along, in place of those of the repository.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "shared/base/status.h"

namespace inferpool::modelserver {

// "<version>/<name>" (what follows "file:" in the request's parameters) and the file's bytes.
using OverrideFiles = std::map<std::string, std::string>;

inline constexpr std::size_t kMaxOverrideFiles = 1000;
inline constexpr std::size_t kMaxOverrideBytes = std::size_t{256} << 20U;

// A private temporary folder (mode 0700) with those files in it, removed with everything in it at
// the end of its life.
class FileOverride {
 public:
  // Error: INVALID_ARGUMENT for a name that is not <version>/<name> with a version from 1 on and
  // plain names (no "..", nothing hidden, at most 8 deep), and past the bounds above; INTERNAL when
  // a file cannot be written.
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

// Pictures out of the files of a folder, in the order of their names.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "ops/feeder/picture_source.h"

namespace inferpool::feeder {

class FolderSource final : public PictureSource {
 public:
  // Lists the files that are named .jpg, .jpeg, .png or .webp, in whatever case. `settings` and
  // `watchdog` must live as long as the source.
  static absl::StatusOr<std::unique_ptr<FolderSource>> Open(const SourceSettings& settings,
                                                            Watchdog& watchdog, bool again);

  bool live() const override { return false; }

  // Files go on unchanged, but for those that are too wide, or where pixels are asked for. Files
  // that cannot be read are left out, and the log says so, but not `again`.
  absl::StatusOr<bool> Read(const Wanted& wanted, std::string& picture) override;
  PictureSize raw_size() const override { return raw_size_; }

 private:
  FolderSource(const SourceSettings& settings, Watchdog& watchdog, bool again)
      : settings_(settings), watchdog_(watchdog), again_(again) {}

  absl::Status ReadFile(const std::string& path, std::string& picture);

  const SourceSettings& settings_;
  Watchdog& watchdog_;
  const bool again_;
  std::vector<std::string> paths_;
  std::size_t next_ = 0;
  PictureSize raw_size_;
};

}  // namespace inferpool::feeder

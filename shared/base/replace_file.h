// Replaces a file at once, so that nobody ever reads half of it.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>

#include "shared/base/status.h"

namespace inferpool {

struct ReplaceOptions {
  mode_t mode = 0640;
  bool durable = false;  // true: the file is on the disk when the call returns
  // Sets further rights of the new file while it is empty. Empty: there is only the mode.
  std::function<absl::Status(int fd)> set_rights = {};
};

// Writes `text` to a new file beside `path` and renames that to `path`. A link at `path` is
// replaced, not followed. INTERNAL says why it failed; then `path` is unchanged and the new file is
// gone. Two calls for one `path` must not run at the same time.
absl::Status ReplaceFile(const std::string& path, std::string_view text,
                         const ReplaceOptions& options = {});

}  // namespace inferpool

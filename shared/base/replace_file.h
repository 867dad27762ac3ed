// Writing a file so that nobody ever sees half of it.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>

#include "shared/base/status.h"

namespace inferpool {

struct ReplaceOptions {
  mode_t mode = 0640;
  bool durable = false;  // on the disk, too, when the call returns
  // Sets further rights of the new file before anything is in it; none: only the mode.
  std::function<absl::Status(int fd)> set_rights = {};
};

// Writes `text` beside `path`, under a fresh name, and renames it: a link at `path` is replaced and
// not followed. When that fails, `path` is as it was and nothing lies beside it; INTERNAL says why.
// Callers for one `path` must not run at the same time.
absl::Status ReplaceFile(const std::string& path, std::string_view text,
                         const ReplaceOptions& options = {});

}  // namespace inferpool

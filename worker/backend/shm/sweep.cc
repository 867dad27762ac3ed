#include "worker/backend/shm/sweep.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

#include "shared/base/file_descriptor.h"
#include "shared/base/log.h"
#include "worker/backend/shm/arena.h"

namespace inferpool::backend {
namespace {

std::vector<std::string> Names(std::string_view prefix) {
  constexpr std::size_t kGenerationDigits = 16;
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator entry(SegmentPath(""), error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    std::string name = entry->path().filename();
    if (name.starts_with(prefix) && name.size() == prefix.size() + kGenerationDigits &&
        name.find_first_not_of("0123456789abcdef", prefix.size()) == std::string::npos) {
      names.push_back(std::move(name));
    }
  }
  return names;
}

}  // namespace

Swept SweepSegments(std::string_view domain,
                    const std::function<absl::Status(const std::string& name)>& unregister,
                    Deadline deadline) {
  Swept swept;
  for (const std::string& name : Names(SegmentPrefix(domain))) {
    const std::string path = SegmentPath(name);
    const FileDescriptor file(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file) {
      if (errno != ENOENT) ++swept.left;  // ENOENT: another sweep was first
      continue;
    }
    if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
      ++swept.in_use;
      continue;
    }
    // Another sweep may have unlinked it since it was listed; no other file ever has the name.
    if (access(path.c_str(), F_OK) != 0) continue;
    if (deadline.Expired(Clock::now()) || !unregister(name).ok()) {
      ++swept.left;
      continue;
    }
    if (unlink(path.c_str()) == 0) {
      ++swept.removed;
    } else {
      ++swept.left;
      log::Warning("cannot remove shared memory",
                   {{"path", path}, {"reason", std::generic_category().message(errno)}});
    }
  }
  return swept;
}

}  // namespace inferpool::backend

#include "ops/cli/open_scoreboard.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "fcgi/pool/pid_file.h"
#include "shared/base/file_descriptor.h"

namespace inferpool::ops {

absl::StatusOr<Scoreboard> OpenScoreboard(const std::string& state) {
  const auto master = fcgi::FindMaster(state);
  if (!master.ok()) return master.status();
  std::error_code error;
  const std::string folder = fmt::format("/proc/{}/fd", *master);
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    std::error_code unreadable;
    const std::string target = std::filesystem::read_symlink(entry.path(), unreadable);
    if (!target.starts_with("/memfd:inferpool-scoreboard")) continue;
    FileDescriptor file(open(entry.path().c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) break;
    return Scoreboard::Open(std::move(file), Scoreboard::Access::kRead);
  }
  if (error == std::errc::permission_denied) {
    return absl::PermissionDeniedError(
        fmt::format("the pool in {} is another user's: run this as that user or as root", state));
  }
  return absl::UnavailableError(fmt::format("the master in {} has gone", state));
}

}  // namespace inferpool::ops

#include "ops/cli/memory_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

namespace inferpool::ops {
namespace {

// nginx's workers may pass through it and not list it; what nginx makes in it is theirs alone.
constexpr mode_t kMode = 0711;

std::string PathOf(const Config& config, const std::string& shared_memory) {
  struct stat state {};
  if (config.nginx.temporary_files == "disk" || stat(config.state.c_str(), &state) != 0) return "";
  return fmt::format("{}/inferpool-nginx-{:x}-{:x}", shared_memory, state.st_dev, state.st_ino);
}

bool HasRoom(const std::string& shared_memory) {
  struct statfs info {};
  return statfs(shared_memory.c_str(), &info) == 0 && info.f_type == TMPFS_MAGIC &&
         info.f_bavail * static_cast<unsigned long>(info.f_bsize) >= kMinMemoryBytes;
}

// All may make folders beside it, so a link or a folder of another user may have its name. Root's
// is only for whom may make files in it.
bool IsOurs(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) &&
         (info.st_uid == geteuid() || info.st_uid == 0) && (info.st_mode & 0022U) == 0 &&
         faccessat(AT_FDCWD, path.c_str(), W_OK | X_OK, AT_EACCESS) == 0;
}

}  // namespace

void MakeMemoryFolder(const Config& config, const std::string& shared_memory) {
  const std::string path = PathOf(config, shared_memory);
  if (path.empty() || !HasRoom(shared_memory)) return;
  if (mkdir(path.c_str(), S_IRWXU) == 0) chmod(path.c_str(), kMode);
}

std::string TemporaryFolder(const Config& config, const std::string& shared_memory) {
  std::string path = PathOf(config, shared_memory);
  return !path.empty() && IsOurs(path) ? path : "tmp";
}

}  // namespace inferpool::ops

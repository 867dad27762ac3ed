#include "ops/cli/state_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "ops/cli/memory_folder.h"
#include "ops/cli/nginx_config.h"
#include "shared/base/file_descriptor.h"
#include "shared/base/replace_file.h"

namespace inferpool::ops {
namespace {

constexpr mode_t kMode = 0750;
constexpr mode_t kOthersWrite = S_IWGRP | S_IWOTH;
// A start writes some 50 KB, and logs grow from the first second on.
constexpr std::uintmax_t kMinRoomBytes = std::uintmax_t{256} << 10;

absl::Status Failed(std::string_view what, const std::string& path) {
  return absl::InternalError(
      fmt::format("cannot {} {}: {}", what, path, std::generic_category().message(errno)));
}

std::string NameOf(uid_t user) {
  const passwd* entry = getpwuid(user);  // NOLINT(concurrency-mt-unsafe): one thread
  return entry == nullptr ? fmt::format("user {}", user) : entry->pw_name;
}

bool IsTrusted(uid_t user) {
  return user == geteuid() || user == 0;
}

absl::Status CheckLink(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0 || !S_ISLNK(info.st_mode) || IsTrusted(info.st_uid)) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(fmt::format(
      "the state folder {} is a symbolic link of {}: name the folder that is meant, or another one",
      path, NameOf(info.st_uid)));
}

// Whether the user owns a folder above our program, and could have root run another one: nothing is
// gained by keeping root out of their folders then, such as `sudo ops/run` in their checkout.
bool HasOurProgram(uid_t user) {
  std::error_code error;
  auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  while (path.has_relative_path()) {
    path = path.parent_path();
    struct stat info {};
    if (stat(path.c_str(), &info) == 0 && info.st_uid == user) return true;
  }
  return false;
}

// Whoever may rename a folder above ours can put another one in its place. Groups are the business
// of the folder's owner. So is a folder of root's when we are not root: Kubernetes makes an
// emptyDir that everybody may write to, and leaves no choice but a folder in it.
absl::Status CheckFolderAbove(const std::string& path, const std::string& state) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return absl::OkStatus();  // it will be ours
  const bool is_root = geteuid() == 0;
  if (is_root && info.st_uid != 0 && !HasOurProgram(info.st_uid)) {
    return absl::FailedPreconditionError(fmt::format(
        "the state folder {} is in {}, which belongs to {}, who could put another one in its "
        "place: choose one where only root may write, such as /var/lib/inferpool (ops/run "
        "--state), or start inferpool as {}",
        state, path, NameOf(info.st_uid), NameOf(info.st_uid)));
  }
  const bool open_to_all = (info.st_mode & S_IWOTH) != 0 && (info.st_mode & S_ISVTX) == 0;
  if (open_to_all && (is_root || info.st_uid != 0)) {
    return absl::FailedPreconditionError(
        fmt::format("the state folder {} is in {}, which is writable to others (mode {:04o}): "
                    "chmod o-w that, or choose another state folder",
                    state, path, info.st_mode & 07777U));
  }
  return absl::OkStatus();
}

// By the names that lead there, and by those that links in them stand for.
absl::Status CheckFoldersAbove(const std::string& state) {
  namespace fs = std::filesystem;
  std::error_code error;
  for (const fs::path& name : {fs::absolute(state, error), fs::weakly_canonical(state, error)}) {
    for (fs::path path = name; path.has_relative_path();) {
      path = path.parent_path();
      RETURN_IF_ERROR(CheckFolderAbove(path, state));
    }
  }
  return absl::OkStatus();
}

// Of an open folder, so that nobody can put another one in its place meanwhile.
absl::Status CheckRights(int folder, const std::string& path) {
  struct stat info {};
  if (fstat(folder, &info) != 0) return Failed("look at", path);
  if (!IsTrusted(info.st_uid)) {
    return absl::FailedPreconditionError(fmt::format(
        "the folder {} belongs to {}, not to {}: start inferpool as that user, or choose another "
        "state folder",
        path, NameOf(info.st_uid), NameOf(geteuid())));
  }
  // Which group may write to a folder of root's, such as the volume of a container whose user is
  // another one, is root's decision.
  const mode_t others = info.st_uid == geteuid() ? kOthersWrite : S_IWOTH;
  if ((info.st_mode & others) != 0) {
    return absl::FailedPreconditionError(
        fmt::format("the folder {} is writable to others (mode {:04o}): chmod go-w it, or choose "
                    "another state folder",
                    path, info.st_mode & 07777U));
  }
  return absl::OkStatus();
}

absl::StatusOr<FileDescriptor> MakeFolder(const std::string& path, int flags) {
  if (mkdir(path.c_str(), kMode) != 0 && errno != EEXIST) return Failed("make the folder", path);
  FileDescriptor folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags));
  if (!folder) return Failed("open the folder", path);
  RETURN_IF_ERROR(CheckRights(folder.get(), path));
  return folder;
}

// Programs that open the logs by name, such as nginx, would follow links.
absl::Status CheckNoLinks(const std::string& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    std::error_code unreadable;
    if (entry.is_symlink(unreadable)) {
      return absl::FailedPreconditionError(fmt::format(
          "{} is a symbolic link, which a log must not be: remove it", entry.path().string()));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckRoom(const std::string& state) {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(state, error);
  if (error || space.available >= kMinRoomBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      fmt::format("the disk of the state folder {} is full ({} KB free): make room, or choose "
                  "another state folder",
                  state, space.available / 1024));
}

absl::Status PrepareFolders(const Config& config) {
  RETURN_IF_ERROR(MakeStateFolder(config.state));
  RETURN_IF_ERROR(CheckRoom(config.state));
  for (const std::string_view name : {"logs", "tmp", "tls"}) {
    RETURN_IF_ERROR(MakeFolder(fmt::format("{}/{}", config.state, name), O_NOFOLLOW).status());
  }
  RETURN_IF_ERROR(CheckNoLinks(config.state + "/logs"));
  MakeMemoryFolder(config);
  return ReplaceFile(config.state + "/nginx.conf", NginxConfig(config, ThisHost(config)));
}

// The folder stays ours; the group may look into it. One that is not there is nobody's.
bool LetIn(const std::string& path, gid_t group) {
  const FileDescriptor folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat info {};
  if (!folder) return errno == ENOENT;
  if (fstat(folder.get(), &info) != 0) return false;
  if ((info.st_mode & S_IXOTH) != 0) return true;
  return fchown(folder.get(), static_cast<uid_t>(-1), group) == 0 &&
         fchmod(folder.get(), (info.st_mode & kMode) | S_IXGRP) == 0;
}

}  // namespace

absl::Status MakeStateFolder(const std::string& path) {
  // With a slash at its end, a link would be looked through.
  const std::string state = path.substr(0, path.find_last_not_of('/') + 1);
  RETURN_IF_ERROR(CheckLink(state));
  RETURN_IF_ERROR(CheckFoldersAbove(state));
  std::error_code error;
  // Whatever the mask: the next start would refuse what others may write to.
  const mode_t mask = umask(kOthersWrite);
  umask(mask | kOthersWrite);
  std::filesystem::create_directories(std::filesystem::path(state).parent_path(), error);
  umask(mask);
  if (error) {
    return absl::InternalError(
        fmt::format("cannot make the state folder {}: {}", state, error.message()));
  }
  return MakeFolder(state, 0).status();
}

int Prepare(const Config& config) {
  if (const absl::Status status = PrepareFolders(config); !status.ok()) {
    fmt::print(stderr, "inferpool: {}\n", Message(status));
    return EXIT_FAILURE;
  }
  if (geteuid() == 0 && config.user.empty()) {
    fmt::print(stderr, "inferpool: warning: {}\n", kRunsAsRoot);
  }
  return EXIT_SUCCESS;
}

absl::Status GiveTo(const fcgi::Identity& identity, const Config& config) {
  const auto failed = [&](const std::string& path) {
    return absl::InternalError(fmt::format("cannot give {} to {}: {}", path, identity.name,
                                           std::generic_category().message(errno)));
  };
  for (const char* name : {"", "/logs", "/tmp"}) {
    const std::string path = config.state + name;
    if (!LetIn(path, identity.group)) return failed(path);
  }
  const std::string folder = config.state + "/children";
  mkdir(folder.c_str(), kMode);
  for (const std::string& path : {folder, config.listen.socket}) {
    if (IsTcp(path)) continue;
    // Never through a link: what is in children/ is theirs.
    if (lchown(path.c_str(), identity.user, identity.group) != 0 && errno != ENOENT) {
      return failed(path);
    }
  }
  if (!config.log.file.empty() && fchown(STDERR_FILENO, identity.user, identity.group) != 0) {
    return failed(config.log.file);
  }
  return absl::OkStatus();
}

}  // namespace inferpool::ops

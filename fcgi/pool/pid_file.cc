#include "fcgi/pool/pid_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>

namespace inferpool::fcgi {
namespace {

// A link would lead elsewhere, and a FIFO would keep us waiting.
constexpr int kOpenFlags = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
constexpr mode_t kMode = 0640;

absl::Status Failed(std::string_view what, const std::string& path, int error) {
  return absl::InternalError(
      error == ELOOP
          ? fmt::format("cannot {} {}: it is a symbolic link; remove it", what, path)
          : fmt::format("cannot {} {}: {}", what, path, std::generic_category().message(error)));
}

// A lock of the open file, not of the process: it survives execve(), and others can ask for it
// without taking it for a moment, as flock() would have them do.
struct flock WholeFile(short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

bool IsLocked(int file) {
  struct flock lock = WholeFile(F_RDLCK);
  return fcntl(file, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool IsAt(const std::string& path, int file) {
  struct stat opened {};
  struct stat named {};
  return fstat(file, &opened) == 0 && lstat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

// "PID\n" and nothing else; 0 for anything else.
pid_t ReadPid(int file) {
  std::array<char, 16> text{};
  const ssize_t got = pread(file, text.data(), text.size(), 0);
  pid_t pid = 0;
  if (got <= 0) return 0;
  const char* const end = text.data() + got;
  const auto [rest, error] = std::from_chars(text.data(), end, pid);
  return error == std::errc() && std::string_view(rest, end) == "\n" && pid > 0 ? pid : 0;
}

// A file cut short by a full disk would name another process.
bool WritePid(int file) {
  const std::string text = fmt::format("{}\n", getpid());
  const ssize_t written = pwrite(file, text.data(), text.size(), 0);
  if (written == static_cast<ssize_t>(text.size())) return ftruncate(file, written) == 0;
  if (written >= 0) errno = ENOSPC;
  return false;
}

}  // namespace

std::string PidPath(const std::string& state) {
  return state + "/inferpool.pid";
}

PidFile::PidFile(std::string path, FileDescriptor file)
    : path_(std::move(path)), file_(std::move(file)), owner_(getpid()) {}

PidFile::~PidFile() {
  if (file_ && owner_ == getpid() && IsAt(path_, file_.get())) unlink(path_.c_str());
}

absl::StatusOr<PidFile> PidFile::Take(const std::string& state) {
  const std::string path = PidPath(state);
  while (true) {
    FileDescriptor file(open(path.c_str(), O_RDWR | O_CREAT | kOpenFlags, kMode));
    if (!file) return Failed("write", path, errno);
    const struct flock lock = WholeFile(F_WRLCK);
    if (fcntl(file.get(), F_OFD_SETLK, &lock) != 0) {
      if (errno != EAGAIN && errno != EACCES) return Failed("lock", path, errno);
      return absl::AlreadyExistsError(fmt::format(
          "an inferpool already runs from the state folder {} (process {}): stop it, or "
          "choose another folder",
          state, ReadPid(file.get())));
    }
    // Now a pid that was left over would be believed.
    if (ftruncate(file.get(), 0) != 0) return Failed("write", path, errno);
    // Whoever had it before us may have removed it between our two calls.
    if (!IsAt(path, file.get())) continue;
    fchmod(file.get(), kMode);  // of one that was left over
    PidFile taken(path, std::move(file));
    if (!WritePid(taken.fd())) return Failed("write", path, errno);
    return taken;
  }
}

PidFile PidFile::Inherit(const std::string& state, FileDescriptor locked) {
  return {PidPath(state), std::move(locked)};
}

bool PidFile::InPlace() const {
  return !file_ || IsAt(path_, file_.get());
}

absl::StatusOr<pid_t> FindMaster(const std::string& state) {
  const FileDescriptor file(open(PidPath(state).c_str(), O_RDONLY | kOpenFlags));
  if (!file && errno == EACCES) {
    return absl::PermissionDeniedError(
        fmt::format("the pool in {} is another user's: run this as that user or as root", state));
  }
  const pid_t pid = file && IsLocked(file.get()) ? ReadPid(file.get()) : 0;
  if (pid == 0) {
    return absl::UnavailableError(fmt::format("no inferpool runs in {} (see --state)", state));
  }
  return pid;
}

}  // namespace inferpool::fcgi

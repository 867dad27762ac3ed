#include "shared/base/replace_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "shared/base/file_descriptor.h"

namespace inferpool {
namespace {

absl::Status Failed(std::string_view what, const std::string& path) {
  return absl::InternalError(
      fmt::format("cannot {} {}: {}", what, path, std::generic_category().message(errno)));
}

absl::Status WriteAll(FileDescriptor file, const std::string& path, std::string_view text,
                      const ReplaceOptions& options) {
  if (options.set_rights) RETURN_IF_ERROR(options.set_rights(file.get()));
  while (!text.empty()) {
    const ssize_t written = write(file.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Failed("write", path);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  if (options.durable && fsync(file.get()) != 0) return Failed("write", path);
  // Some file systems say only here that there was no room.
  return close(file.Release()) == 0 ? absl::OkStatus() : Failed("write", path);
}

}  // namespace

absl::Status ReplaceFile(const std::string& path, std::string_view text,
                         const ReplaceOptions& options) {
  const std::string fresh = path + ".new";
  unlink(fresh.c_str());  // of a writer that died
  FileDescriptor file(
      open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, options.mode));
  if (!file) return Failed("write", path);
  absl::Status status = WriteAll(std::move(file), path, text, options);
  if (status.ok() && rename(fresh.c_str(), path.c_str()) != 0) status = Failed("replace", path);
  if (!status.ok()) unlink(fresh.c_str());
  return status;
}

}  // namespace inferpool

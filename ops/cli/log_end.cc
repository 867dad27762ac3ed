#include "ops/cli/log_end.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "shared/base/file_descriptor.h"

namespace inferpool::ops {
namespace {

// nginx has 64 KB of lines before it writes them, and its longest line is shorter.
constexpr off_t kMostBytes = 128 << 10;
// A write that has been seen half done is done by then.
constexpr std::chrono::milliseconds kWriteTakes{5};

off_t SizeOf(int file) {
  struct stat info {};
  return fstat(file, &info) == 0 ? info.st_size : -1;
}

// Where the last line that is whole ends, in a file of that size; `size` when that is not near.
off_t EndOfLines(int file, off_t size) {
  std::string text(static_cast<std::size_t>(std::min(size, kMostBytes)), '\0');
  const off_t begin = size - static_cast<off_t>(text.size());
  const ssize_t got = pread(file, text.data(), text.size(), begin);
  if (got != static_cast<ssize_t>(text.size())) return size;
  const std::size_t end = text.rfind('\n');
  if (end == std::string::npos) return begin == 0 ? 0 : size;
  return begin + static_cast<off_t>(end) + 1;
}

}  // namespace

void LogEnd::Mend() {
  struct stat info {};
  if (lstat(path_.c_str(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == whole_) return;
  const FileDescriptor file(open(path_.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!file) return;
  const off_t size = SizeOf(file.get());
  const off_t end = EndOfLines(file.get(), size);
  if (end == size) {
    whole_ = size;
    return;
  }
  std::this_thread::sleep_for(kWriteTakes);
  if (SizeOf(file.get()) == size && ftruncate(file.get(), end) == 0) whole_ = end;
}

}  // namespace inferpool::ops

#include "fcgi/pool/thread_times.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>

#include "shared/base/file_descriptor.h"

namespace inferpool::fcgi {
namespace {

// The start of a file below /proc, which one read gives as a whole; empty when there is none.
std::string ReadStart(const std::string& path) {
  std::array<char, 512> bytes{};
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const ssize_t got = file ? read(file.get(), bytes.data(), bytes.size()) : -1;
  return got > 0 ? std::string(bytes.data(), static_cast<std::size_t>(got)) : std::string();
}

}  // namespace

std::optional<ThreadTimes> ReadThreadTimes(pid_t process, pid_t thread) {
  const std::string folder = fmt::format("/proc/{}/task/{}", process, thread);
  // The state comes first: a thread that stops waiting between the two reads then counts as one
  // that waits, which blames nobody.
  const std::string stat = ReadStart(folder + "/stat");
  // "TID (name) STATE ...", and the name may hold anything.
  const std::size_t name_end = stat.rfind(") ");
  if (name_end == std::string::npos || name_end + 2 >= stat.size()) return std::nullopt;
  // "RUN_NS WAIT_NS TIMESLICES". A kernel that does not count writes three zeros.
  std::uint64_t run = 0;
  std::uint64_t wait = 0;
  std::uint64_t slices = 0;
  // NOLINTNEXTLINE(cert-err34-c): the kernel wrote it
  if (std::sscanf(ReadStart(folder + "/schedstat").c_str(), "%lu %lu %lu", &run, &wait, &slices) !=
          3 ||
      slices == 0) {
    return std::nullopt;
  }
  return ThreadTimes{.run = std::chrono::nanoseconds(run),
                     .wait = std::chrono::nanoseconds(wait),
                     .runnable = stat[name_end + 2] == 'R'};
}

}  // namespace inferpool::fcgi

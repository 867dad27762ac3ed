// Wakes the master. A child that has changed its row of the scoreboard calls Wake(), and the
// master, which polls the descriptor, looks at the scoreboard. Wake() never waits. The descriptor
// outlives a change of the master's program.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "shared/base/file_descriptor.h"

namespace inferpool::fcgi {

class MasterWakeup {
 public:
  MasterWakeup() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  explicit MasterWakeup(FileDescriptor fd) : fd_(std::move(fd)) {}

  // Readable after a Wake() until the next Clear().
  int fd() const { return fd_.get(); }

  void Wake() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(fd_.get(), &one, sizeof(one));
  }

  void Clear() const {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = read(fd_.get(), &count, sizeof(count));
  }

 private:
  FileDescriptor fd_;
};

}  // namespace inferpool::fcgi

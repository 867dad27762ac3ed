// Lets a process survive another one that shortens a shared-memory segment while it uses it.
//
// An access beyond the end of a mapped file, or to a page that a full tmpfs cannot provide, raises
// SIGBUS, which would end the process and with it everybody's work. To check the size before does
// not help, because the other one can shorten the segment right after. So the signal's handler maps
// a page of zeros there, marks the range as broken, and lets the access go on. Only the work for
// the segment's owner comes to nothing.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace inferpool {

// Guards a mapped range from construction to destruction, which must come before munmap. The first
// guard installs a handler for the whole process, but not after HandleBusErrorsElsewhere. A SIGBUS
// outside of guarded ranges still ends the process. Thread safe.
class BusErrorGuard {
 public:
  BusErrorGuard(const void* begin, std::size_t bytes);
  ~BusErrorGuard();
  BusErrorGuard(const BusErrorGuard&) = delete;
  BusErrorGuard& operator=(const BusErrorGuard&) = delete;

  // Whether the range is guarded. It is not when there are kMaxGuards guards already.
  bool active() const { return range_ != nullptr; }

  // Whether the handler had to replace a page. Then the range no longer shows the segment.
  bool broken() const;

  struct Range;

 private:
  Range* range_ = nullptr;
};

// Says that the process has a handler of its own for SIGBUS, which calls MendBusError.
void HandleBusErrorsElsewhere();

// To be called by a handler of SIGBUS, with siginfo_t's si_addr. True when the address lies in a
// guarded range: the access will succeed now. Safe in a signal handler; keeps errno.
bool MendBusError(void* address);

// The number of guards that can exist at the same time.
inline constexpr std::size_t kMaxGuards = 4096;

}  // namespace inferpool

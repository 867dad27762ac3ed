// Survives a client that shortens a segment while it is being read or written.
//
// An access beyond the end of a mapped file, or to a page that a full tmpfs cannot provide, is a
// SIGBUS, which ends the process and with it every other client's requests. Checking the size first
// leaves a window. So the signal's handler puts a page of zeros there, notes that the range is
// broken, and the access goes on: its request gets a wrong or no answer, nobody else notices.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace inferpool::modelserver {

// A mapped range that the handler looks after, from construction to destruction (before munmap).
// The first one installs the handler for the whole process. Other SIGBUS end it as ever. Thread
// safe.
class BusErrorGuard {
 public:
  BusErrorGuard(const void* begin, std::size_t bytes);
  ~BusErrorGuard();
  BusErrorGuard(const BusErrorGuard&) = delete;
  BusErrorGuard& operator=(const BusErrorGuard&) = delete;

  // Whether the range is looked after: at most kMaxGuards are at a time.
  bool active() const { return range_ != nullptr; }

  // Whether a page had to be replaced: what the range holds is not the segment's any more.
  bool broken() const;

  struct Range;

 private:
  Range* range_ = nullptr;
};

inline constexpr std::size_t kMaxGuards = 4096;

}  // namespace inferpool::modelserver

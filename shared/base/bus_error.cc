#include "shared/base/bus_error.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>

namespace inferpool {

// A slot is free while `end` is 0 and not taken. The handler reads without locks.
struct BusErrorGuard::Range {
  std::atomic<bool> taken = false;
  std::atomic<std::uintptr_t> begin = 0;
  std::atomic<std::uintptr_t> end = 0;
  std::atomic<bool> broken = false;
};

namespace {

// The one table of the process, as there is one handler; a signal handler can reach nothing else.
std::array<BusErrorGuard::Range, kMaxGuards> ranges;
std::atomic<bool> has_handler = false;
static_assert(std::atomic<std::uintptr_t>::is_always_lock_free);

void OnBusError(int signal, siginfo_t* info, void* /*context*/) {
  if (MendBusError(info->si_addr)) return;  // and the access is tried again
  // Not ours: the access is tried again and ends the process.
  struct sigaction fatal = {};
  fatal.sa_handler = SIG_DFL;
  sigaction(signal, &fatal, nullptr);
}

void Install() {
  struct sigaction action = {};
  action.sa_sigaction = OnBusError;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace

void HandleBusErrorsElsewhere() {
  has_handler = true;
}

bool MendBusError(void* address) {
  const int error = errno;
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  for (BusErrorGuard::Range& range : ranges) {
    const std::uintptr_t end = range.end.load(std::memory_order_acquire);
    if (at >= end || at < range.begin.load(std::memory_order_relaxed)) continue;
    const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    void* start = static_cast<std::byte*>(address) - at % page;
    range.broken.store(true, std::memory_order_relaxed);
    const bool mended = mmap(start, page, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
    errno = error;
    if (mended) return true;
  }
  return false;
}

BusErrorGuard::BusErrorGuard(const void* begin, std::size_t bytes) {
  if (!has_handler.exchange(true)) Install();
  for (Range& range : ranges) {
    if (range.taken.exchange(true, std::memory_order_acquire)) continue;
    const auto address = reinterpret_cast<std::uintptr_t>(begin);
    range.broken.store(false, std::memory_order_relaxed);
    range.begin.store(address, std::memory_order_relaxed);
    range.end.store(address + bytes, std::memory_order_release);
    range_ = &range;
    return;
  }
}

BusErrorGuard::~BusErrorGuard() {
  if (range_ == nullptr) return;
  range_->end.store(0, std::memory_order_release);
  range_->taken.store(false, std::memory_order_release);
}

bool BusErrorGuard::broken() const {
  return range_ != nullptr && range_->broken.load(std::memory_order_relaxed);
}

}  // namespace inferpool

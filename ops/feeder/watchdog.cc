#include "ops/feeder/watchdog.h"

#include <condition_variable>

#include "shared/base/mutex.h"

namespace inferpool::feeder {
namespace {

constexpr std::chrono::milliseconds kGoodbye{500};

}  // namespace

void Watchdog::Begin() {
  deadline_ns_ = ToNs(Clock::now() + patience_);
  goodbye_ = false;
}

void Watchdog::BeginGoodbye() {
  deadline_ns_ = ToNs(Clock::now() + kGoodbye);
  goodbye_ = true;
}

bool Watchdog::Bites() const {
  return (!goodbye_ && stopped()) || ToNs(Clock::now()) > deadline_ns_;
}

bool Watchdog::SleepUntil(TimePoint at) const {
  Mutex mutex;
  std::condition_variable_any changed;
  MutexLock lock(mutex);
  changed.wait_until(lock.native(), stop_, at, [] { return false; });
  return !stopped();
}

}  // namespace inferpool::feeder

// How often processes that served and ended may be started again. Pure: it is told the time.
#pragma once

#include <chrono>

#include "shared/base/deadline.h"

namespace inferpool::fcgi {

// A token bucket, kept as the time at which its last token given will have been earned (the generic
// cell rate algorithm, ITU-T I.371). It begins full.
class RestartBudget {
 public:
  // Takes a token, of `burst` that can be saved and one more each `interval`. Returns when it may
  // be used: now, or when the bucket has earned it.
  TimePoint Take(std::chrono::milliseconds interval, int burst, TimePoint now);

 private:
  TimePoint earned_ = TimePoint::min();
};

}  // namespace inferpool::fcgi

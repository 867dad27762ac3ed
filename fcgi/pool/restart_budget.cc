#include "fcgi/pool/restart_budget.h"

#include <algorithm>

namespace inferpool::fcgi {

TimePoint RestartBudget::Take(std::chrono::milliseconds interval, int burst, TimePoint now) {
  const TimePoint before = std::max(earned_, now);
  earned_ = before + interval;
  return std::max(now, before - (burst - 1) * interval);
}

}  // namespace inferpool::fcgi

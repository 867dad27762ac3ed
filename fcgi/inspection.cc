#include "fcgi/inspection.h"

#include <fmt/format.h>

#include <fstream>
#include <string>

#include "shared/resident_memory.h"

namespace inferpool::fcgi {

InWork Inspect(std::span<const Lane> lanes, std::chrono::seconds limit, TimePoint now) {
  InWork in_work;
  for (const Lane& lane : lanes) {
    if (lane.busy_since_ns.load(std::memory_order_acquire) == 0) continue;
    ++in_work.busy;
    const TimePoint since = FromNs(lane.step_since_ns.load(std::memory_order_relaxed));
    if (now - since > limit) in_work.stuck.push_back(lane.task.Load().value_or(Task{}));
  }
  return in_work;
}

bool IsStopped(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string stat;
  std::getline(file, stat);
  // "PID (name) STATE ...", and the name may hold anything.
  const std::size_t end = stat.rfind(')');
  if (end == std::string::npos || end + 2 >= stat.size()) return false;
  return stat[end + 2] == 'T' || stat[end + 2] == 't';
}

bool IsDue(const Config::Recycle& recycle, std::chrono::nanoseconds age, pid_t pid) {
  if (recycle.age_s > 0 && age >= std::chrono::seconds(recycle.age_s)) return true;
  return recycle.rss_mb > 0 && ResidentMb(pid) > recycle.rss_mb;
}

}  // namespace inferpool::fcgi

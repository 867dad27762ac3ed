#include "fcgi/pool/inspection.h"

#include <fmt/format.h>

#include <fstream>
#include <string>

#include "shared/base/resident_memory.h"

namespace inferpool::fcgi {

namespace {

// The thread that serves the request, and those that help it.
std::vector<ThreadSample> Sample(const Lane& lane, const LaneWatch::TimesOf& times_of) {
  const pid_t own = lane.thread.load(std::memory_order_relaxed);
  std::vector<ThreadSample> threads{{own, times_of(own)}};
  for (const std::atomic<pid_t>& helper : lane.helpers) {
    const pid_t thread = helper.load(std::memory_order_relaxed);
    if (thread != 0) threads.push_back({thread, times_of(thread)});
  }
  return threads;
}

}  // namespace

InWork LaneWatch::Look(std::span<const Lane> lanes, const TimesOf& times_of,
                       std::chrono::seconds limit, TimePoint now, bool late) {
  InWork in_work;
  if (steps_.size() < lanes.size()) steps_.resize(lanes.size());
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    const Lane& lane = lanes[i];
    if (lane.busy_since_ns.load(std::memory_order_acquire) == 0) continue;
    ++in_work.busy;
    const std::int64_t step = lane.step_since_ns.load(std::memory_order_relaxed);
    if (steps_[i].Look(step, Sample(lane, times_of), now, late) > limit) {
      in_work.stuck.push_back({static_cast<int>(i), lane.task.Load().value_or(Task{})});
    }
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

#include "fcgi/pool/worker_check.h"

#include <fmt/format.h>

#include <fstream>
#include <string>

#include "shared/base/resident_memory.h"

namespace inferpool::fcgi {

namespace {

// The thread that serves the request, and those that help it.
std::vector<ThreadSample> Sample(const ThreadSlot& thread_slot,
                                 const WorkerStepWatch::TimesOf& times_of) {
  const pid_t own = thread_slot.thread.load(std::memory_order_relaxed);
  std::vector<ThreadSample> threads{{own, times_of(own)}};
  for (const std::atomic<pid_t>& helper : thread_slot.helpers) {
    const pid_t thread = helper.load(std::memory_order_relaxed);
    if (thread != 0) threads.push_back({thread, times_of(thread)});
  }
  return threads;
}

}  // namespace

InWork WorkerStepWatch::Look(std::span<const ThreadSlot> thread_slots, const TimesOf& times_of,
                             std::chrono::seconds limit, TimePoint now, bool late) {
  InWork in_work;
  if (steps_.size() < thread_slots.size()) steps_.resize(thread_slots.size());
  for (std::size_t i = 0; i < thread_slots.size(); ++i) {
    const ThreadSlot& thread_slot = thread_slots[i];
    if (thread_slot.busy_since_ns.load(std::memory_order_acquire) == 0) continue;
    ++in_work.busy;
    const std::int64_t step = thread_slot.step_since_ns.load(std::memory_order_relaxed);
    if (steps_[i].Look(step, Sample(thread_slot, times_of), now, late) > limit) {
      in_work.stuck.push_back({static_cast<int>(i), thread_slot.task.Load().value_or(Task{})});
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

#include "fcgi/pool/step_watch.h"

#include <algorithm>
#include <utility>

namespace inferpool::fcgi {

std::chrono::nanoseconds StepWatch::Work(const std::optional<ThreadTimes>& before,
                                         const std::optional<ThreadTimes>& after,
                                         std::chrono::nanoseconds between, bool late) {
  using std::chrono::nanoseconds;
  if (!before || !after) return late ? nanoseconds(0) : between;
  const nanoseconds run = after->run - before->run;
  if (late || after->runnable) return run;
  return std::max(run, between - (after->wait - before->wait));
}

std::chrono::nanoseconds StepWatch::Look(std::int64_t step, std::span<const ThreadSample> threads,
                                         TimePoint now, bool late) {
  if (step != step_) threads_.clear();
  step_ = step;
  const std::chrono::nanoseconds between = now - std::exchange(latest_look_, now);
  std::vector<Thread> seen;
  seen.reserve(threads.size());
  for (const ThreadSample& sample : threads) {
    Thread next{.thread = sample.thread, .latest = sample.times};
    const auto known = std::ranges::find(threads_, sample.thread, &Thread::thread);
    if (known != threads_.end()) {
      next.work = known->work + Work(known->latest, sample.times, between, late);
    }
    seen.push_back(next);
  }
  threads_ = std::move(seen);
  const auto least = std::ranges::min_element(threads_, {}, &Thread::work);
  return least == threads_.end() ? std::chrono::nanoseconds(0) : least->work;
}

}  // namespace inferpool::fcgi

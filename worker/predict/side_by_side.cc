#include "worker/predict/side_by_side.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <span>
#include <thread>
#include <vector>

#include "fcgi/serving/crash_scope.h"
#include "shared/base/mutex.h"

namespace inferpool::predict {
namespace {

// Spare threads, taken for the lifetime of the object.
class Taken {
 public:
  Taken(SpareThreads& spare, int wanted) : spare_(spare), count_(spare.Take(wanted)) {}
  ~Taken() { spare_.GiveBack(count_); }
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;

  int count() const { return count_; }

 private:
  SpareThreads& spare_;
  const int count_;
};

class Parts {
 public:
  Parts(ThreadSlot& thread_slot, std::size_t count,
        const std::function<void(std::size_t, Seqlock<Task>&)>& work)
      : thread_slot_(thread_slot), count_(count), work_(work) {}

  void Run(SpareThreads& spare) {
    // More helpers would wait for each other's share of the processor and of the model server.
    const std::size_t others = std::min(count_, std::size_t{kMaxHelpers} + 1) - 1;
    const Taken taken(spare, static_cast<int>(others));
    std::vector<std::jthread> threads;
    try {
      for (int i = 0; i < taken.count(); ++i) {
        threads.emplace_back([this, i] { Help(static_cast<std::size_t>(i)); });
      }
    } catch (const std::exception&) {
      // There is no thread left, or no memory for one: those that there are do it.
    }
    Work(thread_slot_.task);
    Await(threads.size());
  }

 private:
  void Help(std::size_t helper) {
    try {
      const fcgi::HelperCrashScope scope(thread_slot_, tasks_[helper]);
      Work(tasks_[helper]);
    } catch (const std::exception&) {  // no memory to begin with: the others do it
    }
    const MutexLock lock(mutex_);
    ended_[helper] = true;
    one_ended_.notify_one();
  }

  // The first of the first `count` helpers that has not ended; `count` when all have.
  std::size_t FirstAtWork(std::size_t count) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto helpers = std::span(ended_).first(count);
    return static_cast<std::size_t>(std::ranges::find(helpers, false) - helpers.begin());
  }

  // Waits until the first `count` helpers have ended. Meanwhile our thread slot shows the task of
  // one that is at work, so that it is known on which picture a thread is stuck.
  void Await(std::size_t count) {
    constexpr std::chrono::milliseconds kLookAgain{200};
    MutexLock lock(mutex_);
    while (true) {
      const std::size_t helper = FirstAtWork(count);
      if (helper == count) return;
      thread_slot_.task.Store(tasks_[helper].Load().value_or(Task{}));
      one_ended_.wait_for(lock.native(), kLookAgain,
                          [this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
                            return FirstAtWork(count) == count;
                          });
    }
  }

  void Work(Seqlock<Task>& task) {
    while (true) {
      const std::size_t part = next_.fetch_add(1, std::memory_order_relaxed);
      if (part >= count_) return;
      work_(part, task);
    }
  }

  ThreadSlot& thread_slot_;
  const std::size_t count_;
  const std::function<void(std::size_t, Seqlock<Task>&)>& work_;
  std::atomic<std::size_t> next_ = 0;
  std::array<Seqlock<Task>, kMaxHelpers> tasks_;
  Mutex mutex_;
  std::array<bool, kMaxHelpers> ended_ ABSL_GUARDED_BY(mutex_) = {};
  std::condition_variable one_ended_;
};

}  // namespace

int SpareThreads::Take(int wanted) {
  int free = free_.load();
  int taken = 0;
  do {
    taken = std::clamp(free, 0, std::max(wanted, 0));
  } while (!free_.compare_exchange_weak(free, free - taken));
  return taken;
}

void SideBySide(ThreadSlot& thread_slot, SpareThreads& spare, std::size_t parts,
                const std::function<void(std::size_t part, Seqlock<Task>& task)>& work) {
  if (parts > 0) Parts(thread_slot, parts, work).Run(spare);
}

}  // namespace inferpool::predict

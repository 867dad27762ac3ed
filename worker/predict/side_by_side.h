// The parts of one request side by side, in several threads.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>

#include "shared/board/scoreboard.h"

namespace inferpool::predict {

// Counts the threads that a worker's requests may start besides the threads that serve requests.
// Thread safe.
class SpareThreads {
 public:
  explicit SpareThreads(int count) : free_(count) {}

  // Takes up to `wanted` of those that are free, and returns how many. The caller gives them back.
  [[nodiscard]] int Take(int wanted);
  void GiveBack(int count) { free_ += count; }

 private:
  std::atomic<int> free_;
};

// Calls `work` once for each part from 0 to `parts` - 1, in their order, in the calling thread,
// which is `thread_slot`'s own, and in as many spare ones as there are; returns when all are done.
// `task` is the calling thread's: a crash is blamed on what stands there, and so `work` begins with
// storing it. `work` must not throw.
void SideBySide(ThreadSlot& thread_slot, SpareThreads& spare, std::size_t parts,
                const std::function<void(std::size_t part, Seqlock<Task>& task)>& work);

}  // namespace inferpool::predict

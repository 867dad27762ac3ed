// A pool of one worker with room for heavy work, for what needs HeavySteps to run.
#pragma once

#include "shared/board/heavy_steps.h"
#include "shared/board/scoreboard.h"

namespace inferpool::test {

struct HeavyPool {
  HeavyPool() { board.Occupy(0, 1, kThreads, Clock::now()); }

  static constexpr int kThreads = 8;

  Scoreboard board = *Scoreboard::Create(1, kThreads);
  HeavyWork work{board,
                 {.memory_bytes = std::uint64_t{1} << 30, .processors = 2, .threads = kThreads}};
  ThreadSlot& thread_slot = board.thread_slots(0)[0];
  HeavySteps steps{work, thread_slot, 1};
};

}  // namespace inferpool::test

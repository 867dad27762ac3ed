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
  Lane& lane = board.lanes(0)[0];
  HeavySteps steps{work, lane, 1};
};

}  // namespace inferpool::test

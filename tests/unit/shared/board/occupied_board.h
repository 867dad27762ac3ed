// A scoreboard for tests of those who write to it.
#pragma once

#include <gtest/gtest.h>

#include <utility>

#include "shared/board/scoreboard.h"

namespace inferpool::test {

// Every slot has a process, with a thread for each thread slot, as after the master's first start.
inline Scoreboard OccupiedBoard(int slots, int thread_slots) {
  absl::StatusOr<Scoreboard> board = Scoreboard::Create(slots, thread_slots);
  EXPECT_TRUE(board.ok()) << board.status();
  for (int slot = 0; slot < slots; ++slot) {
    board->Occupy(slot, /*generation=*/1, thread_slots, Clock::now());
  }
  return *std::move(board);
}

}  // namespace inferpool::test

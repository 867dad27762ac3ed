// A scoreboard for tests of those who write to it.
#pragma once

#include <gtest/gtest.h>

#include <utility>

#include "shared/board/scoreboard.h"

namespace inferpool::test {

// Every slot has a tenant, with a thread for each lane, as after the master's first start.
inline Scoreboard OccupiedBoard(int slots, int lanes) {
  absl::StatusOr<Scoreboard> board = Scoreboard::Create(slots, lanes);
  EXPECT_TRUE(board.ok()) << board.status();
  for (int slot = 0; slot < slots; ++slot) {
    board->Occupy(slot, /*generation=*/1, lanes, Clock::now());
  }
  return *std::move(board);
}

}  // namespace inferpool::test

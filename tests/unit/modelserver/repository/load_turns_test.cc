#include "modelserver/repository/load_turns.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

namespace inferpool::modelserver {
namespace {

using Kind = LoadTurns::Kind;

TEST(LoadTurns, AreOneAtATimeForAModelAndBoundedForAll) {
  constexpr int kMost = 3;
  LoadTurns turns(kMost, 100);
  std::atomic<int> loads = 0;
  std::array<std::atomic<int>, 4> of_model{};
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < 16; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 50; ++round) {
        const std::size_t model = (i + static_cast<std::size_t>(round)) % of_model.size();
        const Kind kind = i % 4 == 0 ? Kind::kUnload : Kind::kLoad;
        const auto turn = turns.Take(std::to_string(model), kind);
        ASSERT_TRUE(turn.ok());
        EXPECT_EQ(++of_model[model], 1);
        loads += kind == Kind::kLoad ? 1 : 0;
        EXPECT_LE(loads.load(), kMost);
        std::this_thread::yield();
        loads -= kind == Kind::kLoad ? 1 : 0;
        --of_model[model];
      }
    });
  }
}

TEST(LoadTurns, RefuseWhenTooManyWait) {
  LoadTurns turns(1, 0);
  auto held = turns.Take("a", Kind::kLoad);
  ASSERT_TRUE(held.ok());
  EXPECT_TRUE(absl::IsUnavailable(turns.Take("a", Kind::kUnload).status()));
  EXPECT_TRUE(absl::IsUnavailable(turns.Take("b", Kind::kLoad).status()));
  EXPECT_TRUE(turns.Take("b", Kind::kUnload).ok());  // takes no load's place
  held = absl::CancelledError();
  EXPECT_TRUE(turns.Take("a", Kind::kLoad).ok());
}

}  // namespace
}  // namespace inferpool::modelserver

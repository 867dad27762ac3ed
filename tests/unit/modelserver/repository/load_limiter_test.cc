#include "modelserver/repository/load_limiter.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

namespace inferpool::modelserver {
namespace {

using Kind = LoadLimiter::Kind;

TEST(LoadLimiter, LoadsOneAtATimeOfAModelAndBoundsThemAll) {
  constexpr int kMaxLoads = 3;
  LoadLimiter limiter(kMaxLoads, 100);
  std::atomic<int> loads = 0;
  std::array<std::atomic<int>, 4> of_model{};
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < 16; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 50; ++round) {
        const std::size_t model = (i + static_cast<std::size_t>(round)) % of_model.size();
        const Kind kind = i % 4 == 0 ? Kind::kUnload : Kind::kLoad;
        const auto slot = limiter.Take(std::to_string(model), kind);
        ASSERT_TRUE(slot.ok());
        EXPECT_EQ(++of_model[model], 1);
        loads += kind == Kind::kLoad ? 1 : 0;
        EXPECT_LE(loads.load(), kMaxLoads);
        std::this_thread::yield();
        loads -= kind == Kind::kLoad ? 1 : 0;
        --of_model[model];
      }
    });
  }
}

TEST(LoadLimiter, RefusesWhenTooManyWait) {
  LoadLimiter limiter(1, 0);
  auto held = limiter.Take("a", Kind::kLoad);
  ASSERT_TRUE(held.ok());
  EXPECT_TRUE(absl::IsUnavailable(limiter.Take("a", Kind::kUnload).status()));
  EXPECT_TRUE(absl::IsUnavailable(limiter.Take("b", Kind::kLoad).status()));
  EXPECT_TRUE(limiter.Take("b", Kind::kUnload).ok());  // counts against no load
  held = absl::CancelledError();
  EXPECT_TRUE(limiter.Take("a", Kind::kLoad).ok());
}

}  // namespace
}  // namespace inferpool::modelserver

#include "worker/backend/rpc/retry_budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace inferpool::backend {
namespace {

int TakeAll(RetryBudget& budget) {
  int taken = 0;
  while (budget.Take()) ++taken;
  return taken;
}

void Calls(RetryBudget& budget, int count) {
  for (int i = 0; i < count; ++i) budget.CountCall();
}

TEST(RetryBudgetTest, BeginsWithTen) {
  RetryBudget budget;
  EXPECT_EQ(TakeAll(budget), 10);
}

TEST(RetryBudgetTest, TenCallsPayForOneRetry) {
  RetryBudget budget;
  TakeAll(budget);
  Calls(budget, 9);
  EXPECT_FALSE(budget.Take());
  Calls(budget, 1);
  EXPECT_TRUE(budget.Take());
  EXPECT_FALSE(budget.Take());
}

TEST(RetryBudgetTest, SavesUpToAHundred) {
  RetryBudget budget;
  Calls(budget, 899);
  EXPECT_EQ(TakeAll(budget), 99);
  Calls(budget, 1'000'000);
  EXPECT_EQ(TakeAll(budget), 100);
}

TEST(RetryBudgetTest, AServerThatFailsEveryCallIsAskedATenthMore) {
  RetryBudget budget;
  int retries = 0;
  for (int i = 0; i < 10'000; ++i) {
    budget.CountCall();
    retries += budget.Take() ? 1 : 0;
  }
  EXPECT_EQ(retries, 1'010);
}

TEST(RetryBudgetTest, HoldsForManyThreads) {
  RetryBudget budget;
  std::atomic<int> retries = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int j = 0; j < 5'000; ++j) {
          budget.CountCall();
          retries += budget.Take() ? 1 : 0;
        }
      });
    }
  }
  retries += TakeAll(budget);
  EXPECT_EQ(retries, 2'010);
}

}  // namespace
}  // namespace inferpool::backend

#include "shared/base/mutex.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <thread>
#include <vector>

namespace inferpool {
namespace {

struct Counter {
  Mutex mutex;
  std::condition_variable changed;
  int value ABSL_GUARDED_BY(mutex) = 0;
};

TEST(Mutex, OneThreadAtATimeHoldsIt) {
  Counter counter;
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&counter] {
      for (int n = 0; n < 10'000; ++n) {
        const MutexLock lock(counter.mutex);
        ++counter.value;
      }
    });
  }
  threads.clear();
  const MutexLock lock(counter.mutex);
  EXPECT_EQ(counter.value, 40'000);
}

TEST(Mutex, AWaitLetsItGoAndTakesItAgain) {
  Counter counter;
  std::jthread other;
  MutexLock lock(counter.mutex);
  other = std::jthread([&counter] {
    const MutexLock held(counter.mutex);
    counter.value = 1;
    counter.changed.notify_one();
  });
  while (counter.value == 0) counter.changed.wait(lock.native());
  EXPECT_EQ(counter.value, 1);
}

TEST(Mutex, ALockCanBeGivenBackAndTakenAgain) {
  Counter counter;
  MutexLock lock(counter.mutex);
  lock.Unlock();
  {
    const MutexLock other(counter.mutex);
    counter.value = 1;
  }
  lock.Lock();
  EXPECT_EQ(counter.value, 1);
}

}  // namespace
}  // namespace inferpool

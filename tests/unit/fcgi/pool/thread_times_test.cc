#include "fcgi/pool/thread_times.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>

#include "tests/unit/shared/base/child_process.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;

TEST(ThreadTimesTest, AThreadThatComputesIsSeenToRun) {
  const test::ChildProcess child([] {
    volatile bool for_ever = true;
    while (for_ever) {
    }
    return 0;
  });
  EXPECT_TRUE(test::Eventually([&] {
    const auto times = ReadThreadTimes(child.pid(), child.pid());
    return times && times->runnable && times->run > milliseconds(50);
  }));
}

TEST(ThreadTimesTest, AThreadThatSleepsIsNotRunnable) {
  const test::ChildProcess child([] {
    while (true) pause();
    return 0;
  });
  ASSERT_TRUE(test::Eventually([&] {
    const auto times = ReadThreadTimes(child.pid(), child.pid());
    return times && !times->runnable;
  }));
  const auto before = ReadThreadTimes(child.pid(), child.pid());
  usleep(20'000);
  const auto after = ReadThreadTimes(child.pid(), child.pid());
  ASSERT_TRUE(before && after);
  EXPECT_EQ(after->run, before->run);
  EXPECT_EQ(after->wait, before->wait);
}

TEST(ThreadTimesTest, NothingIsKnownOfAThreadThatDoesNotExist) {
  EXPECT_FALSE(ReadThreadTimes(getpid(), 2'000'000'000));
  EXPECT_FALSE(ReadThreadTimes(2'000'000'000, getpid()));
}

}  // namespace
}  // namespace inferpool::fcgi

#include "fcgi/pool/thread_times.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <string>

#include "tests/unit/shared/base/child_process.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;

std::string NameOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(file, name);
  return name;
}

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

TEST(ThreadTimesTest, AThreadsNameSaysNothingOfIt) {
  const test::ChildProcess child([] {
    prctl(PR_SET_NAME, "a) R 1");
    while (true) pause();
    return 0;
  });
  EXPECT_TRUE(test::Eventually([&] {
    const auto times = ReadThreadTimes(child.pid(), child.pid());
    return times && !times->runnable && NameOf(child.pid()) == "a) R 1";
  }));
}

TEST(ThreadTimesTest, NothingIsKnownOfAThreadThatDoesNotExist) {
  EXPECT_FALSE(ReadThreadTimes(getpid(), 2'000'000'000));
  EXPECT_FALSE(ReadThreadTimes(2'000'000'000, getpid()));
}

}  // namespace
}  // namespace inferpool::fcgi

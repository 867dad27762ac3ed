#include "worker/streams/process_name.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace inferpool::streams {
namespace {

// Our name, if that were our pid.
std::string NameWith(pid_t pid) {
  std::string name = MakeProcessName("setup");
  const std::string ours = fmt::format(":{}:", getpid());
  return name.replace(name.rfind(ours), ours.size(), fmt::format(":{}:", pid));
}

TEST(ProcessNameTest, EachIsAnotherOne) {
  EXPECT_NE(MakeProcessName("setup"), MakeProcessName("setup"));
}

TEST(ProcessNameTest, ADeadProcessOfThisMachineIsKnown) {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  // Until somebody waits for it, it is there.
  EXPECT_FALSE(IsOfDeadProcess(NameWith(child)));
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(IsOfDeadProcess(NameWith(child)));
  EXPECT_FALSE(IsOfDeadProcess(MakeProcessName("setup")));
  EXPECT_FALSE(IsOfDeadProcess(NameWith(1)));
  EXPECT_FALSE(IsOfDeadProcess("elsewhere" + NameWith(child))) << "of another machine";
}

TEST(ProcessNameTest, ItSaysHowThePoolIsSetUp) {
  EXPECT_FALSE(AreSetUpDifferently(MakeProcessName("one"), MakeProcessName("one")));
  EXPECT_TRUE(AreSetUpDifferently(MakeProcessName("one"), MakeProcessName("other")));
  EXPECT_FALSE(AreSetUpDifferently(MakeProcessName("one"), "host:17:0123")) << "an older one";
}

TEST(ProcessNameTest, WhatIsNoNameIsNobodys) {
  for (const char* pid : {"0", "-1", "x", ""}) {
    const std::string name = MakeProcessName("setup");
    const std::string ours = fmt::format(":{}:", getpid());
    std::string other = name;
    other.replace(other.rfind(ours), ours.size(), fmt::format(":{}:", pid));
    EXPECT_FALSE(IsOfDeadProcess(other)) << other;
  }
  EXPECT_FALSE(IsOfDeadProcess(""));
  EXPECT_FALSE(IsOfDeadProcess("host:17:0123"));
}

}  // namespace
}  // namespace inferpool::streams

#include "fcgi/pool/handover.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <string>

#include "shared/base/file_descriptor.h"
#include "tests/unit/shared/base/child_process.h"
#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::fcgi {

static bool operator==(const Handover::Child& a, const Handover::Child& b) {
  return a.role == b.role && a.place == b.place && a.pid == b.pid && a.generation == b.generation &&
         a.ready == b.ready && a.leaving == b.leaving;
}

static bool operator==(const Handover& a, const Handover& b) {
  return a.listener == b.listener && a.sidecar_listener == b.sidecar_listener &&
         a.scoreboard == b.scoreboard && a.wakeup == b.wakeup && a.pid_file == b.pid_file &&
         a.socket_activated == b.socket_activated && a.generation == b.generation &&
         a.at_start == b.at_start && a.workers == b.workers && a.children == b.children;
}

namespace {

Handover Example() {
  return {
      .listener = 11,
      .sidecar_listener = 12,
      .scoreboard = 13,
      .wakeup = 14,
      .pid_file = 15,
      .socket_activated = true,
      .generation = std::numeric_limits<std::uint32_t>::max(),
      .at_start = {"state=/srv/a \"pool\"", "user="},
      .workers = 7,
      .children = {
          {.role = 0,
           .place = 3,
           .pid = 4'000'000,
           .generation = 8,
           .ready = true,
           .leaving = false},
          {.role = 2, .place = 0, .pid = 71, .generation = 9, .ready = false, .leaving = true}}};
}

TEST(HandoverTest, ComesBackFromItsText) {
  const auto parsed = ParseHandover(ToText(Example()));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_TRUE(*parsed == Example()) << ToText(*parsed);
}

TEST(HandoverTest, WithoutChildrenToo) {
  Handover none = Example();
  none.children.clear();
  none.socket_activated = false;
  none.workers = 0;
  const auto parsed = ParseHandover(ToText(none));
  ASSERT_TRUE(parsed.ok());
  EXPECT_TRUE(*parsed == none);
}

TEST(HandoverTest, GarbageIsAnErrorAndNoCrash) {
  const std::string good = ToText(Example());
  for (const std::string& text :
       {std::string(), std::string("nonsense"), std::string("[]"), std::string("\"text\""),
        std::string("{\"listener\":\"three\"}"), std::string("{\"listener\":{}}"),
        std::string("{\"listener\":99999999999999}"), std::string(100'000, '['),
        std::string("{\"children\":[5]}"), good.substr(0, good.size() / 2)}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseHandover(text).status())) << text.substr(0, 40);
  }
}

TEST(HandoverTest, WhoWasNotStartedByAnOlderSelfHasNone) {
  EXPECT_EQ(TakeHandover(), std::nullopt);
}

// Becomes /bin/sh, which says what it finds.
TEST(HandoverTest, TheNewProgramHasTheDescriptorsAndTheText) {
  const test::TemporaryFolder folder;
  const std::string file = folder / "out";
  test::ChildProcess child([&] {
    Handover handover = Example();
    int* const fds[] = {&handover.listener, &handover.sidecar_listener, &handover.scoreboard,
                        &handover.wakeup};
    for (int* const fd : fds) *fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int other = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const std::string script = "echo \"$INFERPOOL_INHERITANCE\"; ls /proc/$$/fd; ";
    if (dup2(open(file.c_str(), O_WRONLY | O_CREAT, 0600), STDOUT_FILENO) < 0) return 2;
    dprintf(STDOUT_FILENO, "%s\n", ToText(handover).c_str());
    dprintf(STDOUT_FILENO, "%d %d %d %d not %d\n", *fds[0], *fds[1], *fds[2], *fds[3], other);
    ExecWithHandover({"/bin/sh", "-c", script}, handover);
    return 1;
  });
  ASSERT_TRUE(child.Exited(0));
  std::ifstream out(file);
  std::string wanted;
  std::string got;
  std::getline(out, wanted);
  int fd[4] = {};
  int other = 0;
  std::string word;
  out >> fd[0] >> fd[1] >> fd[2] >> fd[3] >> word >> other >> std::ws;
  std::getline(out, got);
  EXPECT_EQ(got, wanted);
  std::set<int> open_ones{std::istream_iterator<int>(out), {}};
  for (const int kept : fd) EXPECT_TRUE(open_ones.contains(kept)) << kept;
  EXPECT_FALSE(open_ones.contains(other));
}

TEST(HandoverTest, WhatIsTakenIsOutOfTheEnvironmentAndNoChildsAnyMore) {
  test::ChildProcess child([] {
    Handover handover = Example();
    handover.children.clear();
    handover.listener = open("/dev/null", O_RDONLY);
    handover.sidecar_listener = handover.scoreboard = handover.wakeup = handover.listener;
    setenv("INFERPOOL_INHERITANCE", ToText(handover).c_str(), 1);
    const auto taken = TakeHandover();
    if (!taken || !(*taken == handover)) return 1;
    if (getenv("INFERPOOL_INHERITANCE") != nullptr) return 2;
    if ((fcntl(handover.listener, F_GETFD) & FD_CLOEXEC) == 0) return 3;
    return TakeHandover() ? 4 : 0;
  });
  EXPECT_TRUE(child.Exited(0));
}

TEST(HandoverTest, AnEnvironmentOfGarbageIsNone) {
  test::ChildProcess child([] {
    if (freopen("/dev/null", "w", stderr) == nullptr) return 2;
    setenv("INFERPOOL_INHERITANCE", "garbage", 1);
    return TakeHandover() || getenv("INFERPOOL_INHERITANCE") != nullptr ? 1 : 0;
  });
  EXPECT_TRUE(child.Exited(0));
}

TEST(HandoverTest, WhenTheProgramCannotBeBecomeNothingHasChanged) {
  test::ChildProcess child([] {
    Handover handover = Example();
    handover.listener = open("/dev/null", O_RDONLY | O_CLOEXEC);
    errno = 0;
    ExecWithHandover({"/no/such/program", "x"}, handover);
    if (errno != ENOENT) return 1;
    if (getenv("INFERPOOL_INHERITANCE") != nullptr) return 2;
    return (fcntl(handover.listener, F_GETFD) & FD_CLOEXEC) != 0 ? 0 : 3;
  });
  EXPECT_TRUE(child.Exited(0));
}

}  // namespace
}  // namespace inferpool::fcgi

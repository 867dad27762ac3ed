#include "fcgi/child.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <functional>
#include <stdexcept>

#include "shared/file_descriptor.h"
#include "tests/unit/fcgi/child_process.h"

namespace inferpool::fcgi {
namespace {

using test::ChildProcess;

// The wait status of a child that runs `run`.
int StatusOf(const std::function<int()>& run) {
  const pid_t pid = StartChild({.title = "test", .keep = {}}, run);
  EXPECT_GT(pid, 0);
  int status = -1;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return status;
}

int ExitOf(const std::function<int()>& run) {
  const int status = StatusOf(run);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(ChildTest, ItsExitStatusIsWhatItsRoleReturns) {
  EXPECT_EQ(ExitOf([] { return 0; }), 0);
  EXPECT_EQ(ExitOf([] { return 7; }), 7);
}

TEST(ChildTest, AnExceptionIsAFailure) {
  EXPECT_EQ(ExitOf([]() -> int {
              fclose(stderr);  // what it logs is of no interest here
              throw std::runtime_error("no");
            }),
            EXIT_FAILURE);
}

TEST(ChildTest, DestructorsOfTheMasterDoNotRunInIt) {
  // The exit of a child must not run what the master has registered.
  ChildProcess master([] {
    static std::array<int, 2> pipe_ends{};
    if (pipe(pipe_ends.data()) != 0) return 1;
    std::atexit([] { [[maybe_unused]] const ssize_t n = write(pipe_ends[1], "x", 1); });
    const int status = ExitOf([] { return 0; });
    close(pipe_ends[1]);
    char byte = 0;
    return status == 0 && read(pipe_ends[0], &byte, 1) == 0 ? 0 : 1;
  });
  EXPECT_TRUE(master.Exited(0));
}

TEST(ChildTest, IsInAProcessGroupOfItsOwn) {
  EXPECT_EQ(ExitOf([] { return getpgrp() == getpid() ? 0 : 1; }), 0);
}

TEST(ChildTest, InheritsTheBlockedSignalsSoThatNoneIsLost) {
  ChildProcess master([] {
    BlockSignals();
    return ExitOf([] {
      raise(SIGTERM);
      raise(SIGINT);
      sigset_t pending;
      sigpending(&pending);
      return sigismember(&pending, SIGTERM) == 1 && sigismember(&pending, SIGINT) == 1 ? 0 : 1;
    });
  });
  EXPECT_TRUE(master.Exited(0));
}

TEST(ChildTest, UnblockUndoesBlock) {
  ChildProcess child([] {
    sigset_t before;
    sigset_t after;
    pthread_sigmask(SIG_BLOCK, nullptr, &before);
    BlockSignals();
    UnblockSignals();
    pthread_sigmask(SIG_BLOCK, nullptr, &after);
    for (const int signal : {SIGTERM, SIGINT, SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2}) {
      if (sigismember(&before, signal) != 0 || sigismember(&after, signal) != 0) return 1;
    }
    return 0;
  });
  EXPECT_TRUE(child.Exited(0));
}

TEST(ChildTest, GetsSigtermWhenTheMasterDies) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  FileDescriptor reader(ends[0]);
  FileDescriptor writer(ends[1]);
  ChildProcess master([&writer] {
    BlockSignals();
    StartChild({.title = "test", .keep = {writer.get()}}, [&writer] {
      sigset_t term;
      sigemptyset(&term);
      sigaddset(&term, SIGTERM);
      [[maybe_unused]] ssize_t n = write(writer.get(), "r", 1);
      int signal = 0;
      sigwait(&term, &signal);
      n = write(writer.get(), "t", 1);
      return 0;
    });
    pause();
    return 0;
  });
  writer.Reset();
  char byte = 0;
  ASSERT_EQ(read(reader.get(), &byte, 1), 1);
  master.Signal(SIGKILL);
  ASSERT_EQ(read(reader.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 't');
  EXPECT_EQ(read(reader.get(), &byte, 1), 0) << "it has left";
}

}  // namespace
}  // namespace inferpool::fcgi

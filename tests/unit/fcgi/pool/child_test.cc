#include "fcgi/pool/child.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>
#include <tuple>

#include "shared/base/file_descriptor.h"
#include "tests/unit/shared/base/child_process.h"
#include "tests/unit/shared/base/root.h"

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

TEST(ChildTest, AsksTheKernelForSigtermAtTheMastersDeath) {
  EXPECT_EQ(ExitOf([] {
              int signal = 0;
              prctl(PR_GET_PDEATHSIG, &signal);
              return signal == SIGTERM ? 0 : 1;
            }),
            0);
}

bool IsOpen(int fd) {
  return fcntl(fd, F_GETFD) >= 0;
}

TEST(ChildTest, InheritsNoDescriptorButThoseToKeepAndTheStandardThree) {
  const FileDescriptor kept(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const FileDescriptor other(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const FileDescriptor high(fcntl(other.get(), F_DUPFD_CLOEXEC, 700));
  const pid_t pid = StartChild({.title = "test", .keep = {kept.get()}}, [&] {
    const bool right = IsOpen(0) && IsOpen(1) && IsOpen(2) && IsOpen(kept.get()) &&
                       !IsOpen(other.get()) && !IsOpen(high.get());
    return right ? 0 : 1;
  });
  int status = -1;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(IsOpen(other.get())) << "the master's own stay";
}

TEST(CloseOthersTest, ClosesWhatIsNotToBeKept) {
  ChildProcess child([] {
    for (int fd = 10; fd < 20; ++fd) dup2(0, fd);
    CloseOthers({17, 12, 12, -1, 1});
    for (int fd = 3; fd < 30; ++fd) {
      if (IsOpen(fd) != (fd == 12 || fd == 17)) return fd;
    }
    return IsOpen(0) && IsOpen(1) && IsOpen(2) ? 0 : 1;
  });
  EXPECT_TRUE(child.Exited(0));
}

TEST(CloseOthersTest, WithNothingToKeepOnlyTheStandardThreeStay) {
  ChildProcess child([] {
    dup2(0, 50);
    CloseOthers({});
    for (int fd = 3; fd < 60; ++fd) {
      if (IsOpen(fd)) return fd;
    }
    return IsOpen(0) && IsOpen(1) && IsOpen(2) ? 0 : 1;
  });
  EXPECT_TRUE(child.Exited(0));
}

TEST(ChildTest, DumpsNoCoreUnlessItIsAllowed) {
  const auto limit = [] {
    rlimit value{};
    getrlimit(RLIMIT_CORE, &value);
    return value;
  };
  for (const bool allowed : {false, true}) {
    const rlim_t wanted = allowed ? limit().rlim_max : 0;
    const pid_t pid = StartChild({.title = "test", .keep = {}, .core_dumps = allowed},
                                 [&] { return limit().rlim_cur == wanted ? 0 : 1; });
    int status = -1;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0) << allowed;
  }
}

TEST(IdentityTest, IsFoundByName) {
  const auto root = FindIdentity("root", "");
  ASSERT_TRUE(root.ok()) << root.status();
  EXPECT_EQ(root->user, 0U);
  EXPECT_EQ(root->group, 0U);
  const auto nobody = FindIdentity("nobody", "root");
  ASSERT_TRUE(nobody.ok());
  EXPECT_NE(nobody->user, 0U);
  EXPECT_EQ(nobody->group, 0U) << "the group that was named";
}

TEST(IdentityTest, AnUnknownNameIsNotFoundAndSaid) {
  for (const auto& [user, group, name] : {std::tuple("no-such-user", "", "no-such-user"),
                                          {"root", "no-such-group", "no-such-group"}}) {
    const auto status = FindIdentity(user, group).status();
    EXPECT_TRUE(absl::IsNotFound(status)) << status;
    EXPECT_NE(std::string(Message(status)).find(name), std::string::npos);
  }
}

TEST(IdentityTest, AChildRunsAsItAndCannotGoBack) {
  SKIP_UNLESS_ROOT("change the user");
  const auto nobody = FindIdentity("nobody", "");
  ASSERT_TRUE(nobody.ok());
  const pid_t pid = StartChild({.title = "test", .keep = {}, .identity = *nobody}, [&] {
    int signal = 0;
    prctl(PR_GET_PDEATHSIG, &signal);
    const bool right = getuid() == nobody->user && geteuid() == nobody->user &&
                       getgid() == nobody->group && setuid(0) != 0 && signal == SIGTERM;
    return right ? 0 : 1;
  });
  int status = -1;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace inferpool::fcgi

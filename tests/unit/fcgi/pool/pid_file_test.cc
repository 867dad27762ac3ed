#include "fcgi/pool/pid_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>

#include "tests/unit/shared/base/child_process.h"
#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::fcgi {
namespace {

class PidFileTest : public testing::Test {
 protected:
  bool Taken() const {
    return test::Eventually([&] { return FindMaster(folder_.path()).ok(); });
  }

  const test::TemporaryFolder folder_;
  const std::string path_ = PidPath(folder_.path());
};

// A master, as far as its pid file goes.
int Stay(const std::string& state) {
  const auto file = PidFile::Take(state);
  if (!file.ok()) return 1;
  pause();
  return 2;
}

TEST_F(PidFileTest, NamesItsProcessForAsLongAsItIsHeld) {
  {
    const auto file = PidFile::Take(folder_.path());
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(test::ReadFile(path_), std::to_string(getpid()) + "\n");
    EXPECT_EQ(FindMaster(folder_.path()).value_or(0), getpid());
    struct stat info {};
    ASSERT_EQ(stat(path_.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U & ~0640U, 0U);
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_TRUE(absl::IsUnavailable(FindMaster(folder_.path()).status()));
}

TEST_F(PidFileTest, ASecondMasterIsRefusedAndTheFirstOneStays) {
  test::ChildProcess master([&] { return Stay(folder_.path()); });
  ASSERT_TRUE(Taken());
  const absl::Status second = PidFile::Take(folder_.path()).status();
  EXPECT_TRUE(absl::IsAlreadyExists(second));
  EXPECT_NE(Message(second).find(std::to_string(master.pid())), std::string::npos) << second;
  EXPECT_EQ(FindMaster(folder_.path()).value_or(0), master.pid());
}

TEST_F(PidFileTest, WhatAKilledMasterLeftIsNobodysAndIsTakenOver) {
  test::ChildProcess master([&] { return Stay(folder_.path()); });
  ASSERT_TRUE(Taken());
  master.Signal(SIGKILL);
  master.Wait(std::chrono::seconds(5));
  ASSERT_TRUE(std::filesystem::exists(path_));
  EXPECT_TRUE(absl::IsUnavailable(FindMaster(folder_.path()).status()));
  EXPECT_TRUE(PidFile::Take(folder_.path()).ok());
}

TEST_F(PidFileTest, APidThatIsInNobodysLockCountsForNothing) {
  for (const char* text :
       {"1\n", "-1\n", "0\n", "", "garbage\n", "1\n1\n", "99999999999999999999\n"}) {
    test::WriteFile(path_, text);
    EXPECT_TRUE(absl::IsUnavailable(FindMaster(folder_.path()).status())) << text;
    EXPECT_TRUE(PidFile::Take(folder_.path()).ok()) << text;
  }
}

TEST_F(PidFileTest, AnotherFoldersMasterIsNotThisOnes) {
  const test::TemporaryFolder other;
  test::ChildProcess master([&] { return Stay(other.path()); });
  ASSERT_TRUE(test::Eventually([&] { return FindMaster(other.path()).ok(); }));
  test::WriteFile(path_, std::to_string(master.pid()) + "\n");
  EXPECT_TRUE(absl::IsUnavailable(FindMaster(folder_.path()).status()));
}

TEST_F(PidFileTest, ALockedFileThatHoldsNoPidNamesNobody) {
  const auto file = PidFile::Take(folder_.path());
  ASSERT_TRUE(file.ok());
  for (const char* text : {"-1\n", "0\n", "", "garbage\n", "1\n1\n", "1"}) {
    test::WriteFile(path_, text);
    EXPECT_TRUE(absl::IsUnavailable(FindMaster(folder_.path()).status())) << text;
  }
}

TEST_F(PidFileTest, TheLockEndsWithTheMasterThoughItsChildLives) {
  test::ChildProcess master([&] {
    const auto file = PidFile::Take(folder_.path());
    if (!file.ok() || fork() == 0) {
      close(file->fd());  // as StartChild does
      sleep(5);
      _exit(0);
    }
    pause();
    return 2;
  });
  ASSERT_TRUE(Taken());
  usleep(100'000);  // until the child has closed it
  master.Signal(SIGKILL);
  master.Wait(std::chrono::seconds(5));
  EXPECT_TRUE(PidFile::Take(folder_.path()).ok());
}

TEST_F(PidFileTest, AChildDoesNotRemoveTheFileOfItsMaster) {
  auto file = PidFile::Take(folder_.path());
  ASSERT_TRUE(file.ok());
  test::ChildProcess child([&] {
    const PidFile dropped = *std::move(file);
    return 0;
  });
  EXPECT_TRUE(child.Exited(0));
  EXPECT_TRUE(std::filesystem::exists(path_));
}

// The program after us, here /bin/sh, has the lock all the while; then it gives it back to us.
TEST_F(PidFileTest, TheLockSurvivesTheExecOfTheNewProgram) {
  test::ChildProcess master([&] {
    const auto file = PidFile::Take(folder_.path());
    if (!file.ok() || fcntl(file->fd(), F_SETFD, 0) != 0) return 1;
    execl("/bin/sh", "sh", "-c", "touch \"$0/next\"; read never <\"$0/fifo\"",
          folder_.path().c_str(), nullptr);
    return 2;
  });
  ASSERT_EQ(mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  ASSERT_TRUE(test::Eventually([&] { return std::filesystem::exists(folder_ / "next"); }));
  EXPECT_EQ(FindMaster(folder_.path()).value_or(0), master.pid());
  EXPECT_TRUE(absl::IsAlreadyExists(PidFile::Take(folder_.path()).status()));
}

TEST_F(PidFileTest, WhatIsInheritedIsHeldAndRemovedAsIfTaken) {
  auto file = PidFile::Take(folder_.path());
  ASSERT_TRUE(file.ok());
  {
    FileDescriptor same(dup(file->fd()));
    const PidFile inherited = PidFile::Inherit(folder_.path(), std::move(same));
    EXPECT_TRUE(inherited.InPlace());
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(PidFileTest, NoticesThatItsFolderWasMovedOrItsFileReplaced) {
  const test::TemporaryFolder elsewhere;
  const std::string state = folder_ / "state";
  std::filesystem::create_directory(state);
  const auto file = PidFile::Take(state);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(file->InPlace());
  std::filesystem::rename(state, elsewhere / "state");
  EXPECT_FALSE(file->InPlace());
  std::filesystem::create_directory(state);
  test::WriteFile(PidPath(state), "1\n");
  EXPECT_FALSE(file->InPlace());
  EXPECT_TRUE(PidFile().InPlace()) << "one that holds nothing misses nothing";
}

TEST_F(PidFileTest, ALinkIsNotFollowed) {
  const std::string precious = folder_ / "precious";
  test::WriteFile(precious, "precious");
  std::filesystem::create_symlink(precious, path_);
  const absl::Status status = PidFile::Take(folder_.path()).status();
  EXPECT_NE(Message(status).find("symbolic link"), std::string::npos) << status;
  EXPECT_EQ(test::ReadFile(precious), "precious");
  EXPECT_FALSE(FindMaster(folder_.path()).ok());
}

TEST_F(PidFileTest, AFileThatCannotBeWrittenIsSaidAndNotLeftBehind) {
  test::ChildProcess child([&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit none{.rlim_cur = 0, .rlim_max = 0};
    if (setrlimit(RLIMIT_FSIZE, &none) != 0) return 1;
    const absl::Status status = PidFile::Take(folder_.path()).status();
    return absl::IsInternal(status) && Message(status).find("inferpool.pid") != std::string::npos
               ? 0
               : 2;
  });
  EXPECT_TRUE(child.Exited(0));
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_TRUE(absl::IsInternal(PidFile::Take(folder_ / "nowhere").status()));
}

}  // namespace
}  // namespace inferpool::fcgi

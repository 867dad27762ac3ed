#include "ops/cli/state_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>

#include "tests/unit/shared/base/root.h"
#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::ops {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kNobody = 65534;

class StateFolderTest : public testing::Test {
 protected:
  StateFolderTest() {
    config_.state = state_;
    config_.nginx.temporary_files = "disk";  // none is left in /dev/shm
  }

  static mode_t ModeOf(const std::string& path) {
    struct stat info {};
    return lstat(path.c_str(), &info) == 0 ? info.st_mode & 07777U : 0;
  }
  static bool Mentions(const absl::Status& status, const std::string& word) {
    return Message(status).find(word) != std::string::npos;
  }
  // Whether it holds of another user than root.
  static bool HoldsOfNobody(const std::function<bool()>& condition) {
    const pid_t pid = fork();
    if (pid == 0) {
      const bool became = setgid(kNobody) == 0 && setuid(kNobody) == 0;
      _exit(became && condition() ? 0 : 1);
    }
    int status = 1;
    waitpid(pid, &status, 0);
    return status == 0;
  }
  // What `inferpool prepare` says; its warnings too.
  std::string Words(int wanted) const {
    testing::internal::CaptureStderr();
    EXPECT_EQ(Prepare(config_), wanted);
    return testing::internal::GetCapturedStderr();
  }

  const test::TemporaryFolder folder_;
  const std::string state_ = folder_ / "state";
  Config config_;
};

TEST_F(StateFolderTest, IsMadeForUsAndOurGroupWithWhatIsAboveIt) {
  const mode_t mask = umask(0);
  const absl::Status status = MakeStateFolder(state_ + "/a/b/");
  umask(mask);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(ModeOf(state_ + "/a/b"), 0750U);
  EXPECT_TRUE(MakeStateFolder(state_ + "/a/b").ok()) << "it is there already";
}

TEST_F(StateFolderTest, OneThatOthersMayWriteToIsRefusedAndTheWordsSayWhatToDo) {
  fs::create_directory(state_);
  for (const mode_t mode : {0770U, 0777U, 0702U, 01777U}) {
    ASSERT_EQ(chmod(state_.c_str(), mode), 0);
    const absl::Status status = MakeStateFolder(state_);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << mode;
    EXPECT_TRUE(Mentions(status, state_) && Mentions(status, "chmod go-w")) << status;
  }
  for (const mode_t mode : {0700U, 0750U, 0755U}) {
    ASSERT_EQ(chmod(state_.c_str(), mode), 0);
    EXPECT_TRUE(MakeStateFolder(state_).ok()) << mode;
    EXPECT_EQ(ModeOf(state_), mode) << "one that was there stays as it is";
  }
}

TEST_F(StateFolderTest, RootsIsRefusedTooWhenAllMayWriteToIt) {
  SKIP_UNLESS_ROOT("make a folder of root's");
  ASSERT_EQ(chmod(folder_.path().c_str(), 0755), 0);
  fs::create_directory(state_);
  for (const mode_t mode : {0777U, 01777U, 0757U}) {
    ASSERT_EQ(chmod(state_.c_str(), mode), 0);
    EXPECT_TRUE(HoldsOfNobody([this] {
      const absl::Status status = MakeStateFolder(state_);
      return absl::IsFailedPrecondition(status) && Mentions(status, "chmod go-w");
    })) << mode;
  }
  EXPECT_TRUE(HoldsOfNobody([] { return !MakeStateFolder("/tmp").ok(); }));
  ASSERT_EQ(chown(state_.c_str(), 0, kNobody), 0);
  ASSERT_EQ(chmod(state_.c_str(), 0770), 0);
  EXPECT_TRUE(HoldsOfNobody([this] { return MakeStateFolder(state_).ok(); })) << "its group's";
}

TEST_F(StateFolderTest, OneBelowAFolderOfSomebodyElsesIsRefused) {
  SKIP_UNLESS_ROOT("make a folder of somebody else's");
  const std::string above = folder_ / "alice";
  fs::create_directories(above + "/ours");
  ASSERT_EQ(chown(above.c_str(), kNobody, kNobody), 0);
  fs::create_directory_symlink(above + "/ours", folder_ / "link");
  for (const std::string& path : {above + "/new", above + "/ours/state", folder_ / "link/state"}) {
    const absl::Status status = MakeStateFolder(path);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << path;
    EXPECT_TRUE(Mentions(status, above) && Mentions(status, "nobody") &&
                Mentions(status, "--state"))
        << status;
    EXPECT_FALSE(fs::exists(path)) << path;
  }
  ASSERT_EQ(chmod(folder_.path().c_str(), 0755), 0);
  EXPECT_TRUE(HoldsOfNobody([&] { return MakeStateFolder(above + "/new").ok(); }));
}

TEST_F(StateFolderTest, OneBelowAFolderThatAllMayWriteToIsRefused) {
  const std::string above = folder_ / "open";
  fs::create_directories(above);
  ASSERT_EQ(chmod(above.c_str(), 0777), 0);
  const absl::Status status = MakeStateFolder(above + "/a/b");
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_TRUE(Mentions(status, above) && Mentions(status, "chmod o-w")) << status;
  SKIP_UNLESS_ROOT("be another user");
  ASSERT_EQ(chmod(folder_.path().c_str(), 0755), 0);
  EXPECT_TRUE(HoldsOfNobody([&] { return MakeStateFolder(above + "/theirs").ok(); }))
      << "a volume of a container";
  for (const mode_t mode : {0755U, 0775U, 01777U}) {
    ASSERT_EQ(chmod(above.c_str(), mode), 0);
    EXPECT_TRUE(MakeStateFolder(above + "/a/b").ok()) << mode;
  }
}

TEST_F(StateFolderTest, SomebodyElsesIsRefused) {
  SKIP_UNLESS_ROOT("make a folder of somebody else's");
  fs::create_directory(state_);
  ASSERT_EQ(chown(state_.c_str(), kNobody, kNobody), 0);
  const absl::Status status = MakeStateFolder(state_);
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_TRUE(Mentions(status, state_) && Mentions(status, "nobody") && Mentions(status, "root"))
      << status;
}

TEST_F(StateFolderTest, ALinkOfSomebodyElsesIsRefusedAndOneOfOursIsNot) {
  fs::create_directory(folder_ / "real");
  fs::create_directory_symlink(folder_ / "real", state_);
  EXPECT_TRUE(MakeStateFolder(state_).ok());
  SKIP_UNLESS_ROOT("make a link of somebody else's");
  ASSERT_EQ(lchown(state_.c_str(), kNobody, kNobody), 0);
  for (const std::string& name : {state_, state_ + "/"}) {
    EXPECT_TRUE(Mentions(MakeStateFolder(name), "symbolic link")) << name;
  }
}

TEST_F(StateFolderTest, AFileInItsPlaceIsSaid) {
  test::WriteFile(state_, "precious");
  EXPECT_TRUE(Mentions(MakeStateFolder(state_), state_));
  EXPECT_TRUE(Mentions(MakeStateFolder(state_ + "/below"), state_));
  EXPECT_EQ(test::ReadFile(state_), "precious");
}

TEST_F(StateFolderTest, PrepareMakesWhatNginxNeeds) {
  const mode_t mask = umask(0);
  const std::string words = Words(EXIT_SUCCESS);
  umask(mask);
  for (const char* name : {"", "/logs", "/tmp", "/tls"}) EXPECT_EQ(ModeOf(state_ + name), 0750U);
  EXPECT_EQ(ModeOf(state_ + "/nginx.conf"), 0640U);
  EXPECT_NE(test::ReadFile(state_ + "/nginx.conf").find("pid nginx.pid;"), std::string::npos);
  EXPECT_EQ(words.find("root") != std::string::npos, geteuid() == 0);
  config_.user = "nobody";
  EXPECT_EQ(Words(EXIT_SUCCESS), "");
}

TEST_F(StateFolderTest, PrepareFollowsNoLink) {
  ASSERT_EQ(Prepare(config_), EXIT_SUCCESS);
  test::WriteFile(folder_ / "precious", "precious");
  fs::remove(state_ + "/nginx.conf");
  fs::create_symlink(folder_ / "precious", state_ + "/nginx.conf");
  EXPECT_EQ(Prepare(config_), EXIT_SUCCESS) << "a link is replaced";
  EXPECT_EQ(test::ReadFile(folder_ / "precious"), "precious");
  EXPECT_FALSE(fs::is_symlink(state_ + "/nginx.conf"));

  fs::create_symlink(folder_ / "precious", state_ + "/logs/nginx-access.log");
  EXPECT_NE(Words(EXIT_FAILURE).find("nginx-access.log is a symbolic link"), std::string::npos);

  fs::remove_all(state_ + "/logs");
  fs::create_directory(folder_ / "elsewhere");
  fs::create_directory_symlink(folder_ / "elsewhere", state_ + "/logs");
  EXPECT_NE(Words(EXIT_FAILURE).find(state_ + "/logs"), std::string::npos);
  EXPECT_TRUE(fs::is_empty(folder_ / "elsewhere"));
}

// Of root's pool with a `user`, only that user's children/ is theirs, and they can get there; and
// nginx's workers, to their files in logs/ and tmp/.
TEST_F(StateFolderTest, WhatIsGivenToAUserIsWhatItNeeds) {
  SKIP_UNLESS_ROOT("give a folder away");
  config_.user = "nobody";
  ASSERT_EQ(Prepare(config_), EXIT_SUCCESS);
  config_.listen.socket = state_ + "/pool.sock";
  ASSERT_TRUE(GiveTo({.user = kNobody, .group = kNobody, .name = "nobody"}, config_).ok());
  struct stat info {};
  for (const char* name : {"", "/logs", "/tmp"}) {
    ASSERT_EQ(stat((state_ + name).c_str(), &info), 0) << name;
    EXPECT_EQ(info.st_uid, 0U) << name;
    EXPECT_EQ(info.st_gid, kNobody) << name;
    EXPECT_EQ(info.st_mode & 07777U, 0750U) << name;
  }
  ASSERT_EQ(stat((state_ + "/tls").c_str(), &info), 0);
  EXPECT_EQ(info.st_gid, 0U) << "the key is none of their business";
  ASSERT_EQ(stat((state_ + "/children").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, kNobody);
  EXPECT_TRUE(MakeStateFolder(state_).ok()) << "the next start has nothing against it";
}

}  // namespace
}  // namespace inferpool::ops

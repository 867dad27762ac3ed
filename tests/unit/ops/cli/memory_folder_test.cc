#include "ops/cli/memory_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::ops {
namespace {

namespace fs = std::filesystem;

class MemoryFolderTest : public testing::Test {
 protected:
  MemoryFolderTest() {
    config_.state = state_ / "state";
    fs::create_directory(config_.state);
  }

  bool HasRoom() const { return fs::space(memory_).available >= kMinMemoryBytes; }

  const test::TemporaryFolder state_;
  const test::TemporaryFolder in_memory_{"/dev/shm"};
  const std::string& memory_ = in_memory_.path();
  Config config_;
};

TEST_F(MemoryFolderTest, IsMadeWhereThereIsRoomAndFoundAgain) {
  EXPECT_EQ(TemporaryFolder(config_, memory_), "tmp") << "nobody has made one";
  MakeMemoryFolder(config_, memory_);
  const std::string folder = TemporaryFolder(config_, memory_);
  ASSERT_EQ(folder != "tmp", HasRoom()) << folder;
  if (!HasRoom()) return;
  EXPECT_TRUE(folder.starts_with(memory_ + "/inferpool-nginx-")) << folder;
  struct stat info {};
  ASSERT_EQ(lstat(folder.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0711U);
  MakeMemoryFolder(config_, memory_);
  EXPECT_EQ(TemporaryFolder(config_, memory_), folder);

  config_.nginx.temporary_files = "disk";
  EXPECT_EQ(TemporaryFolder(config_, memory_), "tmp");
  config_.nginx.temporary_files = "auto";
  const std::string other = state_ / "other";
  fs::create_directory(other);
  config_.state = other;
  MakeMemoryFolder(config_, memory_);
  EXPECT_NE(TemporaryFolder(config_, memory_), folder) << "each pool has its own";
}

TEST_F(MemoryFolderTest, IsOnADiskWhereTheOtherOneIsNoMemory) {
  const std::string disk = state_ / "disk";
  fs::create_directory(disk);
  struct stat info {};
  ASSERT_EQ(stat(disk.c_str(), &info), 0);
  config_.nginx.temporary_files = "disk";
  MakeMemoryFolder(config_, memory_);
  EXPECT_TRUE(fs::is_empty(memory_));
  config_.nginx.temporary_files = "auto";
  MakeMemoryFolder(config_, "/proc");
  EXPECT_EQ(TemporaryFolder(config_, "/proc"), "tmp");
}

TEST_F(MemoryFolderTest, WhatIsNotOursIsNotUsed) {
  MakeMemoryFolder(config_, memory_);
  const std::string folder = TemporaryFolder(config_, memory_);
  if (folder == "tmp") return;  // no room
  fs::remove(folder);
  fs::create_directory_symlink(state_ / "state", folder);
  MakeMemoryFolder(config_, memory_);
  EXPECT_EQ(TemporaryFolder(config_, memory_), "tmp") << "a link";
  fs::remove(folder);
  fs::create_directory(folder);
  chmod(folder.c_str(), 0777);
  EXPECT_EQ(TemporaryFolder(config_, memory_), "tmp") << "writable to others";
  fs::remove(folder);
  if (geteuid() != 0) return;
  fs::create_directory(folder);
  ASSERT_EQ(chown(folder.c_str(), 65534, 65534), 0);
  EXPECT_EQ(TemporaryFolder(config_, memory_), "tmp") << "another user's";
}

TEST_F(MemoryFolderTest, WhatRootHasLeftIsNotForAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  MakeMemoryFolder(config_, memory_);
  const std::string folder = TemporaryFolder(config_, memory_);
  if (folder == "tmp") return;  // no room
  fs::permissions(state_.path(), fs::perms::others_exec, fs::perm_options::add);
  fs::permissions(memory_, fs::perms::others_exec, fs::perm_options::add);
  ASSERT_EQ(seteuid(65534), 0);
  const std::string theirs = TemporaryFolder(config_, memory_);
  ASSERT_EQ(seteuid(0), 0);
  EXPECT_EQ(theirs, "tmp");
}

}  // namespace
}  // namespace inferpool::ops

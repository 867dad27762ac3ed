#include "shared/base/file_descriptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <type_traits>

namespace inferpool {
namespace {

int Open() {
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_GE(fd, 0);
  return fd;
}

bool IsOpen(int fd) {
  return fcntl(fd, F_GETFD) >= 0;
}

TEST(FileDescriptorTest, ClosesAtTheEndOfItsLife) {
  const int fd = Open();
  {
    const FileDescriptor owner(fd);
    EXPECT_EQ(owner.get(), fd);
    EXPECT_TRUE(IsOpen(fd));
  }
  EXPECT_FALSE(IsOpen(fd));
}

TEST(FileDescriptorTest, IsTrueOnlyWhileItOwnsOne) {
  FileDescriptor none;
  EXPECT_FALSE(none);
  EXPECT_FALSE(FileDescriptor(-1));
  FileDescriptor some(Open());
  EXPECT_TRUE(some);
  some.Reset();
  EXPECT_FALSE(some);
  EXPECT_EQ(some.get(), -1);
}

TEST(FileDescriptorTest, OwnsDescriptorZero) {
  const FileDescriptor keep(dup(STDIN_FILENO));
  FileDescriptor zero(STDIN_FILENO);
  EXPECT_TRUE(zero);
  EXPECT_EQ(zero.Release(), STDIN_FILENO);
}

TEST(FileDescriptorTest, ReleaseHandsTheDescriptorOver) {
  const int fd = Open();
  {
    FileDescriptor owner(fd);
    EXPECT_EQ(owner.Release(), fd);
    EXPECT_FALSE(owner);
  }
  EXPECT_TRUE(IsOpen(fd));
  close(fd);
}

TEST(FileDescriptorTest, MovingLeavesTheSourceEmpty) {
  const int fd = Open();
  FileDescriptor first(fd);
  FileDescriptor second(std::move(first));
  EXPECT_EQ(first.get(), -1);  // NOLINT(bugprone-use-after-move): the state after it is promised
  EXPECT_EQ(second.get(), fd);
  EXPECT_TRUE(IsOpen(fd));
}

TEST(FileDescriptorTest, AssigningClosesWhatWasOwnedBefore) {
  const int kept = Open();
  const int replaced = Open();
  FileDescriptor owner(replaced);
  owner = FileDescriptor(kept);
  EXPECT_EQ(owner.get(), kept);
  EXPECT_TRUE(IsOpen(kept));
  EXPECT_FALSE(IsOpen(replaced));
}

TEST(FileDescriptorTest, AssigningToItselfKeepsItOpen) {
  FileDescriptor owner(Open());
  FileDescriptor& same = owner;
  owner = std::move(same);
  EXPECT_TRUE(owner);
  EXPECT_TRUE(IsOpen(owner.get()));
}

TEST(FileDescriptorTest, HasOneOwner) {
  EXPECT_FALSE(std::is_copy_constructible_v<FileDescriptor>);
  EXPECT_FALSE(std::is_copy_assignable_v<FileDescriptor>);
}

}  // namespace
}  // namespace inferpool

#include "shared/base/replace_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool {
namespace {

class ReplaceFileTest : public testing::Test {
 protected:
  std::ptrdiff_t Files() const {
    return std::distance(std::filesystem::directory_iterator(folder_.path()), {});
  }

  const test::TemporaryFolder folder_;
  const std::string path_ = folder_ / "file";
};

TEST_F(ReplaceFileTest, WritesANewFileWithItsMode) {
  ASSERT_TRUE(ReplaceFile(path_, "text", {.mode = 0600, .durable = true}).ok());
  EXPECT_EQ(test::ReadFile(path_), "text");
  struct stat info {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  EXPECT_EQ(Files(), 1);
}

TEST_F(ReplaceFileTest, ALinkIsReplacedAndNotFollowed) {
  test::WriteFile(folder_ / "precious", "precious");
  for (const char* name : {"file", "file.new"}) {
    std::filesystem::create_symlink(folder_ / "precious", folder_ / name);
  }
  ASSERT_TRUE(ReplaceFile(path_, "text").ok());
  EXPECT_EQ(test::ReadFile(path_), "text");
  EXPECT_EQ(test::ReadFile(folder_ / "precious"), "precious");
  EXPECT_FALSE(std::filesystem::is_symlink(path_));
}

TEST_F(ReplaceFileTest, OnAFullDiskTheOldFileStaysAndNothingLiesBesideIt) {
  ASSERT_TRUE(ReplaceFile(path_, "old").ok());
  const pid_t child = fork();  // the limit is a process's
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit few{.rlim_cur = 10, .rlim_max = 10};
    if (setrlimit(RLIMIT_FSIZE, &few) != 0) _exit(1);
    _exit(absl::IsInternal(ReplaceFile(path_, std::string(100, 'x'))) ? 0 : 2);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(test::ReadFile(path_), "old");
  EXPECT_EQ(Files(), 1);
}

TEST_F(ReplaceFileTest, WhenRightsCannotBeSetNothingHasChanged) {
  const absl::Status status = ReplaceFile(
      path_, "text", {.set_rights = [](int) { return absl::InternalError("no rights"); }});
  EXPECT_EQ(Message(status), "no rights");
  EXPECT_EQ(Files(), 0);
}

TEST_F(ReplaceFileTest, AFolderThatIsNotThereIsAnError) {
  const absl::Status status = ReplaceFile(folder_ / "nowhere/file", "text");
  EXPECT_NE(Message(status).find("nowhere/file"), std::string::npos) << status;
}

}  // namespace
}  // namespace inferpool

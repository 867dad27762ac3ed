#include "ops/cli/log_end.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::ops {
namespace {

namespace fs = std::filesystem;

class LogEndTest : public testing::Test {
 protected:
  // The log after Mend, when it was `text` before.
  std::string Mended(const std::string& text) {
    test::WriteFile(path_, text);
    end_.Mend();
    return test::ReadFile(path_);
  }

  const test::TemporaryFolder folder_;
  const std::string path_ = folder_ / "access.log";
  LogEnd end_{path_};
};

TEST_F(LogEndTest, WholeLinesStay) {
  for (const char* text : {"", "\n", "a\n", "a\nb\n"}) EXPECT_EQ(Mended(text), text);
}

TEST_F(LogEndTest, APieceIsTakenAwayWhereverItBegins) {
  EXPECT_EQ(Mended("{\"status\":200}\n{\"sta"), "{\"status\":200}\n");
  EXPECT_EQ(Mended("{\"sta"), "");
  const std::string lines = std::string(200'000, 'x') + "\n";
  EXPECT_EQ(Mended(lines + "y"), lines);
  EXPECT_EQ(Mended(lines + "y"), lines) << "again";
}

TEST_F(LogEndTest, WhatIsNoLogOfLinesStays) {
  const std::string text(200'000, 'x');
  EXPECT_EQ(Mended(text), text);
}

TEST_F(LogEndTest, NoLogAndALinkAreLeftAlone) {
  end_.Mend();
  EXPECT_FALSE(fs::exists(path_));
  test::WriteFile(folder_ / "other", "abc");
  fs::create_symlink(folder_ / "other", path_);
  end_.Mend();
  EXPECT_EQ(test::ReadFile(folder_ / "other"), "abc");
}

}  // namespace
}  // namespace inferpool::ops

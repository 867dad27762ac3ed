#include "modelserver/repository/file_override.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace inferpool::modelserver {
namespace {

TEST(FileOverrides, LieInAPrivateFolderThatGoesWithThem) {
  std::filesystem::path folder;
  {
    const auto files =
        FileOverride::Write({{"1/model.onnx", std::string("a\0b", 3)}, {"12/deep/er/file", ""}});
    ASSERT_TRUE(files.ok()) << files.status();
    folder = (*files)->folder();
    std::ifstream stream(folder / "1/model.onnx", std::ios::binary);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(stream), {}), std::string("a\0b", 3));
    EXPECT_TRUE(std::filesystem::exists(folder / "12/deep/er/file"));
    EXPECT_EQ(std::filesystem::status(folder).permissions(), std::filesystem::perms::owner_all);
  }
  EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST(FileOverrides, RefuseNamesThatLeadElsewhere) {
  using namespace std::string_literals;
  for (const std::string& name : {""s,
                                  "1"s,
                                  "1/"s,
                                  "/1/x"s,
                                  "model.onnx"s,
                                  "config.pbtxt"s,
                                  "0/x"s,
                                  "-1/x"s,
                                  "01/x"s,
                                  "1/.."s,
                                  "1/../2/x"s,
                                  "1/../../x"s,
                                  "../1/x"s,
                                  "1/./x"s,
                                  "1//x"s,
                                  "1/.hidden"s,
                                  "1/a\0b"s,
                                  "1/a\nb"s,
                                  "1/a\\b"s,
                                  "1/"s + std::string(256, 'x'),
                                  "1/2/3/4/5/6/7/8/9"s,
                                  "99999999999999999999/x"s}) {
    EXPECT_TRUE(absl::IsInvalidArgument(FileOverride::Write({{name, "x"}}).status())) << name;
  }
}

TEST(FileOverrides, AreBounded) {
  OverrideFiles many;
  for (std::size_t i = 0; i <= kMaxOverrideFiles; ++i) many["1/" + std::to_string(i)] = "";
  EXPECT_TRUE(absl::IsInvalidArgument(FileOverride::Write(many).status()));
  OverrideFiles large;
  large["1/a"] = std::string(kMaxOverrideBytes / 2, 'x');
  large["1/b"] = std::string(kMaxOverrideBytes / 2 + 1, 'x');
  EXPECT_TRUE(absl::IsInvalidArgument(FileOverride::Write(large).status()));
}

}  // namespace
}  // namespace inferpool::modelserver

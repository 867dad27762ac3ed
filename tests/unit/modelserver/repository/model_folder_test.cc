#include "modelserver/repository/model_folder.h"

#include <gtest/gtest.h>

#include <utility>

#include "tests/unit/modelserver/repository/folder.h"

namespace inferpool::modelserver {
namespace {

TEST(SubFolders, AreSortedAndThoseOfNoNameAreSkipped) {
  const Folder folder;
  folder.Write("b/x", "");
  folder.Write("a/x", "");
  folder.Write("B\xe9/x", "");
  folder.Write("a\tb/x", "");
  folder.Write("\xc3\x9c b/x", "");
  folder.Write(".hidden/x", "");
  folder.Write(".model/config.pbtxt", "");
  folder.Write("file", "");
  std::vector<std::string> skipped;
  const auto names = SubFolders(folder.path(), 6, &skipped);
  ASSERT_TRUE(names.ok()) << names.status();
  EXPECT_EQ(*names, (std::vector<std::string>{".model", "a", "b", "\xc3\x9c b"}));
  EXPECT_EQ(skipped, (std::vector<std::string>{"B\xe9", "a\tb"}));
  EXPECT_FALSE(SubFolders(folder.path(), 5).ok());
}

TEST(Fingerprints, ChangeWithAnyFileThatCounts) {
  const Folder folder;
  folder.Write("m/config.pbtxt", "one");
  folder.Write("m/1/model.onnx", "model");
  const std::filesystem::path model = folder.path() / "m";
  std::optional<Fingerprint> last = FingerprintOf(model);
  ASSERT_TRUE(last);
  EXPECT_EQ(FingerprintOf(model), last);
  const auto changed = [&] {
    const std::optional<Fingerprint> now = FingerprintOf(model);
    return std::exchange(last, now) != now;
  };
  folder.Write("m/config.pbtxt", "two, longer");
  EXPECT_TRUE(changed());
  folder.Write("m/labels.txt", "cat");
  EXPECT_TRUE(changed());
  folder.Write("m/2/model.onnx", "model");
  EXPECT_TRUE(changed());
  folder.Write("m/2/variables/part", "x");
  EXPECT_TRUE(changed());
  std::filesystem::remove(model / "2/variables/part");
  EXPECT_TRUE(changed());
  std::filesystem::rename(model / "2", model / "3");
  EXPECT_TRUE(changed());
  // The same size and time, but another file.
  const auto time = std::filesystem::last_write_time(model / "labels.txt");
  folder.Write("m/.new", "dog");
  std::filesystem::last_write_time(model / ".new", time);
  EXPECT_FALSE(changed());  // hidden
  std::filesystem::rename(model / ".new", model / "labels.txt");
  EXPECT_TRUE(changed());
  EXPECT_FALSE(FingerprintOf(folder.path() / "nobody"));
}

TEST(Fingerprints, EndWhereLinksGoInCircles) {
  const Folder folder;
  folder.Write("m/config.pbtxt", "");
  std::filesystem::create_directory_symlink(folder.path() / "m", folder.path() / "m/loop");
  EXPECT_TRUE(FingerprintOf(folder.path() / "m"));
}

TEST(FolderWatches, ActWhenTwoLooksAgree) {
  using Change = FolderWatch::Change;
  FolderWatch watch;
  EXPECT_EQ(watch.Look({}), Change::kNone);  // never there
  EXPECT_EQ(watch.Look(1), Change::kNone);   // being copied
  EXPECT_EQ(watch.Look(2), Change::kNone);   // still
  EXPECT_EQ(watch.Look(2), Change::kLoad);
  EXPECT_EQ(watch.Look(2), Change::kNone);  // loaded, or has failed: once
  watch.Acted(3);                           // it changed just before it was read
  EXPECT_EQ(watch.Look(3), Change::kNone);
  EXPECT_EQ(watch.Look({}), Change::kNone);  // replaced by renaming, perhaps
  EXPECT_EQ(watch.Look(3), Change::kNone);
  EXPECT_EQ(watch.Look({}), Change::kNone);
  EXPECT_EQ(watch.Look({}), Change::kUnload);
  EXPECT_EQ(watch.Look({}), Change::kNone);
  EXPECT_EQ(watch.Look(3), Change::kNone);
  EXPECT_EQ(watch.Look(3), Change::kLoad);
}

}  // namespace
}  // namespace inferpool::modelserver

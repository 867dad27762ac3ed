#include "modelserver/class_names.h"

#include <gtest/gtest.h>

#include "tests/unit/modelserver/folder.h"

namespace inferpool::modelserver {
namespace {

using Names = std::vector<std::string>;

std::string NamesOf(const inference::ModelConfig& config) {
  const auto found = config.parameters().find("class_names");
  return found == config.parameters().end() ? "none" : found->second.string_value();
}

TEST(UltralyticsNames, AreReadInClassOrder) {
  EXPECT_EQ(ParseUltralyticsNames("{0: 'person', 1: 'bicycle'}"), (Names{"person", "bicycle"}));
  EXPECT_EQ(ParseUltralyticsNames("{1:\"driver's\",0:'it\\'s'}"), (Names{"it's", "driver's"}));
  EXPECT_EQ(ParseUltralyticsNames("{2: 'c'}"), (Names{"0", "1", "c"}));
  EXPECT_EQ(ParseUltralyticsNames("{0: 'two\nlines'}"), (Names{"two lines"}));
}

TEST(UltralyticsNames, WhatIsNoSuchDictGivesNone) {
  for (const char* text :
       {"", "{", "{}", "{0: 'a'", "{0 'a'}", "{0: 'a' 1: 'b'}", "['a']", "{'a': 0}", "{0: 'a",
        "{-1: 'a'}", "{99999999999999999999: 'a'}", "{1000000: 'a'}", "{0: 'caf\xe9'}"}) {
    EXPECT_TRUE(ParseUltralyticsNames(text).empty()) << text;
  }
}

TEST(Labels, AreLinesWithoutLineEnds) {
  const Folder folder;
  EXPECT_EQ(*ReadLabels(folder.Write("a", "cat\r\n\ndog")), (Names{"cat", "", "dog"}));
  EXPECT_EQ(*ReadLabels(folder.Write("b", "cat\n\n\n")), (Names{"cat"}));
  EXPECT_FALSE(ReadLabels(folder.path() / "missing").ok());
  EXPECT_FALSE(ReadLabels(folder.Write("c", std::string(2 << 20, 'x'))).ok());
}

TEST(Labels, MustBeUtf8) {
  const Folder folder;
  EXPECT_EQ(*ReadLabels(folder.Write("a", "caf\xc3\xa9\n")), (Names{"caf\xc3\xa9"}));
  const absl::Status status = ReadLabels(folder.Write("latin", "cat\ncaf\xe9\n")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("latin: line 2 is not UTF-8"), std::string_view::npos) << status;
}

TEST(ClassNames, ComeFromTheMostParticularPlace) {
  const Folder folder;
  inference::ModelConfig config;
  ASSERT_TRUE(AddClassNames(folder.path(), {}, config).ok());
  EXPECT_EQ(NamesOf(config), "none");
  ASSERT_TRUE(AddClassNames(folder.path(), {"from", "file"}, config).ok());
  EXPECT_EQ(NamesOf(config), "from\nfile");

  config.clear_parameters();
  folder.Write("labels.txt", "label\n");
  ASSERT_TRUE(AddClassNames(folder.path(), {"from", "file"}, config).ok());
  EXPECT_EQ(NamesOf(config), "label");

  config.clear_parameters();
  folder.Write("own.txt", "own\n");
  config.add_output();
  config.add_output()->set_label_filename("own.txt");
  ASSERT_TRUE(AddClassNames(folder.path(), {}, config).ok());
  EXPECT_EQ(NamesOf(config), "own");

  (*config.mutable_parameters())["class_names"].set_string_value("given");
  ASSERT_TRUE(AddClassNames(folder.path(), {}, config).ok());
  EXPECT_EQ(NamesOf(config), "given");
}

TEST(ClassNames, ALabelFileThatIsNotThereIsAnError) {
  const Folder folder;
  inference::ModelConfig config;
  for (const char* name : {"missing.txt", "../labels.txt", "/etc/passwd", ".."}) {
    config.clear_output();
    config.add_output()->set_label_filename(name);
    EXPECT_FALSE(AddClassNames(folder.path(), {}, config).ok()) << name;
  }
}

}  // namespace
}  // namespace inferpool::modelserver

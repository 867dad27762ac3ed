#include "modelserver/config/class_names.h"

#include <gtest/gtest.h>

#include "tests/unit/modelserver/repository/folder.h"

namespace inferpool::modelserver {
namespace {

using Names = std::vector<std::string>;

std::string NamesOf(const inference::ModelConfig& config) {
  const auto found = config.parameters().find("class_names");
  return found == config.parameters().end() ? "none" : found->second.string_value();
}

TEST(Labels, AreLinesWithoutLineEnds) {
  const Folder folder;
  EXPECT_EQ(*ReadLabels(folder.Write("a", "cat\r\n\ndog")), (Names{"cat", "", "dog"}));
  EXPECT_EQ(*ReadLabels(folder.Write("b", "cat\n\n\n")), (Names{"cat"}));
  EXPECT_FALSE(ReadLabels(folder.path() / "missing").ok());
  EXPECT_FALSE(ReadLabels(folder.Write("c", std::string(2 << 20, 'x'))).ok());
}

TEST(Labels, WhatNobodySeesIsNoPartOfAName) {
  const Folder folder;
  EXPECT_EQ(*ReadLabels(folder.Write("a",
                                     "\xef\xbb\xbf"
                                     "cat\r\ndog\r\n")),
            (Names{"cat", "dog"}));
  EXPECT_EQ(*ReadLabels(folder.Write("b", "cat  \n\tdog\t\n \nbird \f")),
            (Names{"cat", "dog", "", "bird"}));
  EXPECT_EQ(*ReadLabels(folder.Write("d", "cat\xc2\xa0 \n\xc3\xa9\xe2\x80\x8b\n")),
            (Names{"cat", "\xc3\xa9"}));
  EXPECT_EQ(*ReadLabels(folder.Write("c", "cat\rdog\r\rbird")), (Names{"cat", "dog", "", "bird"}));
}

TEST(Labels, OfTwoBytesACharacterAreRefused) {
  const Folder folder;
  const std::string with_mark(
      "\xff\xfe"
      "c\0a\0t\0",
      8);
  EXPECT_NE(ReadLabels(folder.Write("a", with_mark)).status().message().find("UTF-16"),
            std::string_view::npos);
  EXPECT_FALSE(ReadLabels(folder.Write("b", with_mark.substr(2))).ok());
}

TEST(ClassNames, ALineBreakInANameMovesNoOther) {
  const Folder folder;
  inference::ModelConfig config;
  ASSERT_TRUE(AddClassNames(folder.path(), {"", "traffic\nlight", "dog"}, config).ok());
  EXPECT_EQ(NamesOf(config), "\ntraffic light\ndog");
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

TEST(OutputLabels, AreThoseOfTheOutputsOwnFile) {
  const Folder folder;
  folder.Write("labels.txt", "other\n");
  folder.Write("animals.txt", "cat\n\ndog\n");
  folder.Write("colours.txt", "red\n");
  inference::ModelConfig config;
  config.add_output();
  config.add_output()->set_label_filename("animals.txt");
  config.add_output()->set_label_filename("colours.txt");
  const auto labels = AddClassNames(folder.path(), {"from", "file"}, config);
  ASSERT_TRUE(labels.ok()) << labels.status();
  EXPECT_EQ(*labels, (OutputLabels{{}, {"cat", "", "dog"}, {"red"}}));
  EXPECT_EQ(NamesOf(config), "cat\n\ndog");

  (*config.mutable_parameters())["class_names"].set_string_value("given");
  EXPECT_EQ(*AddClassNames(folder.path(), {}, config), *labels);
  EXPECT_EQ(NamesOf(config), "given");
}

TEST(OutputLabels, OfTheOnlyOutputAreTheClassNamesWhenItNamesNoFile) {
  const Folder folder;
  inference::ModelConfig config;
  config.add_output();
  EXPECT_EQ(*AddClassNames(folder.path(), {"from", "file"}, config),
            (OutputLabels{{"from", "file"}}));
  (*config.mutable_parameters())["class_names"].set_string_value("a\nb");
  EXPECT_EQ(*AddClassNames(folder.path(), {}, config), (OutputLabels{{"a", "b"}}));
  config.add_output();
  EXPECT_EQ(*AddClassNames(folder.path(), {}, config), (OutputLabels{{}, {}}));
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

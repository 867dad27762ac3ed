// The key `models` of the configuration.
#include "shared/config/models_key.h"

#include <gtest/gtest.h>

#include <string>

#include "shared/config/config.h"
#include "tests/unit/shared/base/temporary_folder.h"
#include "tests/unit/shared/config/config_parsing.h"

namespace inferpool {
namespace {

using test::HasOnly;
using test::IsGood;
using test::Parse;
using test::TemporaryFolder;
using test::WriteFile;

TEST(ModelsKeyTest, EverythingThatCanBeSaidOfAModelIsRead) {
  const ConfigResult result = Parse(R"({"models": {"a/b": {
    "family": "yolov8", "input_size": 640, "scale": 0.5, "end2end": true, "mean": [0.1, 2, 3],
    "max_batch_size": 8, "class_names": ["cat", "dog"],
    "inputs": [{"name": "images", "datatype": "FP32", "shape": [-1, 3, 64, 64]}],
    "outputs": [{"name": "o", "datatype": "BYTES", "shape": []}]}}})");
  ASSERT_TRUE(IsGood(result));
  const Config::Model& model = result.config.models.at("a/b");
  EXPECT_EQ(model.parameters, (std::map<std::string, std::string>{{"family", "yolov8"},
                                                                  {"input_size", "640"},
                                                                  {"scale", "0.5"},
                                                                  {"end2end", "true"},
                                                                  {"mean", "0.1,2,3"}}));
  EXPECT_EQ(model.max_batch_size, 8);
  EXPECT_EQ(model.class_names, (std::vector<std::string>{"cat", "dog"}));
  ASSERT_EQ(model.inputs.size(), 1U);
  EXPECT_EQ(model.inputs[0].name, "images");
  EXPECT_EQ(model.inputs[0].shape, (std::vector<std::int64_t>{-1, 3, 64, 64}));
  EXPECT_TRUE(model.outputs[0].shape.empty());
  EXPECT_EQ(model.line, 1);
  const ConfigResult again = Parse("{\"models\": " + ToJson(result.config.models) + "}");
  ASSERT_TRUE(IsGood(again));
  EXPECT_EQ(ToJson(again.config.models), ToJson(result.config.models)) << "it reads back";
}

TEST(ModelsKeyTest, ClassNamesAreThoseOfTheFile) {
  const TemporaryFolder folder;
  WriteFile(folder / "labels.txt", "cat\r\n\ndog\n\n");
  const auto parse = [&folder] {
    return ParseConfig(R"({"models": {"a": {"class_names": "labels.txt"}}})", folder / "", {});
  };
  const ConfigResult result = parse();
  ASSERT_TRUE(IsGood(result));
  EXPECT_EQ(result.config.models.at("a").class_names, (std::vector<std::string>{"cat", "", "dog"}));
  WriteFile(folder / "labels.txt", "one\n");
  EXPECT_NE(ToJson(parse().config.models), ToJson(result.config.models))
      << "a reload sees that the file has changed";
}

TEST(ModelsKeyTest, WhatIsWrongIsSaidWithItsPlace) {
  const auto problem = [](const std::string& model, const std::string& key) {
    return HasOnly(Parse("{\"models\": {\"a\":\n {" + model + "}}}"), 2, key, "allowed");
  };
  EXPECT_TRUE(problem(R"("max_batch_size": -1)", "models.a.max_batch_size"));
  EXPECT_TRUE(problem(R"("max_batch_size": "8")", "models.a.max_batch_size"));
  EXPECT_TRUE(problem(R"("class_names": 5)", "models.a.class_names"));
  EXPECT_TRUE(problem(R"("class_names": [])", "models.a.class_names"));
  EXPECT_TRUE(problem(R"("family": null)", "models.a.family"));
  EXPECT_TRUE(problem(R"("family": {})", "models.a.family"));
  EXPECT_TRUE(problem(R"("inputs": {})", "models.a.inputs"));
  EXPECT_TRUE(problem(R"("inputs": [{"name": "x"}])", "models.a.inputs[0]"));
  EXPECT_TRUE(problem(R"("inputs": [{"name": "x", "datatype": "FLOAT", "shape": []}])",
                      "models.a.inputs[0].datatype"));
  EXPECT_TRUE(problem(R"("outputs": [{"name": "x", "datatype": "FP32", "shape": [0]}])",
                      "models.a.outputs[0].shape"));
  EXPECT_TRUE(HasOnly(Parse("{\"models\": {\"a\": 5}}"), 1, "models.a", "allowed"));
  EXPECT_FALSE(Parse("{\"models\": {\"\": {}}}").problems.empty());
  const ConfigResult no_file = Parse(R"({"models": {"a": {"class_names": "/nonexistent/x"}}})");
  EXPECT_TRUE(HasOnly(no_file, 1, "models.a.class_names", "/nonexistent/x is no file"));
}

}  // namespace
}  // namespace inferpool

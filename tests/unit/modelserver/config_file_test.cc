#include "modelserver/config_file.h"

#include <gtest/gtest.h>

#include "tests/unit/modelserver/folder.h"

namespace inferpool::modelserver {
namespace {

using Versions = std::vector<std::int64_t>;

std::string Text(const absl::Status& status) {
  return std::string(Message(status));
}

inference::ModelConfig Complete() {
  inference::ModelConfig config;
  auto& input = *config.add_input();
  input.set_name("x");
  input.set_data_type(inference::TYPE_FP32);
  input.add_dims(-1);
  auto& output = *config.add_output();
  output.set_name("y");
  output.set_data_type(inference::TYPE_STRING);
  output.add_dims(3);
  return config;
}

TEST(ConfigFile, IsReadAsTritonWritesIt) {
  const Folder folder;
  const auto config = ReadConfigFile(folder.Write("config.pbtxt", R"(
      name: "m"
      platform: "onnxruntime_onnx"   # a comment
      max_batch_size: 8
      input [ { name: "x" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, -1, -1 ] } ]
      output [ { name: "y" data_type: TYPE_FP32 dims: [ 10 ] label_filename: "labels.txt" } ]
      version_policy: { specific: { versions: [1, 3] } }
      instance_group [ { count: 2 kind: KIND_CPU }, { count: 1 kind: KIND_GPU gpus: [ 0 ] } ]
      dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }
      parameters { key: "k" value: { string_value: "v" } }
      model_warmup { name: "w" batch_size: 1 inputs { key: "x" value { zero_data: true } } })"),
                                     "m");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->max_batch_size(), 8);
  EXPECT_EQ(config->input(0).dims_size(), 3);
  EXPECT_EQ(InstanceCount(*config), 3);
  EXPECT_EQ(*FindParameter(*config, "k"), "v");
  EXPECT_EQ(FindParameter(*config, "other"), nullptr);
  EXPECT_EQ(UnusedSettings(*config), (std::vector<std::string>{"dynamic_batching", "model_warmup",
                                                               "instance_group.kind: KIND_GPU"}));
  EXPECT_TRUE(CheckConfig(*config).ok());
}

TEST(ConfigFile, ThatIsNotThereIsEmpty) {
  const auto config = ReadConfigFile("/nonexistent/config.pbtxt", "m");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->name(), "m");
  EXPECT_EQ(InstanceCount(*config), 1);
}

TEST(ConfigFile, MistakesSayFileLineAndCause) {
  const Folder folder;
  const auto mistake = [&](const std::string& text) {
    return Text(ReadConfigFile(folder.Write("config.pbtxt", text), "m").status());
  };
  EXPECT_NE(mistake("name: \"m\"\nmax_batch_sise: 4\n").find("config.pbtxt:2:"), std::string::npos);
  EXPECT_NE(mistake("name: \"m\"\nmax_batch_sise: 4\n").find("max_batch_sise"), std::string::npos);
  EXPECT_NE(mistake("max_batch_size: \"4\"").find("config.pbtxt:1:17"), std::string::npos);
  EXPECT_NE(mistake("input { name: \"x\"").find("config.pbtxt:1:"), std::string::npos);
  EXPECT_NE(mistake("input { data_type: TYPE_FLOAT }").find("TYPE_FLOAT"), std::string::npos);
  EXPECT_NE(mistake("name: \"other\"").find("'other' is not the folder's, 'm'"), std::string::npos);
}

TEST(CheckedConfigs, SayWhatIsWrong) {
  const auto wrong = [](auto change) {
    inference::ModelConfig config = Complete();
    change(config);
    return Text(CheckConfig(config));
  };
  EXPECT_EQ(wrong([](auto&) {}), "");
  EXPECT_NE(wrong([](auto& c) { c.clear_input(); }), "");
  EXPECT_NE(wrong([](auto& c) { c.mutable_output(0)->clear_name(); }), "");
  EXPECT_NE(wrong([](auto& c) { *c.add_input() = c.input(0); }), "");
  EXPECT_NE(wrong([](auto& c) { c.mutable_input(0)->clear_data_type(); }), "");
  EXPECT_NE(wrong([](auto& c) { c.mutable_input(0)->set_dims(0, 0); }), "");
  EXPECT_NE(wrong([](auto& c) { c.mutable_input(0)->set_dims(0, -2); }), "");
  EXPECT_NE(wrong([](auto& c) { c.set_max_batch_size(-1); }), "");
  EXPECT_NE(wrong([](auto& c) { c.set_max_batch_size(1 << 30); }), "");
  EXPECT_NE(wrong([](auto& c) { c.mutable_input(0)->mutable_reshape(); }), "");
  EXPECT_NE(wrong([](auto& c) { c.mutable_input(0)->set_optional(true); }), "");
  EXPECT_NE(wrong([](auto& c) { c.mutable_ensemble_scheduling(); }), "");
  EXPECT_NE(wrong([](auto& c) { c.add_instance_group()->set_count(1 << 30); }), "");
  EXPECT_NE(wrong([](auto& c) { c.add_instance_group()->set_count(-1); }), "");
}

TEST(Versions, AreTheLatestUnlessThePolicySaysOtherwise) {
  inference::ModelVersionPolicy policy;
  EXPECT_EQ(*ChooseVersions(policy, {1, 10, 9}), (Versions{10}));
  EXPECT_EQ(*ChooseVersions(policy, {}), Versions{});
  policy.mutable_latest()->set_num_versions(2);
  EXPECT_EQ(*ChooseVersions(policy, {1, 10, 9}), (Versions{9, 10}));
  policy.mutable_latest()->set_num_versions(7);
  EXPECT_EQ(*ChooseVersions(policy, {2, 1}), (Versions{1, 2}));
  policy.mutable_all();
  EXPECT_EQ(*ChooseVersions(policy, {1, 10, 9}), (Versions{1, 9, 10}));
  policy.mutable_specific()->add_versions(9);
  EXPECT_EQ(*ChooseVersions(policy, {1, 10, 9}), (Versions{9}));
  policy.mutable_specific()->add_versions(4);
  EXPECT_FALSE(ChooseVersions(policy, {1, 10, 9}).ok());
}

TEST(NumberParameters, AreReadAndBounded) {
  inference::ModelConfig config;
  const auto value = [&](const std::string& text) {
    (*config.mutable_parameters())["p"].set_string_value(text);
    return NumberParameter(config, "p", 1, 5, 2);
  };
  EXPECT_EQ(*NumberParameter(config, "p", 1, 5, 2), 2);
  EXPECT_EQ(*value("1.5"), 1.5);
  for (const char* text : {"", "x", "1.5x", " 2", "0.9", "6", "nan", "inf"}) {
    EXPECT_FALSE(value(text).ok()) << text;
  }
}

}  // namespace
}  // namespace inferpool::modelserver

#include "modelserver/engines/onnx_config.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

// For x [batch, 2, 4]: sum, of the same shape, and flat [batch, 8].
OnnxDescription Tiny(std::int64_t batch) {
  const auto tensor = [batch](const char* name, Shape rest) {
    ort::TensorType type{.name = name, .datatype = inference::TYPE_FP32};
    type.shape = std::move(rest);
    type.shape.insert(type.shape.begin(), batch);
    type.symbols.resize(type.shape.size());
    type.symbols[0] = batch == -1 ? "batch" : "";
    return type;
  };
  return {.inputs = {tensor("x", {2, 4})}, .outputs = {tensor("sum", {2, 4}), tensor("flat", {8})}};
}

inference::ModelConfig Parse(const std::string& text) {
  inference::ModelConfig config;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &config));
  return config;
}

// What `text` becomes with the tiny network; the error's text if it contradicts it.
std::string Completed(const std::string& text, const OnnxDescription& file = Tiny(-1)) {
  inference::ModelConfig config = Parse(text);
  const absl::Status status = CompleteFromOnnx(file, true, config);
  return status.ok() ? config.ShortDebugString() : std::string(Message(status));
}

TEST(Completion, AnOpenBatchGetsTheDefaultMaximum) {
  EXPECT_EQ(Completed(""),
            "max_batch_size: 4 "
            "input { name: \"x\" data_type: TYPE_FP32 dims: 2 dims: 4 } "
            "output { name: \"sum\" data_type: TYPE_FP32 dims: 2 dims: 4 } "
            "output { name: \"flat\" data_type: TYPE_FP32 dims: 8 }");
}

TEST(Completion, AFixedBatchIsADimension) {
  EXPECT_EQ(Completed("", Tiny(1)),
            "input { name: \"x\" data_type: TYPE_FP32 dims: 1 dims: 2 dims: 4 } "
            "output { name: \"sum\" data_type: TYPE_FP32 dims: 1 dims: 2 dims: 4 } "
            "output { name: \"flat\" data_type: TYPE_FP32 dims: 1 dims: 8 }");
}

TEST(Completion, ABatchFixedToOneIsServedInBatchesWhenTheConfigurationSaysSo) {
  EXPECT_EQ(Completed("max_batch_size: 8", Tiny(1)),
            "max_batch_size: 8 "
            "input { name: \"x\" data_type: TYPE_FP32 dims: 2 dims: 4 } "
            "output { name: \"sum\" data_type: TYPE_FP32 dims: 2 dims: 4 } "
            "output { name: \"flat\" data_type: TYPE_FP32 dims: 8 }");
}

TEST(Completion, APartialConfigurationKeepsWhatItSays) {
  EXPECT_EQ(Completed("max_batch_size: 16 output { name: \"flat\" label_filename: \"l\" }"),
            "max_batch_size: 16 "
            "input { name: \"x\" data_type: TYPE_FP32 dims: 2 dims: 4 } "
            "output { name: \"flat\" data_type: TYPE_FP32 dims: 8 label_filename: \"l\" }");
  EXPECT_EQ(Completed("input { name: \"x\" dims: [ -1, 2, 4 ] }").substr(0, 5),
            "input");  // no batch
  EXPECT_EQ(Completed("input { name: \"x\" dims: [ 3, 2, 4 ] }").substr(0, 5), "input");
}

TEST(Completion, AContradictionIsAnErrorThatNamesBothSides) {
  EXPECT_EQ(Completed("input { name: \"y\" }"), "the model file has no input 'y'");
  EXPECT_EQ(Completed("output { name: \"y\" }"), "the model file has no output 'y'");
  EXPECT_EQ(Completed("input { name: \"x\" data_type: TYPE_UINT8 }"),
            "input 'x' is UINT8 in the configuration, FP32 in the model file");
  EXPECT_EQ(Completed("max_batch_size: 2 input { name: \"x\" dims: [ 3, 4 ] }"),
            "input 'x' has the dims [3,4] in the configuration, [2,4] in the model file after the "
            "batch");
  EXPECT_EQ(Completed("input { name: \"x\" dims: [ 2, 4 ] }", Tiny(1)),
            "input 'x' has the dims [2,4] in the configuration, [1,2,4] in the model file "
            "(max_batch_size is 0)");
  EXPECT_NE(Completed("max_batch_size: 2", Tiny(3)).find("neither open nor 1"), std::string::npos);
  EXPECT_NE(Completed("input { name: \"x\" dims: [ 2, -1 ] }").find("dims"), std::string::npos);
}

TEST(Completion, ABatchCanBeADimension) {
  inference::ModelConfig config;
  ASSERT_TRUE(CompleteFromOnnx(Tiny(-1), false, config).ok());
  EXPECT_EQ(config.max_batch_size(), 0);
  EXPECT_EQ(config.input(0).dims(0), -1);
}

TEST(Completion, InputsWithAValueInTheFileBelongToTheModelWhenListed) {
  OnnxDescription file = Tiny(-1);
  file.inputs.push_back({.name = "scale",
                         .datatype = inference::TYPE_FP32,
                         .shape = {1},
                         .symbols = {""},
                         .optional = true});
  EXPECT_EQ(Completed("", file), Completed(""));
  EXPECT_NE(Completed("input { name: 'scale' optional: true }", file)
                .find("input { name: \"scale\" data_type: TYPE_FP32 optional: true }"),
            std::string::npos)
      << Completed("input { name: 'scale' optional: true }", file);
}

TEST(Completion, AnInputWithoutAValueInTheFileIsNotOptional) {
  EXPECT_EQ(Completed("input { name: 'x' optional: true }"),
            "input 'x' is optional in the configuration, but has no value in the model file");
}

TEST(Completion, TensorsOfForeignTypesAreRefusedUnlessTheyAreNotServed) {
  OnnxDescription file = Tiny(-1);
  file.outputs.push_back({.name = "maps", .datatype = inference::TYPE_INVALID});
  EXPECT_NE(Completed("", file).find("'maps' is not a tensor of a type that KServe has"),
            std::string::npos);
  EXPECT_EQ(Completed("output { name: 'sum' }", file).substr(0, 5), "input");
}

TEST(Batches, RunRowByRowWhereTheFileIsForOneRow) {
  const auto row_by_row = [](const OnnxDescription& file, const std::string& text) {
    inference::ModelConfig config = Parse(text);
    EXPECT_TRUE(CompleteFromOnnx(file, true, config).ok());
    return RunsRowByRow(file, config);
  };
  EXPECT_FALSE(row_by_row(Tiny(-1), ""));
  EXPECT_FALSE(row_by_row(Tiny(1), ""));
  EXPECT_TRUE(row_by_row(Tiny(1), "max_batch_size: 2"));
  OnnxDescription forgot = Tiny(-1);
  forgot.outputs[1].shape[0] = 1;
  EXPECT_TRUE(row_by_row(forgot, "max_batch_size: 2"));
  EXPECT_FALSE(row_by_row(forgot, "max_batch_size: 2 output { name: 'sum' }"));
}

TEST(OpenSizes, AreThoseThatTheConfigurationNames) {
  OnnxDescription file = Tiny(-1);
  file.inputs[0].shape = {-1, -1, -1};
  file.inputs[0].symbols = {"batch", "height", ""};
  inference::ModelConfig config = Parse("max_batch_size: 2 input { name: 'x' dims: [ 7, 9 ] }");
  using Sizes = std::vector<std::pair<std::string, std::int64_t>>;
  EXPECT_EQ(*NamedSizes(file, config), (Sizes{{"height", 7}}));
  config = Parse("input { name: 'x' dims: [ 2, 7, 9 ] }");
  EXPECT_EQ(*NamedSizes(file, config), (Sizes{{"batch", 2}, {"height", 7}}));
  file.inputs[0].symbols = {"batch", "side", "side"};
  EXPECT_NE(Message(NamedSizes(file, config).status()).find("'side' the sizes 7 and 9"),
            std::string::npos);
}

TEST(Settings, AreTritons) {
  const auto settings = [](const std::string& text) { return SettingsOf(Parse(text)); };
  EXPECT_EQ(settings("")->intra_op_threads, 1);
  EXPECT_EQ(settings("")->optimization, ort::kAll);
  EXPECT_FALSE(settings("")->parallel);
  const auto set = [](const char* key, const char* value) {
    return std::string("parameters { key: '") + key + "' value { string_value: '" + value + "' } }";
  };
  EXPECT_EQ(settings(set("intra_op_thread_count", "2"))->intra_op_threads, 2);
  EXPECT_EQ(settings(set("inter_op_thread_count", "3"))->inter_op_threads, 3);
  EXPECT_TRUE(settings(set("execution_mode", "1"))->parallel);
  EXPECT_FALSE(settings(set("intra_op_thread_count", "-1")).ok());
  EXPECT_FALSE(settings(set("intra_op_thread_count", "1.5")).ok());
  EXPECT_FALSE(settings(set("execution_mode", "2")).ok());
  EXPECT_EQ(settings("optimization { graph { level: -1 } }")->optimization, ort::kBasic);
  EXPECT_EQ(settings("optimization { graph { level: 1 } }")->optimization, ort::kExtended);
  EXPECT_EQ(settings("optimization { graph { level: 2 } }")->optimization, ort::kDisableAll);
  EXPECT_FALSE(settings("optimization { graph { level: 3 } }").ok());
}

TEST(Instances, AreAsManyAsTheCoresAllow) {
  const auto count = [](int threads, unsigned cores, const std::string& text) {
    inference::ModelConfig config = Parse(text);
    CompleteInstances({.log_id = "", .intra_op_threads = threads}, cores, config);
    return config.instance_group(0).count();
  };
  EXPECT_EQ(count(1, 2, ""), 2);
  EXPECT_EQ(count(2, 8, ""), 4);
  EXPECT_EQ(count(4, 2, ""), 1);
  EXPECT_EQ(count(0, 8, ""), 1);
  EXPECT_EQ(count(1, 0, ""), 1);
  EXPECT_EQ(count(1, 200, ""), 64);
  EXPECT_EQ(count(1, 8, "instance_group { count: 3 }"), 3);
}

}  // namespace
}  // namespace inferpool::modelserver

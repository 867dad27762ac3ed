#include "modelserver/repository/model.h"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <thread>

#include "modelserver/config/class_names.h"
#include "modelserver/config/config_file.h"
#include "tests/unit/modelserver/engines/onnx_net.h"
#include "tests/unit/modelserver/engines/tiny_onnx.h"
#include "tests/unit/modelserver/repository/folder.h"
#include "tests/unit/modelserver/repository/infer.h"

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

absl::StatusOr<std::unique_ptr<Model>> LoadFrom(const std::filesystem::path& folder) {
  const auto config = ReadConfigFile(folder / "config.pbtxt", folder.filename());
  RETURN_IF_ERROR(config.status());
  return Model::Load(folder, 1, *config);
}

absl::StatusOr<std::unique_ptr<Model>> LoadTiny(const TinyOnnx& wanted = {},
                                                const std::string& config = "") {
  const Folder folder;
  folder.Write("tiny/1/model.onnx", MakeTinyOnnx(wanted));
  if (!config.empty()) {
    folder.Write("tiny/config.pbtxt", config);
  }
  return LoadFrom(folder.path() / "tiny");
}

std::vector<float> Numbers(std::size_t count, unsigned seed) {
  std::minstd_rand random(seed);
  std::uniform_real_distribution<float> uniform(0, 1);
  std::vector<float> numbers(count);
  for (float& number : numbers) {
    number = uniform(random);
  }
  return numbers;
}

absl::StatusOr<std::vector<OutputTensor>> InferFloats(
    Model& model, const Shape& shape, std::span<const float> values,
    std::vector<std::string_view> requested = {}) {
  inference::ModelInferRequest request;
  AddRawInput(request, model.config().input(0).name(), inference::TYPE_FP32, shape)
      .assign(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  return Infer(model, request, requested);
}

TEST(OnnxModels, RunWithoutAConfiguration) {
  auto model = LoadTiny({.names = "{0: 'cat'}"});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->config().name(), "tiny");
  EXPECT_EQ((*model)->config().backend(), "onnxruntime");
  EXPECT_EQ(*FindParameter((*model)->config(), std::string(kClassNamesParameter)), "cat");
  for (const std::int64_t batch : {1, 4, 2}) {
    const std::vector<float> x = Numbers(static_cast<std::size_t>(batch) * 8, 7);
    const auto outputs = InferFloats(**model, {batch, 2, 4}, x);
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    ASSERT_EQ(outputs->size(), 2U);
    EXPECT_EQ((*outputs)[0].name, "sum");
    EXPECT_EQ((*outputs)[0].shape, (Shape{batch, 2, 4}));
    EXPECT_EQ((*outputs)[1].shape, (Shape{batch, 8}));
    const std::vector<float> sum = Values<float>((*outputs)[0]);
    ASSERT_EQ(sum.size(), x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_FLOAT_EQ(sum[i], 2 * x[i]);
    }
    EXPECT_EQ(Values<float>((*outputs)[1]), sum);
  }
  EXPECT_EQ(InferFloats(**model, {5, 2, 4}, Numbers(40, 7)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(OnnxModels, WhatTheirConfigurationLeavesOutIsWrittenDown) {
  const auto model = LoadTiny();
  ASSERT_TRUE(model.ok()) << model.status();
  const inference::ModelConfig& config = (*model)->config();
  EXPECT_EQ(config.default_model_filename(), "model.onnx");
  EXPECT_EQ(config.version_policy().latest().num_versions(), 1U);
  ASSERT_EQ(config.instance_group_size(), 1);
  EXPECT_EQ(config.instance_group(0).name(), "tiny");
}

TEST(OnnxModels, TheirCopiesInAndOutAreCountedApartFromTheInference) {
  const auto model = LoadTiny();
  ASSERT_TRUE(model.ok()) << model.status();
  for (const std::int64_t batch : {1, 3}) {
    const std::vector<float> x = Numbers(static_cast<std::size_t>(batch) * 8, 7);
    ASSERT_TRUE(InferFloats(**model, {batch, 2, 4}, x).ok());
  }
  const ModelStatistics::Values values = (*model)->statistics();
  for (const Tally& part : {values.compute_input, values.compute_infer, values.compute_output}) {
    EXPECT_EQ(part.count, 2U);
    EXPECT_GT(part.time, Clock::duration::zero());
  }
  EXPECT_LE(values.queue.time + values.compute_input.time + values.compute_infer.time +
                values.compute_output.time,
            values.success.time);
}

TEST(OnnxModels, ABatchThatTheExportForgotWorksRowByRow) {
  auto model = LoadTiny({.flat_shape = {1, 8}}, "max_batch_size: 4");
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<float> x = Numbers(24, 3);
  const auto outputs = InferFloats(**model, {3, 2, 4}, x);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ((*outputs)[1].shape, (Shape{3, 8}));
  EXPECT_EQ(Values<float>((*outputs)[1]), Values<float>((*outputs)[0]));
}

TEST(OnnxModels, AFixedBatchIsServedAsItIs) {
  auto model = LoadTiny({.batch = 1});
  ASSERT_TRUE(model.ok()) << model.status();
  const auto outputs = InferFloats(**model, {1, 2, 4}, Numbers(8, 3));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ((*outputs)[0].shape, (Shape{1, 2, 4}));
  EXPECT_EQ(InferFloats(**model, {2, 2, 4}, Numbers(16, 3)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(OnnxModels, RequestedOutputsAreAnsweredInTheOrderAskedFor) {
  auto model = LoadTiny();
  ASSERT_TRUE(model.ok());
  const std::vector<float> x = Numbers(8, 1);
  auto outputs = InferFloats(**model, {1, 2, 4}, x, {"flat", "sum"});
  ASSERT_TRUE(outputs.ok());
  EXPECT_EQ((*outputs)[0].name, "flat");
  EXPECT_EQ((*outputs)[1].name, "sum");
  outputs = InferFloats(**model, {1, 2, 4}, x, {"flat"});
  ASSERT_TRUE(outputs.ok());
  EXPECT_EQ(outputs->size(), 1U);
  EXPECT_FALSE(InferFloats(**model, {1, 2, 4}, x, {"other"}).ok());
}

TEST(OnnxModels, AFailedRunLeavesAModelThatWorks) {
  // Two rows of 2x4 do not reshape to 1x8: with the batch as a dimension it has to fail.
  auto model = LoadTiny({.flat_shape = {1, 8}}, R"(
      input { name: "x" data_type: TYPE_FP32 dims: [ -1, 2, 4 ] }
      output { name: "flat" data_type: TYPE_FP32 dims: [ 1, 8 ] })");
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<float> x = Numbers(16, 1);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(InferFloats(**model, {2, 2, 4}, x).status().code(), absl::StatusCode::kInternal);
    const auto outputs = InferFloats(**model, {1, 2, 4}, std::span(x).first(8));
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    EXPECT_FLOAT_EQ(Values<float>((*outputs)[0])[7], 2 * x[7]);
  }
}

TEST(OnnxModels, ThatCannotWorkSayWhyWhenTheyLoad) {
  const auto why = [](const TinyOnnx& wanted, const std::string& config) {
    return std::string(Message(LoadTiny(wanted, config).status()));
  };
  EXPECT_NE(why({.flat_shape = {1, 7}}, "max_batch_size: 4").find("model.onnx: ONNX Runtime"),
            std::string::npos);
  EXPECT_NE(why({}, "backend: \"tensorrt\"").find("no backend 'tensorrt', only onnxruntime"),
            std::string::npos);
  EXPECT_NE(why({}, "instance_group { count: 1000 }").find("allowed is 0 to 64"),
            std::string::npos);
  EXPECT_NE(why({}, "default_model_filename: \"other.onnx\"").find("other.onnx"),
            std::string::npos);
  EXPECT_NE(why({}, "default_model_filename: \"../x\"").find("plain file name"), std::string::npos);
  EXPECT_EQ(why({}, "platform: \"onnxruntime_onnx\""), "");
}

TEST(OnnxModels, ARequestMayLeaveAnOptionalInputOut) {
  const Folder folder;
  const float ten = 10;
  folder.Write("m/1/model.onnx", OnnxNet()
                                     .Input("x", OnnxElement::kFloat, {-1, 2})
                                     .Input("scale", OnnxElement::kFloat, {1, 1})
                                     .Constant("scale", OnnxElement::kFloat, {1, 1},
                                               {reinterpret_cast<const char*>(&ten), sizeof ten})
                                     .Node("Mul", {"x", "scale"}, {"y"})
                                     .Output("y", OnnxElement::kFloat, {-1, 2})
                                     .Bytes());
  folder.Write("m/config.pbtxt", "input { name: 'scale' optional: true }");
  const auto model = LoadFrom(folder.path() / "m");
  ASSERT_TRUE(model.ok()) << model.status();
  inference::ModelInferRequest request;
  const std::vector<float> x = {1, 2};
  AddRawInput(request, "x", inference::TYPE_FP32, std::array<std::int64_t, 2>{1, 2})
      .assign(reinterpret_cast<const char*>(x.data()), sizeof(float) * 2);
  auto outputs = Infer(**model, request);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ(Values<float>(outputs->front()), (std::vector<float>{10, 20}));
  const float three = 3;
  AddRawInput(request, "scale", inference::TYPE_FP32, std::array<std::int64_t, 2>{1, 1})
      .assign(reinterpret_cast<const char*>(&three), sizeof three);
  outputs = Infer(**model, request);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ(Values<float>(outputs->front()), (std::vector<float>{3, 6}));
  request.mutable_inputs()->DeleteSubrange(0, 1);
  request.mutable_raw_input_contents()->DeleteSubrange(0, 1);
  EXPECT_NE(Message(Infer(**model, request).status()).find("lacks input 'x'"), std::string::npos);
}

TEST(OnnxModels, AreSafeUnderManyCallers) {
  auto model = LoadTiny({}, "instance_group { count: 2 }");
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < 8; ++i) {
    threads.emplace_back([&model, i] {
      for (unsigned call = 0; call < 50; ++call) {
        const std::int64_t batch = 1 + (i + call) % 4;
        const std::vector<float> x = Numbers(static_cast<std::size_t>(batch) * 8, i * 100 + call);
        const auto outputs = InferFloats(**model, {batch, 2, 4}, x);
        ASSERT_TRUE(outputs.ok()) << outputs.status();
        EXPECT_FLOAT_EQ(Values<float>((*outputs)[0]).back(), 2 * x.back());
      }
    });
  }
}

TEST(SampleModels, ShapesGivesARowTheSameAnswerInAnyBatch) {
  const auto folder = std::filesystem::path(INFERPOOL_SOURCE_DIR) / "ops/models/shapes";
  auto model = LoadFrom(folder);
  ASSERT_TRUE(model.ok()) << model.status();
  constexpr std::size_t kRow = std::size_t{3} * 320 * 320;
  const std::vector<float> x = Numbers(16 * kRow, 5);
  std::vector<std::vector<float>> alone;
  for (std::size_t row = 0; row < 16; ++row) {
    const auto outputs =
        InferFloats(**model, {1, 3, 320, 320}, std::span(x).subspan(row * kRow, kRow));
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    alone.push_back(Values<float>((*outputs)[0]));
    ASSERT_EQ(alone.back().size(), 8U * 2100U);
  }
  EXPECT_NE(alone[0], alone[1]);
  for (const std::size_t batch : {2U, 5U, 16U}) {
    const auto outputs = InferFloats(**model, {static_cast<std::int64_t>(batch), 3, 320, 320},
                                     std::span(x).first(batch * kRow));
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    EXPECT_EQ((*outputs)[0].shape, (Shape{static_cast<std::int64_t>(batch), 8, 2100}));
    const std::vector<float> together = Values<float>((*outputs)[0]);
    for (std::size_t row = 0; row < batch; ++row) {
      const auto* start = together.data() + row * alone[row].size();
      EXPECT_EQ(std::vector<float>(start, start + alone[row].size()), alone[row]) << batch;
    }
  }
}

}  // namespace
}  // namespace inferpool::modelserver

#include "modelserver/config/reshape.h"

#include <gtest/gtest.h>

#include "tests/unit/modelserver/config/configured.h"
#include "tests/unit/modelserver/engines/tiny_onnx.h"
#include "tests/unit/modelserver/repository/folder.h"
#include "tests/unit/modelserver/repository/infer.h"

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

std::string Dims(const std::string& dims, const std::string& shape) {
  return "data_type: TYPE_FP32 dims: [" + dims + "] reshape { shape: [" + shape + "] }";
}

inference::ModelConfig Reshaping(const std::string& dims, const std::string& shape) {
  return Config("input { name: 'x' " + Dims(dims, shape) + " }");
}

TEST(Reshapes, HaveTheElementsOfTheDims) {
  for (const auto& [dims, shape] : {std::pair("3, 224, 224", "1, 3, 224, 224"),
                                    {"1000", "1, 1000, 1, 1"},
                                    {"1", ""},
                                    {"-1, 6", "-1, 2, 3"},
                                    {"2, -1, 3, -1", "2, 1, -1, 1, 3, -1, 1"}}) {
    const auto engine = EngineConfig(Reshaping(dims, shape));
    ASSERT_TRUE(engine.ok()) << dims << engine.status();
    EXPECT_FALSE(engine->input(0).has_reshape());
    EXPECT_EQ(ClientConfig(*engine, Reshaping(dims, shape)).DebugString(),
              Reshaping(dims, shape).DebugString());
  }
  for (const auto& [dims, shape] : {std::pair("3, 2", "5"),
                                    {"", "1"},
                                    {"", ""},
                                    {"-1, 6", "6, -1"},
                                    {"-1", "2"},
                                    {"6", "-1"},
                                    {"-2", "-2"},
                                    {"6", "-2, -3"},
                                    {"9223372036854775807, 2", "1"}}) {
    const absl::Status status = EngineConfig(Reshaping(dims, shape)).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << dims;
    EXPECT_NE(Message(status).find("input 'x': reshape to ["), std::string_view::npos) << status;
  }
}

TEST(Reshapes, KeepTheBatchAndTheSizesThatAreOpen) {
  const auto config = Reshaping("2, -1, 3, -1", "-1, 6, 1, -1");
  const auto& dims = config.input(0).dims();
  const auto& shape = config.input(0).reshape().shape();
  EXPECT_EQ(*Reshaped(Shape{9, 2, 4, 3, 5}, true, dims, shape), (Shape{9, 4, 6, 1, 5}));
  EXPECT_EQ(*Reshaped(Shape{2, 4, 3, 5}, false, dims, shape), (Shape{4, 6, 1, 5}));
  EXPECT_EQ(*Reshaped(Shape{4, 6, 1, 5}, false, shape, dims), (Shape{2, 4, 3, 5}));
  EXPECT_EQ(*Reshaped(Shape{7, 1}, true, Reshaping("1", "").input(0).dims(), {}), (Shape{7}));
  EXPECT_TRUE(absl::IsInternal(Reshaped(Shape{4, 6}, false, dims, shape).status()));
}

// Triton's densenet_onnx: a file with a batch of 1, and clients that know nothing of it.
TEST(Reshapes, LeaveOutTheBatchOfAFile) {
  const Folder folder;
  folder.Write("tiny/1/model.onnx", MakeTinyOnnx({.batch = 1}));
  const auto model = Model::Load(
      folder.path() / "tiny", 1,
      Config("platform: 'onnxruntime_onnx' input { name: 'x' " + Dims("2, 4", "1, 2, 4") +
             "} output { name: 'flat' " + Dims("8", "1, 8") + " }"));
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8};
  inference::ModelInferRequest request;
  AddInput(request, "x", inference::TYPE_FP32, {2, 4}, Raw(x));
  const auto outputs = Infer(**model, request);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ((*outputs)[0].shape, (Shape{8}));
  EXPECT_EQ(Values<float>((*outputs)[0])[7], 16);

  inference::ModelInferRequest engines;
  AddInput(engines, "x", inference::TYPE_FP32, {1, 2, 4}, Raw(x));
  EXPECT_TRUE(absl::IsInvalidArgument(Infer(**model, engines).status()));
}

TEST(Reshapes, ThatDoNotFitTheFileAreRefused) {
  const Folder folder;
  folder.Write("tiny/1/model.onnx", MakeTinyOnnx({.batch = 1}));
  const auto load = [&folder](const std::string& shape) {
    return Model::Load(folder.path() / "tiny", 1,
                       Config("input { name: 'x' " + Dims("2, 4", shape) + "}"))
        .status();
  };
  EXPECT_TRUE(load("1, 2, 4").ok());
  for (const char* shape : {"1, 4, 2", "8", "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 8"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(load(shape))) << shape;
  }
}

}  // namespace
}  // namespace inferpool::modelserver

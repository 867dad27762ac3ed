#include "modelserver/engines/onnx_file.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include "tests/unit/modelserver/engines/tiny_onnx.h"
#include "tests/unit/modelserver/repository/folder.h"

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

OnnxFile Tiny(const TinyOnnx& wanted = {}) {
  const Folder folder;
  auto onnx = ReadOnnxFile(folder.Write("model.onnx", MakeTinyOnnx(wanted)));
  EXPECT_TRUE(onnx.ok()) << onnx.status();
  return *std::move(onnx);
}

inference::ModelConfig Parse(const std::string& text) {
  inference::ModelConfig config;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &config));
  return config;
}

// What `text` becomes with the tiny network; the error's text if it contradicts it.
std::string Completed(const std::string& text, const TinyOnnx& wanted = {}) {
  inference::ModelConfig config = Parse(text);
  const absl::Status status = CompleteFromOnnx(Tiny(wanted), config);
  return status.ok() ? config.ShortDebugString() : std::string(Message(status));
}

TEST(OnnxFiles, SayTheirTensorsAndNames) {
  const OnnxFile onnx = Tiny({.names = "{0: 'a', 1: 'b'}"});
  ASSERT_EQ(onnx.inputs.size(), 1U);
  EXPECT_EQ(onnx.inputs[0].name, "x");
  EXPECT_EQ(onnx.inputs[0].datatype, inference::TYPE_FP32);
  EXPECT_EQ(onnx.inputs[0].shape, (Shape{-1, 2, 4}));
  ASSERT_EQ(onnx.outputs.size(), 2U);
  EXPECT_EQ(onnx.outputs[1].shape, (Shape{-1, 8}));
  EXPECT_EQ(onnx.class_names, (std::vector<std::string>{"a", "b"}));
}

TEST(OnnxFiles, NameTheirTensorsInUtf8) {
  onnx::ModelProto model;
  ASSERT_TRUE(model.ParseFromString(MakeTinyOnnx()));
  model.mutable_graph()->mutable_input(0)->set_name("caf\xe9");
  const Folder folder;
  const auto onnx = ReadOnnxFile(folder.Write("model.onnx", model.SerializeAsString()));
  EXPECT_EQ(onnx.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(OnnxFiles, ThatAreNoneAreErrors) {
  const Folder folder;
  EXPECT_FALSE(ReadOnnxFile(folder.path() / "missing.onnx").ok());
  EXPECT_FALSE(ReadOnnxFile(folder.Write("text.onnx", "no protobuf at all")).ok());
  EXPECT_FALSE(ReadOnnxFile(folder.Write("empty.onnx", "")).ok());
  const std::string half = MakeTinyOnnx().substr(0, 60);
  EXPECT_FALSE(ReadOnnxFile(folder.Write("half.onnx", half)).ok());
}

TEST(Completion, AnOpenBatchGetsTheDefaultMaximum) {
  EXPECT_EQ(Completed(""),
            "max_batch_size: 4 "
            "input { name: \"x\" data_type: TYPE_FP32 dims: 2 dims: 4 } "
            "output { name: \"sum\" data_type: TYPE_FP32 dims: 2 dims: 4 } "
            "output { name: \"flat\" data_type: TYPE_FP32 dims: 8 }");
}

TEST(Completion, AFixedBatchIsADimension) {
  EXPECT_EQ(Completed("", {.batch = 1}),
            "input { name: \"x\" data_type: TYPE_FP32 dims: 1 dims: 2 dims: 4 } "
            "output { name: \"sum\" data_type: TYPE_FP32 dims: 1 dims: 2 dims: 4 } "
            "output { name: \"flat\" data_type: TYPE_FP32 dims: 1 dims: 8 }");
}

TEST(Completion, ABatchFixedToOneIsServedInBatchesWhenTheConfigurationSaysSo) {
  EXPECT_EQ(Completed("max_batch_size: 8", {.batch = 1}),
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
  EXPECT_EQ(Completed("input { name: \"x\" dims: [ 2, 4 ] }", {.batch = 1}),
            "input 'x' has the dims [2,4] in the configuration, [1,2,4] in the model file "
            "(max_batch_size is 0)");
  EXPECT_NE(Completed("max_batch_size: 2", {.batch = 3}).find("neither open nor 1"),
            std::string::npos);
  EXPECT_NE(Completed("input { name: \"x\" dims: [ 2, -1 ] }").find("dims"), std::string::npos);
}

}  // namespace
}  // namespace inferpool::modelserver

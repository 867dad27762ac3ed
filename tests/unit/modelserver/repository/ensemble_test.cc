#include "modelserver/repository/ensemble.h"

#include <gtest/gtest.h>

#include <array>
#include <opencv2/imgcodecs.hpp>
#include <optional>
#include <thread>
#include <vector>

#include "modelserver/repository/repository.h"
#include "tests/unit/modelserver/config/configured.h"
#include "tests/unit/modelserver/engines/tiny_onnx.h"
#include "tests/unit/modelserver/repository/folder.h"
#include "tests/unit/modelserver/repository/infer.h"

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

std::string Tensor(const std::string& name, const std::string& type, const std::string& dims) {
  return "{ name: '" + name + "' data_type: TYPE_" + type + " dims: [ " + dims + " ] } ";
}

// sum = (a + b) + (a - b) = 2 a, through two models that do not depend on each other, and one more.
constexpr std::string_view kSums = R"(
    platform: "ensemble"
    input [ { name: "a" data_type: TYPE_INT32 dims: [ -1 ] },
            { name: "b" data_type: TYPE_INT32 dims: [ -1 ] } ]
    output [ { name: "twice" data_type: TYPE_INT32 dims: [ -1 ] },
             { name: "difference" data_type: TYPE_INT32 dims: [ -1 ] } ]
    ensemble_scheduling { step [
      { model_name: "add" model_version: -1
        input_map { key: "INPUT0" value: "sum" } input_map { key: "INPUT1" value: "difference" }
        output_map { key: "OUTPUT0" value: "twice" } },
      { model_name: "add" model_version: 1
        input_map { key: "INPUT0" value: "a" } input_map { key: "INPUT1" value: "b" }
        output_map { key: "OUTPUT0" value: "sum" } output_map { key: "OUTPUT1" value: "difference" } }
    ] })";

const std::string kAdd = "backend: 'add_sub' input [ " + Tensor("INPUT0", "INT32", "-1") + ", " +
                         Tensor("INPUT1", "INT32", "-1") + "]";

class Ensembles : public testing::Test {
 protected:
  void Load(ModelControl control = ModelControl::kNone) {
    repository_.emplace(folder_.path(), RepositoryOptions{.control = control, .load = {}});
    ASSERT_TRUE(repository_->Scan().ok());
    repository_->Load([] { return false; });
  }

  std::string Index() {
    std::string text;
    for (const IndexEntry& entry : repository_->Index()) {
      text +=
          entry.name + ":" + entry.version + ":" + std::string(ModelStateName(entry.state)) + " ";
    }
    return text;
  }

  std::string Reason(const std::string& name) {
    for (const IndexEntry& entry : repository_->Index()) {
      if (entry.name == name) return entry.reason;
    }
    return "(none)";
  }

  absl::StatusOr<std::vector<OutputTensor>> Sums(const std::vector<std::string_view>& wanted = {},
                                                 const InferContext& context = Patient()) {
    const auto model = repository_->Find("sums", "");
    RETURN_IF_ERROR(model.status());
    inference::ModelInferRequest request;
    AddInput(request, "a", inference::TYPE_INT32, {2}, Raw<std::int32_t>({7, 100}));
    AddInput(request, "b", inference::TYPE_INT32, {2}, Raw<std::int32_t>({3, 1}));
    return Infer(**model, request, wanted, context);
  }

  const Folder folder_;
  std::optional<Repository> repository_;
};

// Steps that take a while: "a" and "b" do not depend on each other, nor "c" on "b".
std::string Slow(int delay_ms) {
  return "backend: 'identity' input " + Tensor("INPUT0", "INT32", "-1") +
         "instance_group { count: 4 } " +
         "parameters { key: 'execute_delay_ms' value { string_value: '" + std::to_string(delay_ms) +
         "' } }";
}

// An ensemble whose input is "x". Of each step: its model, the tensor that it reads, and the one
// that it makes.
std::string Ensemble(const std::vector<std::string>& outputs,
                     const std::vector<std::array<std::string, 3>>& steps) {
  std::string text = "platform: 'ensemble' input " + Tensor("x", "INT32", "-1");
  for (const std::string& name : outputs) text += "output " + Tensor(name, "INT32", "-1");
  text += "ensemble_scheduling {";
  for (const auto& [model, read, made] : steps) {
    text += " step { model_name: '" + model +
            "' model_version: -1 input_map { key: 'INPUT0' value: '" + read +
            "' } output_map { key: 'OUTPUT0' value: '" + made + "' } }";
  }
  return text + " }";
}

TEST_F(Ensembles, RunStepsSideBySideAsSoonAsTheirInputsAreMade) {
  folder_.Write("short/config.pbtxt", Slow(500));
  folder_.Write("long/config.pbtxt", Slow(1000));
  folder_.Write(
      "side_by_side/config.pbtxt",
      Ensemble({"a", "b", "c"}, {{"long", "x", "b"}, {"short", "x", "a"}, {"short", "a", "c"}}));
  Load();
  const auto model = repository_->Find("side_by_side", "");
  ASSERT_TRUE(model.ok()) << model.status();
  inference::ModelInferRequest request;
  AddInput(request, "x", inference::TYPE_INT32, {2}, Raw<std::int32_t>({7, 100}));
  const TimePoint start = Clock::now();
  const auto outputs = Infer(**model, request, {}, Patient());
  const auto took = Clock::now() - start;
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_GE(took, std::chrono::milliseconds(1000));
  EXPECT_LT(took, std::chrono::milliseconds(1450)) << "one after the other they take 2000 ms";
  for (const OutputTensor& output : *outputs) {
    EXPECT_EQ(output.data, Raw<std::int32_t>({7, 100})) << output.name;
  }

  // What may not block has no help, and a failure is all of the ensemble's.
  int asked = 0;
  InferContext impatient = Patient();
  impatient.can_block = [&asked] {
    ++asked;
    return false;
  };
  EXPECT_TRUE(absl::IsResourceExhausted(Infer(**model, request, {}, impatient).status()));
  EXPECT_GT(asked, 0);
  InferContext hurried = Patient();
  hurried.deadline = Deadline::After(std::chrono::milliseconds(200));
  EXPECT_TRUE(absl::IsDeadlineExceeded(Infer(**model, request, {}, hurried).status()));
}

TEST_F(Ensembles, HelpersMayStartHelpers) {
  folder_.Write("short/config.pbtxt", Slow(1));
  folder_.Write("long/config.pbtxt", Slow(2));
  // "first" ends at once and fans out, in a helper that starts helpers and may end before them.
  folder_.Write("fan/config.pbtxt", Ensemble({"a", "b", "c", "d"}, {{"long", "x", "a"},
                                                                    {"short", "x", "first"},
                                                                    {"short", "first", "b"},
                                                                    {"short", "first", "c"},
                                                                    {"short", "first", "d"}}));
  Load();
  const auto model = repository_->Find("fan", "");
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<std::jthread> callers;
  for (int caller = 0; caller < 8; ++caller) {
    callers.emplace_back([&model, caller] {
      for (int i = 0; i < 20; ++i) {
        inference::ModelInferRequest request;
        AddInput(request, "x", inference::TYPE_INT32, {2}, Raw<std::int32_t>({caller, i}));
        const auto outputs = Infer(**model, request, {}, Patient());
        ASSERT_TRUE(outputs.ok()) << outputs.status();
        ASSERT_EQ(outputs->size(), 4U);
        for (const OutputTensor& output : *outputs) {
          EXPECT_EQ(output.data, Raw<std::int32_t>({caller, i})) << output.name;
        }
      }
    });
  }
}

TEST_F(Ensembles, PassTensorsFromStepToStep) {
  folder_.Write("add/config.pbtxt", kAdd);
  folder_.Write("sums/config.pbtxt", kSums);
  Load();
  EXPECT_EQ(Index(), "add:1:READY sums:1:READY ");
  const auto outputs = Sums();
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  ASSERT_EQ(outputs->size(), 2U);
  EXPECT_EQ((*outputs)[0].name, "twice");
  EXPECT_EQ((*outputs)[0].shape, (Shape{2}));
  EXPECT_EQ(Values<std::int32_t>((*outputs)[0]), (std::vector<std::int32_t>{14, 200}));
  EXPECT_EQ(Values<std::int32_t>((*outputs)[1]), (std::vector<std::int32_t>{4, 99}));
  const auto one = Sums({"difference"});
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ(Values<std::int32_t>((*one)[0]), (std::vector<std::int32_t>{4, 99}));
  EXPECT_FALSE(Sums({"sum"}).ok());  // only its steps know it
}

TEST_F(Ensembles, WriteIntoSharedMemoryWhatIsWantedThere) {
  folder_.Write("add/config.pbtxt", kAdd);
  folder_.Write("sums/config.pbtxt", kSums);
  Load();
  const auto model = repository_->Find("sums", "");
  ASSERT_TRUE(model.ok());
  inference::ModelInferRequest request;
  AddInput(request, "a", inference::TYPE_INT32, {1}, Raw<std::int32_t>({7}));
  AddInput(request, "b", inference::TYPE_INT32, {1}, Raw<std::int32_t>({3}));
  const auto inputs = ReadInputs(request);
  ASSERT_TRUE(inputs.ok());
  std::array<std::int32_t, 2> memory{};
  Outputs outputs((*model)->config());
  // One comes from the last step, the other one is also read by it.
  outputs.WantShared(0, std::as_writable_bytes(std::span(memory).first(1)));
  outputs.WantShared(1, std::as_writable_bytes(std::span(memory).last(1)));
  ASSERT_TRUE((*model)->Infer(*inputs, outputs, Patient()).ok());
  EXPECT_EQ(memory, (std::array<std::int32_t, 2>{14, 4}));
  EXPECT_EQ(outputs.wanted()[0].bytes, 4U);
  EXPECT_EQ(outputs.View(outputs.wanted()[1]).data.size(), 4U);

  Outputs small((*model)->config());
  small.WantShared(0, std::as_writable_bytes(std::span(memory)).first(3));
  EXPECT_EQ((*model)->Infer(*inputs, small, Patient()).code(), absl::StatusCode::kInternal);
}

TEST_F(Ensembles, EndWithTheirCallersPatience) {
  folder_.Write("add/config.pbtxt", kAdd);
  folder_.Write("sums/config.pbtxt", kSums);
  Load();
  InferContext late = Patient();
  late.deadline = Deadline(Clock::now());
  EXPECT_EQ(Sums({}, late).status().code(), absl::StatusCode::kDeadlineExceeded);
  InferContext gone = Patient();
  std::stop_source caller;
  caller.request_stop();
  gone.gone = caller.get_token();
  EXPECT_EQ(Sums({}, gone).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(Ensembles, SayWhichStepFailed) {
  folder_.Write("parse/config.pbtxt", "backend: 'add_sub' input [ " +
                                          Tensor("INPUT0", "STRING", "1") + ", " +
                                          Tensor("INPUT1", "STRING", "1") + "]");
  folder_.Write("sums/config.pbtxt",
                "platform: 'ensemble' input " + Tensor("a", "STRING", "1") + "output " +
                    Tensor("y", "STRING", "1") +
                    "ensemble_scheduling { step { model_name: 'parse' model_version: -1 "
                    "input_map { key: 'INPUT0' value: 'a' } input_map { key: 'INPUT1' value: 'a' }"
                    "output_map { key: 'OUTPUT1' value: 'y' } } }");
  Load();
  const auto model = repository_->Find("sums", "");
  ASSERT_TRUE(model.ok()) << Reason("sums");
  inference::ModelInferRequest request;
  AddInput(request, "a", inference::TYPE_STRING, {1}, RawTexts({"x"}));
  const absl::Status status = Infer(**model, request).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_NE(Message(status).find("in ensemble 'sums', model 'parse': input 'INPUT0'"),
            std::string::npos)
      << status;
}

TEST_F(Ensembles, AreReadyWhileTheirModelsAre) {
  folder_.Write("sums/config.pbtxt", kSums);
  Load(ModelControl::kExplicit);
  EXPECT_EQ(Index(), "sums::UNAVAILABLE ");
  const absl::Status missing = repository_->Load("sums", {});
  EXPECT_TRUE(absl::IsInvalidArgument(missing));
  EXPECT_NE(Message(missing).find("the step of model 'add': it is not ready"), std::string::npos);
  EXPECT_EQ(Index(), "sums:1:UNAVAILABLE ");

  folder_.Write("add/config.pbtxt", kAdd);
  ASSERT_TRUE(repository_->Load("add", {}).ok());
  EXPECT_EQ(Index(), "add:1:READY sums:1:READY ");
  EXPECT_TRUE(Sums().ok());

  ASSERT_TRUE(repository_->Unload("add", false).ok());
  EXPECT_EQ(Index(), "add:1:UNAVAILABLE sums:1:UNAVAILABLE ");
  EXPECT_NE(Reason("sums").find("'add': it is not ready"), std::string::npos);
  EXPECT_EQ(Sums().status().code(), absl::StatusCode::kNotFound);

  // Loading the ensemble loads its models.
  ASSERT_TRUE(repository_->Load("sums", {}).ok());
  EXPECT_EQ(Index(), "add:1:READY sums:1:READY ");
}

TEST_F(Ensembles, GoWhenAModelNoLongerFits) {
  folder_.Write("add/config.pbtxt", kAdd);
  folder_.Write("sums/config.pbtxt", kSums);
  Load(ModelControl::kExplicit);
  ASSERT_TRUE(repository_->Load("sums", {}).ok());
  folder_.Write("add/config.pbtxt", "backend: 'add_sub' input [ " +
                                        Tensor("INPUT0", "INT64", "-1") + ", " +
                                        Tensor("INPUT1", "INT64", "-1") + "]");
  const auto held = repository_->Find("sums", "");
  ASSERT_TRUE(held.ok());
  ASSERT_TRUE(repository_->Load("add", {}).ok());
  EXPECT_NE(Reason("sums").find("INT64"), std::string::npos) << Reason("sums");
  // A call that has found the ensemble before fails, and with a reason.
  inference::ModelInferRequest request;
  AddInput(request, "a", inference::TYPE_INT32, {1}, Raw<std::int32_t>({7}));
  AddInput(request, "b", inference::TYPE_INT32, {1}, Raw<std::int32_t>({3}));
  EXPECT_NE(Message(Infer(**held, request).status()).find("datatype"), std::string::npos);
}

TEST_F(Ensembles, UnloadTheirModelsWithThemUnlessAnotherHasThem) {
  folder_.Write("add/config.pbtxt", kAdd);
  folder_.Write("sums/config.pbtxt", kSums);
  folder_.Write("also/config.pbtxt", kSums);
  Load(ModelControl::kExplicit);
  ASSERT_TRUE(repository_->Load("sums", {}).ok());
  ASSERT_TRUE(repository_->Load("also", {}).ok());
  ASSERT_TRUE(repository_->Unload("sums", true).ok());
  EXPECT_EQ(Index(), "add:1:READY also:1:READY sums:1:UNAVAILABLE ");
  ASSERT_TRUE(repository_->Unload("also", true).ok());
  EXPECT_EQ(Index(), "add:1:UNAVAILABLE also:1:UNAVAILABLE sums:1:UNAVAILABLE ");
}

std::string Chain(const std::string& step) {
  return "platform: 'ensemble' input " + Tensor("x", "INT8", "1") + "output " +
         Tensor("y", "INT8", "1") + "ensemble_scheduling { step { model_name: '" + step +
         "' model_version: -1 input_map { key: 'x' value: 'x' } "
         "output_map { key: 'y' value: 'y' } } }";
}

TEST_F(Ensembles, NestButNotInCircles) {
  folder_.Write("e0/config.pbtxt", "backend: 'identity' input " + Tensor("x", "INT8", "1") +
                                       "output " + Tensor("y", "INT8", "1"));
  for (int i = 1; i <= 11; ++i) {
    folder_.Write("e" + std::to_string(i) + "/config.pbtxt", Chain("e" + std::to_string(i - 1)));
  }
  folder_.Write("left/config.pbtxt", Chain("right"));
  folder_.Write("right/config.pbtxt", Chain("left"));
  Load();
  EXPECT_TRUE(repository_->IsReady("e9", ""));
  EXPECT_FALSE(repository_->IsReady("e10", ""));
  EXPECT_NE(Reason("e10").find("nested"), std::string::npos) << Reason("e10");
  EXPECT_NE(Reason("left").find("cycle"), std::string::npos) << Reason("left");
  EXPECT_NE(Reason("right").find("cycle"), std::string::npos);
  const auto model = repository_->Find("e9", "");
  ASSERT_TRUE(model.ok());
  inference::ModelInferRequest request;
  AddInput(request, "x", inference::TYPE_INT8, {1}, "k");
  const auto outputs = Infer(**model, request);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ((*outputs)[0].data, "k");
}

TEST_F(Ensembles, ACircleThatAReloadClosesIsRefused) {
  folder_.Write("e0/config.pbtxt", "backend: 'identity' input " + Tensor("x", "INT8", "1") +
                                       "output " + Tensor("y", "INT8", "1"));
  folder_.Write("e1/config.pbtxt", Chain("e0"));
  folder_.Write("e2/config.pbtxt", Chain("e1"));
  Load(ModelControl::kExplicit);
  ASSERT_TRUE(repository_->Load("e2", {}).ok());
  folder_.Write("e1/config.pbtxt", Chain("e2"));
  EXPECT_NE(Message(repository_->Load("e1", {})).find("cycle"), std::string::npos);
  EXPECT_EQ(Index(), "e0:1:READY e1:1:READY e2:1:READY ");
  EXPECT_NE(Reason("e1").find("serves on"), std::string::npos);
}

TEST_F(Ensembles, TakeAPictureToANetwork) {
  folder_.Write("decode/config.pbtxt", "backend: 'opencv_decode' max_batch_size: 4");
  folder_.Write("letterbox/config.pbtxt", "backend: 'opencv_letterbox' max_batch_size: 4 output " +
                                              Tensor("x", "FP32", "3, 2, 4"));
  folder_.Write("planes/config.pbtxt", "backend: 'identity' max_batch_size: 4 input " +
                                           Tensor("INPUT0", "FP32", "3, 2, 4"));
  folder_.Write("picture/config.pbtxt", "platform: 'ensemble' max_batch_size: 4 input " +
                                            Tensor("JPEG", "STRING", "1") + "output " +
                                            Tensor("planes", "FP32", "3, 2, 4") + R"(
    ensemble_scheduling { step [
      { model_name: "planes" model_version: -1
        input_map { key: "INPUT0" value: "boxed" } output_map { key: "OUTPUT0" value: "planes" } },
      { model_name: "letterbox" model_version: -1
        input_map { key: "pixels" value: "rgb" } output_map { key: "x" value: "boxed" } },
      { model_name: "decode" model_version: -1
        input_map { key: "image" value: "JPEG" } output_map { key: "pixels" value: "rgb" } } ] })");
  Load();
  EXPECT_EQ(Index(), "decode:1:READY letterbox:1:READY picture:1:READY planes:1:READY ");
  std::vector<unsigned char> png;
  cv::imencode(".png", cv::Mat(4, 8, CV_8UC3, cv::Scalar(0, 51, 255)), png);
  const auto model = repository_->Find("picture", "");
  ASSERT_TRUE(model.ok());
  inference::ModelInferRequest request;
  AddInput(request, "JPEG", inference::TYPE_STRING, {2, 1},
           RawTexts({{png.begin(), png.end()}, {png.begin(), png.end()}}));
  const auto outputs = Infer(**model, request);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ((*outputs)[0].shape, (Shape{2, 3, 2, 4}));
  const std::vector<float> values = Values<float>((*outputs)[0]);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::array<float, 3> expected{1.0F, 0.2F, 0.0F};
    EXPECT_FLOAT_EQ(values[i], expected[i / 8 % 3]) << i;
  }
}

TEST_F(Ensembles, BringABatchToANetwork) {
  folder_.Write("before/config.pbtxt",
                "backend: 'identity' max_batch_size: 3 input " + Tensor("in", "FP32", "2, 4"));
  folder_.Write("net/1/model.onnx", MakeTinyOnnx());
  folder_.Write("both/config.pbtxt", "platform: 'ensemble' max_batch_size: 3 input " +
                                         Tensor("in", "FP32", "2, 4") + "output " +
                                         Tensor("flat", "FP32", "8") + R"(
    ensemble_scheduling { step [
      { model_name: "net" model_version: -1
        input_map { key: "x" value: "same" } output_map { key: "flat" value: "flat" } },
      { model_name: "before" model_version: -1
        input_map { key: "in" value: "in" } output_map { key: "OUTPUT0" value: "same" } } ] })");
  Load();
  const auto model = repository_->Find("both", "");
  ASSERT_TRUE(model.ok()) << Reason("both");
  std::vector<float> numbers(24);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i);
  inference::ModelInferRequest request;
  AddInput(request, "in", inference::TYPE_FP32, {3, 2, 4}, Raw(numbers));
  const auto outputs = Infer(**model, request);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ((*outputs)[0].shape, (Shape{3, 8}));
  for (float& number : numbers) number *= 2;
  EXPECT_EQ(Values<float>((*outputs)[0]), numbers);
}

}  // namespace
}  // namespace inferpool::modelserver

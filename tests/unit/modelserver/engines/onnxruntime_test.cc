#include "modelserver/engines/onnxruntime.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <deque>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <thread>

#include "modelserver/config/config_check.h"
#include "proto/tensor.h"
#include "tests/unit/modelserver/engines/onnx_net.h"
#include "tests/unit/modelserver/engines/tiny_onnx.h"
#include "tests/unit/modelserver/repository/folder.h"

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

template <typename T>
std::string Raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

template <typename T>
std::vector<T> Values(std::string_view raw) {
  std::vector<T> values(raw.size() / sizeof(T));
  std::memcpy(values.data(), raw.data(), raw.size());
  return values;
}

std::string Strings(const std::vector<std::string_view>& elements) {
  std::string raw;
  for (const std::string_view element : elements) AppendBytesElement(element, raw);
  return raw;
}

struct Tensor {
  Shape shape;
  std::string data;
  bool shared = false;
};

// A model that is loaded, and one instance of it.
struct Instance {
  inference::ModelConfig config;
  std::unique_ptr<Engine> engine;
};

absl::StatusOr<Instance> Load(const std::string& file, const inference::ModelConfig& config = {}) {
  const Folder folder;
  folder.Write("model.onnx", file);
  ASSIGN_OR_RETURN(const LoadedModel loaded, LoadOnnx(folder.path(), config));
  RETURN_IF_ERROR(CheckConfig(loaded.config));
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, loaded.make_engine(loaded.config));
  return Instance{.config = loaded.config, .engine = std::move(engine)};
}

// One request: its inputs, in the configuration's order, and the outputs that came of it.
class Request {
 public:
  Request(const inference::ModelConfig& config, std::vector<Tensor> inputs)
      : tensors_(std::move(inputs)), outputs_(config) {
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const inference::ModelInput& input = config.input(static_cast<int>(i));
      views_.push_back({.name = input.name(),
                        .datatype = input.data_type(),
                        .shape = tensors_[i].shape,
                        .data = std::as_bytes(std::span(tensors_[i].data)),
                        .shared = tensors_[i].shared});
    }
    for (int i = 0; i < config.output_size(); ++i) outputs_.Want(i);
  }

  std::vector<TensorView>& views() { return views_; }
  Outputs& outputs() { return outputs_; }
  Execution Start() { return {.inputs = views_, .outputs = &outputs_, .status = {}}; }
  const std::string& data(std::size_t output) const { return outputs_.wanted()[output].own; }
  const Shape& shape(std::size_t output) const { return outputs_.wanted()[output].shape; }

 private:
  std::vector<Tensor> tensors_;
  std::vector<TensorView> views_;
  Outputs outputs_;
};

absl::Status RunOne(Instance& instance, Request& request) {
  Execution execution = request.Start();
  instance.engine->Run({&execution, 1});
  return execution.status;
}

std::vector<absl::Status> RunBatch(Instance& instance, std::deque<Request>& requests) {
  std::vector<Execution> batch;
  for (Request& request : requests) batch.push_back(request.Start());
  instance.engine->Run(batch);
  std::vector<absl::Status> statuses;
  for (const Execution& execution : batch) statuses.push_back(execution.status);
  return statuses;
}

TEST(OnnxEngine, JoinsTheRequestsOfABatchIntoOneRun) {
  auto instance = Load(MakeTinyOnnx());
  ASSERT_TRUE(instance.ok()) << instance.status();
  std::deque<Request> requests;
  std::vector<std::vector<float>> numbers;
  for (const std::int64_t rows : {1, 2, 1}) {
    std::vector<float> x(static_cast<std::size_t>(rows) * 8);
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<float>(i) + 100 * static_cast<float>(numbers.size());
    }
    requests.emplace_back(instance->config,
                          std::vector<Tensor>{{.shape = {rows, 2, 4}, .data = Raw(x)}});
    numbers.push_back(std::move(x));
  }
  for (const absl::Status& status : RunBatch(*instance, requests)) {
    ASSERT_TRUE(status.ok()) << status;
  }
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto rows = static_cast<std::int64_t>(numbers[i].size() / 8);
    EXPECT_EQ(requests[i].shape(0), (Shape{rows, 2, 4}));
    EXPECT_EQ(requests[i].shape(1), (Shape{rows, 8}));
    const auto sum = Values<float>(requests[i].data(0));
    ASSERT_EQ(sum.size(), numbers[i].size());
    EXPECT_FLOAT_EQ(sum.front(), 2 * numbers[i].front());
    EXPECT_FLOAT_EQ(sum.back(), 2 * numbers[i].back());
  }
}

// y = x[index]: for each row, of x [N, 4], the numbers at `index` [N, 2].
OnnxNet Picking() {
  return OnnxNet()
      .Input("x", OnnxElement::kFloat, {-1, 4})
      .Input("index", OnnxElement::kInt64, {-1, 2})
      .Node("GatherElements", {"x", "index"}, {"y"}, {{.name = "axis", .integer = 1}})
      .Output("y", OnnxElement::kFloat, {-1, 2});
}

TEST(OnnxEngine, ARequestThatFailsDoesNotFailTheOthersOfItsBatch) {
  auto instance = Load(Picking().Bytes());
  ASSERT_TRUE(instance.ok()) << instance.status();
  std::deque<Request> requests;
  for (const std::int64_t index : {0, 100, 3}) {
    requests.emplace_back(
        instance->config,
        std::vector<Tensor>{{.shape = {1, 4}, .data = Raw<float>({1, 2, 3, 4})},
                            {.shape = {1, 2}, .data = Raw<std::int64_t>({index, 1})}});
  }
  const std::vector<absl::Status> statuses = RunBatch(*instance, requests);
  EXPECT_TRUE(statuses[0].ok()) << statuses[0];
  EXPECT_FALSE(statuses[1].ok());
  EXPECT_TRUE(statuses[2].ok()) << statuses[2];
  EXPECT_EQ(Values<float>(requests[0].data(0)), (std::vector<float>{1, 2}));
  EXPECT_EQ(Values<float>(requests[2].data(0)), (std::vector<float>{4, 2}));
}

// A client may change its indices in shared memory at any time, also between the check of an index
// and its use.
TEST(OnnxEngine, IndicesThatChangeDuringTheRunAreThoseOfItsBeginning) {
  constexpr std::int64_t kCount = 200'000;
  auto instance = Load(OnnxNet()
                           .Input("x", OnnxElement::kFloat, {4})
                           .Input("index", OnnxElement::kInt64, {kCount})
                           .Node("Gather", {"x", "index"}, {"y"})
                           .Output("y", OnnxElement::kFloat, {kCount})
                           .Bytes());
  ASSERT_TRUE(instance.ok()) << instance.status();
  Request request(instance->config,
                  {{.shape = {4}, .data = Raw<float>({1, 2, 3, 4}), .shared = true},
                   {.shape = {kCount},
                    .data = std::string(kCount * sizeof(std::int64_t), '\0'),
                    .shared = true}});
  auto* indices =
      reinterpret_cast<std::int64_t*>(const_cast<std::byte*>(request.views()[1].data.data()));
  std::atomic<bool> stop = false;
  std::jthread client([&] {
    // An address far away: used unchecked, it ends the process.
    for (std::size_t i = 0; !stop; i = (i + 7919) % kCount) {
      std::atomic_ref<std::int64_t>(indices[i])
          .store(std::int64_t{1} << 40, std::memory_order_relaxed);
      std::atomic_ref<std::int64_t>(indices[i]).store(2, std::memory_order_relaxed);
    }
  });
  for (int round = 0; round < 200; ++round) {
    request.outputs().Clear();
    const absl::Status status = RunOne(*instance, request);
    if (status.ok()) {
      for (const float number : Values<float>(request.data(0))) {
        ASSERT_TRUE(number == 1 || number == 3) << number;
      }
    }
  }
  stop = true;
}

TEST(OnnxEngine, OutputsGoWhereTheyAreWanted) {
  auto instance = Load(OnnxNet()
                           .Input("x", OnnxElement::kFloat, {4096})
                           .Node("Add", {"x", "x"}, {"y"})
                           .Node("Shape", {"x"}, {"n"})
                           .Output("y", OnnxElement::kFloat, {4096})
                           .Output("n", OnnxElement::kInt64, {1})
                           .Bytes());
  ASSERT_TRUE(instance.ok()) << instance.status();
  Request request(instance->config, {{.shape = {4096}, .data = Raw(std::vector<float>(4096, 3))}});
  std::vector<float> numbers(4096, -1);
  std::vector<std::int64_t> count(1, -1);
  Outputs outputs(instance->config);
  outputs.WantShared(0, std::as_writable_bytes(std::span(numbers)));
  outputs.WantShared(1, std::as_writable_bytes(std::span(count)));
  Execution execution{.inputs = request.views(), .outputs = &outputs, .status = {}};
  instance->engine->Run({&execution, 1});
  ASSERT_TRUE(execution.status.ok()) << execution.status;
  EXPECT_EQ(numbers, std::vector<float>(4096, 6));
  EXPECT_EQ(count.front(), 4096);
  // Too little room is said before anything is written.
  Outputs small(instance->config);
  numbers.assign(4096, -1);
  small.WantShared(0, std::as_writable_bytes(std::span(numbers)).first(100));
  Execution refused{.inputs = request.views(), .outputs = &small, .status = {}};
  instance->engine->Run({&refused, 1});
  EXPECT_NE(Message(refused.status).find("shared memory size"), std::string::npos);
  EXPECT_EQ(numbers, std::vector<float>(4096, -1));
}

TEST(OnnxEngine, TakesDataThatIsNotAligned) {
  auto instance = Load(MakeTinyOnnx());
  ASSERT_TRUE(instance.ok());
  const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8};
  const std::string shifted = " " + Raw(x);
  Request request(instance->config, {{.shape = {1, 2, 4}, .data = Raw(x)}});
  request.views()[0].data = std::as_bytes(std::span(shifted)).subspan(1);
  ASSERT_TRUE(RunOne(*instance, request).ok());
  EXPECT_EQ(Values<float>(request.data(1)).back(), 16);
}

struct Datatype {
  OnnxElement element;
  inference::DataType datatype;
  std::size_t bytes;
};

TEST(OnnxEngine, KnowsEveryDatatype) {
  for (const auto& [element, datatype, bytes] :
       {Datatype{OnnxElement::kFloat, inference::TYPE_FP32, 4},
        Datatype{OnnxElement::kDouble, inference::TYPE_FP64, 8},
        Datatype{OnnxElement::kFloat16, inference::TYPE_FP16, 2},
        Datatype{OnnxElement::kBfloat16, inference::TYPE_BF16, 2},
        Datatype{OnnxElement{3}, inference::TYPE_INT8, 1},
        Datatype{OnnxElement{4}, inference::TYPE_UINT16, 2},
        Datatype{OnnxElement{5}, inference::TYPE_INT16, 2},
        Datatype{OnnxElement::kInt32, inference::TYPE_INT32, 4},
        Datatype{OnnxElement::kInt64, inference::TYPE_INT64, 8},
        Datatype{OnnxElement{12}, inference::TYPE_UINT32, 4},
        Datatype{OnnxElement{13}, inference::TYPE_UINT64, 8},
        Datatype{OnnxElement::kUint8, inference::TYPE_UINT8, 1},
        Datatype{OnnxElement::kBool, inference::TYPE_BOOL, 1}}) {
    auto instance = Load(OnnxNet()
                             .Input("x", element, {-1, 3})
                             .Node("Reshape", {"x", "all"}, {"y"})
                             .Integers("all", {0, 1, 3})
                             .Output("y", element, {-1, 1, 3})
                             .Bytes());
    ASSERT_TRUE(instance.ok()) << instance.status();
    EXPECT_EQ(instance->config.input(0).data_type(), datatype);
    std::string data(6 * bytes, '\1');
    data[0] = '\0';
    std::deque<Request> requests;
    for (int i = 0; i < 2; ++i) {
      requests.emplace_back(instance->config,
                            std::vector<Tensor>{{.shape = {2, 3}, .data = data, .shared = true}});
    }
    for (const absl::Status& status : RunBatch(*instance, requests)) {
      ASSERT_TRUE(status.ok()) << status;
    }
    EXPECT_EQ(requests[0].data(0), data);
    EXPECT_EQ(requests[1].data(0), data);
  }
}

TEST(OnnxEngine, TakesAndGivesBytes) {
  using std::string_view_literals::operator""sv;
  auto instance = Load(OnnxNet()
                           .Input("x", OnnxElement::kString, {-1, 2})
                           .Node("Concat", {"x", "x"}, {"y"}, {{.name = "axis", .integer = 1}})
                           .Output("y", OnnxElement::kString, {-1, 4})
                           .Bytes());
  ASSERT_TRUE(instance.ok()) << instance.status();
  std::deque<Request> requests;
  requests.emplace_back(instance->config,
                        std::vector<Tensor>{{.shape = {1, 2}, .data = Strings({"a\0b"sv, ""})}});
  requests.emplace_back(
      instance->config,
      std::vector<Tensor>{{.shape = {2, 2}, .data = Strings({"one", "two", "three", "four"})}});
  for (const absl::Status& status : RunBatch(*instance, requests)) {
    ASSERT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(requests[0].data(0), Strings({"a\0b"sv, "", "a\0b"sv, ""}));
  EXPECT_EQ(requests[1].data(0),
            Strings({"one", "two", "one", "two", "three", "four", "three", "four"}));
  EXPECT_EQ(requests[1].shape(0), (Shape{2, 4}));
}

TEST(OnnxEngine, ServesOpenShapesAndOutputsWhoseSizeDependsOnTheData) {
  auto instance = Load(OnnxNet()
                           .Input("x", OnnxElement::kFloat, {-1, -1})
                           .Node("NonZero", {"x"}, {"y"})
                           .Output("y", OnnxElement::kInt64, {2, -1})
                           .Bytes());
  ASSERT_TRUE(instance.ok()) << instance.status();
  EXPECT_EQ(instance->config.max_batch_size(), 0);
  Request request(instance->config, {{.shape = {2, 2}, .data = Raw<float>({0, 1, 1, 0})}});
  ASSERT_TRUE(RunOne(*instance, request).ok());
  EXPECT_EQ(request.shape(0), (Shape{2, 2}));
  Request none(instance->config, {{.shape = {1, 3}, .data = Raw<float>({0, 0, 0})}});
  ASSERT_TRUE(RunOne(*instance, none).ok());
  EXPECT_EQ(none.shape(0), (Shape{2, 0}));
}

TEST(OnnxEngine, AnOptionalInputMayBeLeftOut) {
  inference::ModelConfig config;
  inference::ModelInput& scale = *config.add_input();
  config.add_input()->set_name("x");
  scale.set_name("scale");
  scale.set_optional(true);
  auto instance = Load(OnnxNet()
                           .Input("x", OnnxElement::kFloat, {2})
                           .Input("scale", OnnxElement::kFloat, {1})
                           .Constant("scale", OnnxElement::kFloat, {1}, Raw<float>({10}))
                           .Node("Mul", {"x", "scale"}, {"y"})
                           .Output("y", OnnxElement::kFloat, {2})
                           .Bytes(),
                       config);
  ASSERT_TRUE(instance.ok()) << instance.status();
  Request request(instance->config, {{.shape = {1}, .data = Raw<float>({3})},
                                     {.shape = {2}, .data = Raw<float>({1, 2})}});
  ASSERT_TRUE(RunOne(*instance, request).ok());
  EXPECT_EQ(Values<float>(request.data(0)), (std::vector<float>{3, 6}));
  request.outputs().Clear();
  request.views()[0] = {};
  ASSERT_TRUE(RunOne(*instance, request).ok());
  EXPECT_EQ(Values<float>(request.data(0)), (std::vector<float>{10, 20}));
}

TEST(OnnxEngine, ReadsExternalDataBesideTheFileAndNowhereElse) {
  const Folder folder;
  const auto load = [&folder](const std::string& location) {
    folder.Write("1/model.onnx", OnnxNet()
                                     .Input("x", OnnxElement::kFloat, {2})
                                     .External("w", OnnxElement::kFloat, {2}, location)
                                     .Node("Add", {"x", "w"}, {"y"})
                                     .Output("y", OnnxElement::kFloat, {2})
                                     .Bytes());
    return LoadOnnx(folder.path() / "1", {}).status();
  };
  folder.Write("1/weights.bin", Raw<float>({1, 2}));
  folder.Write("secret.bin", Raw<float>({1, 2}));
  std::filesystem::create_symlink("../secret.bin", folder.path() / "1/link.bin");
  EXPECT_TRUE(load("weights.bin").ok()) << load("weights.bin");
  for (const std::string location :
       {"../secret.bin", "link.bin", "missing.bin", "", (folder.path() / "secret.bin").c_str()}) {
    EXPECT_EQ(load(location).code(), absl::StatusCode::kInvalidArgument) << location;
  }
}

// A net of many small layers that takes seconds.
std::string LongNet() {
  OnnxNet net;
  net.Input("x0", OnnxElement::kFloat, {300, 300});
  net.Input("unused", OnnxElement::kInt64, {1});  // no trial is made with integers
  constexpr int kLayers = 4000;
  for (int i = 0; i < kLayers; ++i) {
    net.Node("MatMul", {"x" + std::to_string(i), "x0"}, {"x" + std::to_string(i + 1)});
  }
  net.Output("x" + std::to_string(kLayers), OnnxElement::kFloat, {300, 300});
  return net.Bytes();
}

TEST(OnnxEngine, ARunThatNobodyWaitsForEnds) {
  inference::ModelConfig config;
  config.mutable_optimization()->mutable_graph()->set_level(2);
  auto instance = Load(LongNet(), config);
  ASSERT_TRUE(instance.ok()) << instance.status();
  Request request(instance->config,
                  {{.shape = {300, 300}, .data = std::string(std::size_t{300} * 300 * 4, '\0')},
                   {.shape = {1}, .data = Raw<std::int64_t>({0})}});
  std::stop_source callers;
  Execution execution = request.Start();
  execution.abandoned = callers.get_token();
  const auto start = std::chrono::steady_clock::now();
  std::jthread leaves([&callers] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    callers.request_stop();
  });
  instance->engine->Run({&execution, 1});
  EXPECT_EQ(execution.status.code(), absl::StatusCode::kCancelled) << execution.status;
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
}

TEST(OnnxEngine, LearnsTheSizesOfOutputsFromATrial) {
  // ReduceSum over axes that the graph computes: the file cannot say the output's shape.
  auto instance = Load(OnnxNet()
                           .Input("x", OnnxElement::kFloat, {-1, 3, 4})
                           .Node("Shape", {"x"}, {"shape"})
                           .Integers("last", {2})
                           .Node("Gather", {"shape", "last"}, {"size"})
                           .Integers("front", {0, -1})
                           .Node("Concat", {"front", "size"}, {"target"}, {{.name = "axis"}})
                           .Node("Reshape", {"x", "target"}, {"y"})
                           .Output("y", OnnxElement::kFloat, {-1, -1, -1})
                           .Bytes());
  ASSERT_TRUE(instance.ok()) << instance.status();
  EXPECT_EQ(instance->config.max_batch_size(), 4);
  EXPECT_EQ(instance->config.output(0).dims(0), 3);
  EXPECT_EQ(instance->config.output(0).dims(1), 4);
}

TEST(OnnxEngine, PassesOnWhatUltralyticsSaysOfItsExports) {
  auto instance =
      Load(MakeTinyOnnx() + OnnxMetadata("task", "pose") + OnnxMetadata("kpt_shape", "[17, 3]") +
           OnnxMetadata("end2end", "True") + OnnxMetadata("author", "somebody"));
  ASSERT_TRUE(instance.ok()) << instance.status();
  const auto& parameters = instance->config.parameters();
  EXPECT_EQ(parameters.at("task").string_value(), "pose");
  EXPECT_EQ(parameters.at("kpt_shape").string_value(), "[17, 3]");
  EXPECT_EQ(parameters.at("end2end").string_value(), "True");
  EXPECT_FALSE(parameters.contains("author"));
  // An export with nms=True: its net has no such head, but the file suppresses duplicates.
  auto with_nms = Load(MakeTinyOnnx() + OnnxMetadata("end2end", "False") +
                       OnnxMetadata("args", "{'batch': 1, 'nms': True}"));
  ASSERT_TRUE(with_nms.ok()) << with_nms.status();
  EXPECT_EQ(with_nms->config.parameters().at("end2end").string_value(), "True");
  inference::ModelConfig config;
  (*config.mutable_parameters())["task"].set_string_value("detect");
  instance = Load(MakeTinyOnnx() + OnnxMetadata("task", "pose"), config);
  EXPECT_EQ(instance->config.parameters().at("task").string_value(), "detect");
}

TEST(OnnxEngine, SaysWhyAModelIsNotServed) {
  const auto why = [](const OnnxNet& net) {
    return std::string(Message(Load(net.Bytes()).status()));
  };
  EXPECT_NE(why(OnnxNet()
                    .Input("x", OnnxElement::kFloat, {2})
                    .Node("NoSuchOperator", {"x"}, {"y"})
                    .Output("y", OnnxElement::kFloat, {2}))
                .find("NoSuchOperator"),
            std::string::npos);
  EXPECT_NE(why(OnnxNet().Output("y", OnnxElement::kFloat, {2})), "");
}

// Whatever a file holds, it loads or there is an error.
TEST(OnnxEngine, DamagedFilesAreErrors) {
  std::ifstream stream(INFERPOOL_SOURCE_DIR "/tests/data/onnx/yolov8_batch_12.onnx",
                       std::ios::binary);
  const std::string good{std::istreambuf_iterator<char>(stream), {}};
  ASSERT_FALSE(good.empty());
  std::minstd_rand random(11);
  for (int round = 0; round < 60; ++round) {
    std::string bytes = good;
    for (int flip = 0; flip < 3; ++flip) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    if (round % 4 == 0) {
      bytes.resize(random() % bytes.size());
    }
    const auto instance = Load(bytes);
    EXPECT_TRUE(instance.ok() || instance.status().code() == absl::StatusCode::kInvalidArgument)
        << instance.status();
  }
}

}  // namespace
}  // namespace inferpool::modelserver

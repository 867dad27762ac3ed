#include "modelserver/engines/opencv_dnn.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>

#include "modelserver/engines/onnx/operands.h"
#include "modelserver/engines/onnx_file.h"
#include "tests/unit/modelserver/engines/onnx/text.h"
#include "tests/unit/modelserver/repository/folder.h"

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

absl::StatusOr<std::unique_ptr<Engine>> Make(const std::filesystem::path& file) {
  inference::ModelConfig config;
  const absl::StatusOr<OnnxFile> onnx = ReadOnnxFile(file);
  RETURN_IF_ERROR(onnx.status());
  RETURN_IF_ERROR(CompleteFromOnnx(*onnx, config));
  return MakeDnnEngine(config, file);
}

// What the model written as `text` makes of `x`, through a file and the engine.
std::vector<float> Answer(const onnx::ModelProto& model, const Shape& shape,
                          const std::vector<float>& x) {
  const Folder folder;
  const auto engine = Make(folder.Write("model.onnx", model.SerializeAsString()));
  EXPECT_TRUE(engine.ok()) << engine.status();
  if (!engine.ok()) {
    return {};
  }
  const TensorView view{.name = "x",
                        .datatype = inference::TYPE_FP32,
                        .shape = shape,
                        .data = std::as_bytes(std::span(x))};
  inference::ModelConfig config;
  config.add_output()->set_name("y");
  Outputs outputs(config);
  outputs.Want(0);
  Execution run{.inputs = {&view, 1}, .outputs = &outputs, .status = {}};
  (*engine)->Run({&run, 1});
  EXPECT_TRUE(run.status.ok()) << run.status;
  std::vector<float> numbers(x.size());
  const std::string& answer = outputs.wanted().front().own;
  if (answer.size() == x.size() * sizeof(float)) {
    std::memcpy(numbers.data(), answer.data(), answer.size());
  }
  return numbers;
}

std::vector<float> Random(std::size_t count, unsigned seed) {
  std::minstd_rand random(seed);
  std::uniform_real_distribution<float> uniform(1, 2);
  std::vector<float> numbers(count);
  for (float& number : numbers) number = uniform(random);
  return numbers;
}

std::string Text(const Shape& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : ",") + std::to_string(size);
  return text;
}

std::int64_t Count(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

// Every way to broadcast a constant that keeps x's shape, for the four operations, both ways round.
TEST(DnnEngine, BroadcastsConstantsAsOnnxDoes) {
  const std::map<std::string, std::function<float(float, float)>> operations = {
      {"Add", std::plus<float>()},
      {"Sub", std::minus<float>()},
      {"Mul", std::multiplies<float>()},
      {"Div", std::divides<float>()}};
  const Shape shape = {1, 3, 4, 5};
  const std::vector<float> x = Random(60, 1);
  for (const Shape& dims : std::vector<Shape>{{},
                                              {1},
                                              {5},
                                              {4, 5},
                                              {1, 5},
                                              {4, 1},
                                              {3, 1, 1},
                                              {1, 4, 5},
                                              {1, 4, 1},
                                              {3, 4, 5},
                                              {3, 1, 5},
                                              {3, 4, 1},
                                              {1, 3, 1, 1},
                                              {1, 1, 4, 5},
                                              {1, 1, 1, 5},
                                              {1, 3, 4, 5}}) {
    const std::vector<float> c = Random(static_cast<std::size_t>(Count(dims)), 2);
    const onnx_graph::Value constant{
        .type = onnx::TensorProto::FLOAT, .dims = dims, .numbers = {c.begin(), c.end()}};
    const auto full = onnx_graph::Broadcast(constant, shape);
    ASSERT_TRUE(full.has_value());
    for (const auto& [name, operation] : operations) {
      for (const bool constant_first : {false, true}) {
        // The operand is a layer's output: OpenCV treats the network's input differently.
        auto model = onnx_graph::ParseModel(
            "g (float[1,3,4,5] x) => (float[1,3,4,5] y) { n = "
            "Neg(x) p = Neg(n) y = " +
            name + (constant_first ? "(c, p) }" : "(p, c) }"));
        *model.mutable_graph()->add_initializer() = onnx_graph::WriteValue(constant, "c");
        const std::vector<float> y = Answer(model, shape, x);
        ASSERT_EQ(y.size(), x.size());
        for (std::size_t i = 0; i < x.size(); ++i) {
          const auto other = static_cast<float>(full->numbers[i]);
          ASSERT_NEAR(y[i], constant_first ? operation(other, x[i]) : operation(x[i], other), 1e-5)
              << name << " with [" << Text(dims) << "], constant first: " << constant_first;
        }
      }
    }
  }
}

TEST(DnnEngine, ComputesSiluAndSigmoidAlsoAfterAConvolution) {
  const std::vector<float> x = {-3, -0.5F, 0, 0.5F, 3, 20};
  const auto sigmoid = [](float number) { return 1 / (1 + std::exp(-number)); };
  for (const bool convolution : {false, true}) {
    auto model = onnx_graph::ParseModel(
        "g (float[1,1,2,3] x) => (float[1,1,2,3] y) { w = Constant<value = float[1,1,1,1] "
        "{-1.0}>() " +
        std::string(convolution ? "a = Conv<kernel_shape = [1, 1]>(x, w)" : "a = Neg(x)") +
        " s = Sigmoid(a) b = Mul(a, s) y = Sigmoid(b) }");
    const std::vector<float> y = Answer(model, {1, 1, 2, 3}, x);
    ASSERT_EQ(y.size(), x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_NEAR(y[i], sigmoid(-x[i] * sigmoid(-x[i])), 1e-6) << x[i];
    }
  }
}

TEST(DnnEngine, SaysWhyAModelIsNotServed) {
  const Folder folder;
  const auto why = [&folder](const std::string& text) {
    const auto model = onnx_graph::ParseModel(text);
    return std::string(
        Message(Make(folder.Write("model.onnx", model.SerializeAsString())).status()));
  };
  EXPECT_NE(why("g (float[1,2] x) => (float[1,2] y) { a = Add(x, b) b = Neg(a) y = Neg(b) }")
                .find("uses 'b', which nothing before it makes"),
            std::string::npos);
  EXPECT_NE(why("g (float[1,2] x) => (float[1,2] y) { y = NoSuchOperator(x) }").find("NoSuch"),
            std::string::npos);
  EXPECT_NE(
      why("g (float[1,2,H,W] x) => (float[1,M] y) { s = Shape(x) y = Expand(x, s) }").find("open"),
      std::string::npos);
}

// Whatever a file holds, it loads or there is an error; and that does not take long.
TEST(DnnEngine, DamagedFilesAreErrors) {
  std::ifstream stream(INFERPOOL_SOURCE_DIR "/tests/data/onnx/yolov8_batch_12.onnx",
                       std::ios::binary);
  const std::string good{std::istreambuf_iterator<char>(stream), {}};
  ASSERT_FALSE(good.empty());
  const Folder folder;
  std::minstd_rand random(11);
  for (int round = 0; round < 60; ++round) {
    std::string bytes = good;
    for (int flip = 0; flip < 3; ++flip) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    if (round % 4 == 0) {
      bytes.resize(random() % bytes.size());
    }
    const auto engine = Make(folder.Write("model.onnx", bytes));
    EXPECT_TRUE(engine.ok() || engine.status().code() == absl::StatusCode::kInvalidArgument)
        << engine.status();
  }
}

}  // namespace
}  // namespace inferpool::modelserver

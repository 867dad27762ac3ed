#include "modelserver/execution/warmup.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tests/unit/modelserver/config/configured.h"
#include "tests/unit/modelserver/repository/folder.h"

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

// Notes what it is asked; fails when told to.
class Recorder : public Engine {
 public:
  struct Request {
    Shape shape;
    std::string data;
  };

  void Run(std::span<Execution> batch) override {
    for (Execution& execution : batch) {
      for (const TensorView& input : execution.inputs) {
        requests.push_back(
            {.shape = {input.shape.begin(), input.shape.end()},
             .data = {reinterpret_cast<const char*>(input.data.data()), input.data.size()}});
      }
      execution.status = answer;
    }
  }

  std::vector<Request> requests;
  absl::Status answer;
};

struct Warmed {
  absl::Status status;
  std::vector<Recorder::Request> requests;
};

Warmed Warm(const std::string& warmup, const std::string& more = "max_batch_size: 4",
            const std::filesystem::path& folder = "/nonexistent",
            const absl::Status& answer = absl::OkStatus(), int instances = 1) {
  const inference::ModelConfig config =
      Config(more +
             " input { name: 'x' data_type: TYPE_FP32 dims: [ -1, 2 ] }"
             " output { name: 'y' data_type: TYPE_FP32 dims: [ 2 ] } " +
             warmup);
  std::vector<std::unique_ptr<Engine>> engines;
  std::vector<Recorder*> recorders;
  for (int i = 0; i < instances; ++i) {
    auto recorder = std::make_unique<Recorder>();
    recorder->answer = answer;
    recorders.push_back(recorder.get());
    engines.push_back(std::move(recorder));
  }
  Warmed warmed{.status = WarmUp(config, folder, engines), .requests = {}};
  for (const Recorder* recorder : recorders) {
    warmed.requests.insert(warmed.requests.end(), recorder->requests.begin(),
                           recorder->requests.end());
  }
  return warmed;
}

std::string Input(const std::string& data, const std::string& dims = "3, 2") {
  return "inputs { key: 'x' value { data_type: TYPE_FP32 dims: [ " + dims + " ] " + data + " } } ";
}

TEST(Warmups, RunOnEveryInstanceAsOftenAsTheySay) {
  const Warmed warmed =
      Warm("model_warmup { name: 'w' count: 3 batch_size: 2 " + Input("zero_data: true") + "}",
           "max_batch_size: 4", "/nonexistent", absl::OkStatus(), 2);
  ASSERT_TRUE(warmed.status.ok()) << warmed.status;
  ASSERT_EQ(warmed.requests.size(), 6U);
  for (const Recorder::Request& request : warmed.requests) {
    EXPECT_EQ(request.shape, (Shape{2, 3, 2}));
    EXPECT_EQ(request.data, std::string(48, '\0'));
  }
  EXPECT_EQ(Warm("model_warmup { " + Input("zero_data: true") + "}").requests.size(), 1U);
  EXPECT_TRUE(Warm("").status.ok());
}

TEST(Warmups, RandomDataAreSoundNumbersAndTheSameEachTime) {
  const std::string warmup = "model_warmup { " + Input("random_data: true", "50, 2") + "}";
  const Warmed warmed = Warm(warmup);
  ASSERT_TRUE(warmed.status.ok()) << warmed.status;
  std::vector<float> values(100);
  ASSERT_EQ(warmed.requests[0].data.size(), values.size() * sizeof(float));
  std::memcpy(values.data(), warmed.requests[0].data.data(), warmed.requests[0].data.size());
  EXPECT_TRUE(std::ranges::all_of(values, [](float value) { return value >= 0 && value <= 1; }));
  EXPECT_NE(values[0], values[1]);
  EXPECT_EQ(Warm(warmup).requests[0].data, warmed.requests[0].data);
}

TEST(Warmups, TakeARowFromAFile) {
  const Folder folder;
  folder.Write("warmup/row", "0123456789abcdef");
  const Warmed warmed =
      Warm("model_warmup { batch_size: 2 " + Input("input_data_file: 'row'", "2, 2") + "}",
           "max_batch_size: 4", folder.path());
  ASSERT_TRUE(warmed.status.ok()) << warmed.status;
  EXPECT_EQ(warmed.requests[0].data, "0123456789abcdef0123456789abcdef");
  for (const char* name : {"other", "../row", "/etc/passwd", "..", ""}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        Warm(
            "model_warmup { " + Input(std::string("input_data_file: '") + name + "'", "2, 2") + "}",
            "", folder.path())
            .status))
        << name;
  }
  // A file of another size than its shape.
  EXPECT_FALSE(
      Warm("model_warmup { " + Input("input_data_file: 'row'", "3, 2") + "}", "", folder.path())
          .status.ok());
}

TEST(Warmups, ThatDoNotFitTheModelFailWithTheirName) {
  const auto why = [](const std::string& warmup, const std::string& more = "max_batch_size: 4") {
    return Warm("model_warmup { name: 'w' " + warmup + "}", more).status;
  };
  for (const std::string& warmup :
       {std::string(), Input("zero_data: true", "3, 3"), Input("zero_data: true", "-1, 2"),
        Input(""), "batch_size: 5 " + Input("zero_data: true"),
        "count: 1001 " + Input("zero_data: true"), Input("zero_data: true", "1000000000, 2"),
        "batch_size: 4 " + Input("zero_data: true", "8388609, 2"),  // 64 MiB a row, and a bit
        Input("zero_data: true") +
            "inputs { key: 'z' value { data_type: TYPE_INT8 dims: [ 1 ] zero_data: true } }",
        std::string("inputs { key: 'x' value { data_type: TYPE_INT8 dims: [ 3, 2 ] "
                    "zero_data: true } }")}) {
    const absl::Status status = why(warmup);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << warmup << status;
    EXPECT_EQ(Message(status).substr(0, 18), "model_warmup 'w': ") << status;
  }
  EXPECT_FALSE(why("batch_size: 2 " + Input("zero_data: true"), "").ok());
  std::string many;
  for (int i = 0; i < 33; ++i) many += "model_warmup { " + Input("zero_data: true") + "}";
  EXPECT_FALSE(Warm(many).status.ok());
}

TEST(Warmups, FailWithTheEnginesReason) {
  const Warmed warmed = Warm("model_warmup { name: 'w' " + Input("zero_data: true") + "}", "", "/",
                             absl::InternalError("broken"));
  EXPECT_EQ(warmed.status, absl::InternalError("model_warmup 'w': broken"));
}

TEST(Warmups, GateAModelsLoad) {
  const std::string model =
      "backend: 'add_sub' input [ { name: 'a' data_type: TYPE_STRING dims: [ 1 ] },"
      " { name: 'b' data_type: TYPE_STRING dims: [ 1 ] } ] model_warmup { name: 'empty' "
      "inputs { key: 'a' value { data_type: TYPE_STRING dims: [ 1 ] zero_data: true } } "
      "inputs { key: 'b' value { data_type: TYPE_STRING dims: [ 1 ] zero_data: true } } }";
  EXPECT_NE(Message(LoadConfigured(model).status()).find("model_warmup 'empty': input 'a'"),
            std::string::npos);
}

}  // namespace
}  // namespace inferpool::modelserver

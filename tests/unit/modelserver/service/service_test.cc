// The service as a client sees it: over a real unix socket.

#include "modelserver/service/service.h"

#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <future>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <thread>

#include "modelserver/service/server.h"
#include "proto/tensor.h"
#include "tests/unit/modelserver/engines/tiny_onnx.h"
#include "tests/unit/modelserver/execution/scripted_engine.h"
#include "tests/unit/modelserver/repository/folder.h"

namespace inferpool::modelserver {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using Shape = std::vector<std::int64_t>;

// It takes its time, but not the processor, which the other tests of this machine want.
constexpr const char* kSlow = R"(backend: "identity"
    input { name: "INPUT0" data_type: TYPE_INT8 dims: [ 1 ] }
    parameters { key: "execute_delay_ms" value { string_value: "600" } })";

class Serving : public testing::Test {
 protected:
  void SetUp() override {
    const auto samples = std::filesystem::canonical(INFERPOOL_SOURCE_DIR) / "ops/models";
    std::filesystem::create_directories(folder_.path() / "models");
    std::filesystem::create_directory_symlink(samples / "faces_cascade",
                                              folder_.path() / "models/faces_cascade");
    folder_.Write("models/tiny/1/model.onnx", MakeTinyOnnx({.names = "{0: 'cat', 1: 'dog'}"}));
    folder_.Write("models/broken/config.pbtxt", "max_batch_sise: 1");
    folder_.Write("models/slow/config.pbtxt", kSlow);
    ASSERT_TRUE(repository_.Scan().ok());
    const std::string address = "unix:" + (folder_.path() / "socket").string();
    auto server = Server::Start(repository_, {address}, {.allow_client_shm = true});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    channel_ = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
    stub_ = inference::GRPCInferenceService::NewStub(channel_);
  }

  void Load() {
    repository_.Load([] { return false; });
  }

  bool Ready() {
    grpc::ClientContext context;
    inference::ServerReadyResponse response;
    EXPECT_TRUE(stub_->ServerReady(&context, {}, &response).ok());
    return response.ready();
  }

  grpc::Status Infer(const inference::ModelInferRequest& request,
                     inference::ModelInferResponse& response,
                     milliseconds timeout = std::chrono::minutes(1)) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + timeout);
    return stub_->ModelInfer(&context, request, &response);
  }

  static inference::ModelInferRequest TinyRequest(std::int64_t batch = 1) {
    inference::ModelInferRequest request;
    request.set_model_name("tiny");
    request.set_id("id 1");
    std::vector<float> x(static_cast<std::size_t>(batch) * 8, 1.5F);
    AddRawInput(request, "x", inference::TYPE_FP32, Shape{batch, 2, 4})
        .assign(reinterpret_cast<const char*>(x.data()), x.size() * sizeof(float));
    return request;
  }

  static inference::ModelInferRequest PictureRequest(const std::string& model, const cv::Mat& rgb) {
    inference::ModelInferRequest request;
    request.set_model_name(model);
    AddRawInput(request, "image", inference::TYPE_UINT8, Shape{rgb.rows, rgb.cols, 3})
        .assign(reinterpret_cast<const char*>(rgb.data), rgb.total() * 3);
    return request;
  }

  static inference::ModelInferRequest ByteRequest(const std::string& model) {
    inference::ModelInferRequest request;
    request.set_model_name(model);
    AddRawInput(request, "INPUT0", inference::TYPE_INT8, Shape{1}).assign(1, '\0');
    return request;
  }

  Folder folder_;
  Repository repository_{folder_.path() / "models"};
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
};

TEST_F(Serving, IsLiveAtOnceAndReadyWhenAllIsLoadedOrFailed) {
  grpc::ClientContext context;
  inference::ServerLiveResponse live;
  EXPECT_TRUE(stub_->ServerLive(&context, {}, &live).ok());
  EXPECT_TRUE(live.live());
  EXPECT_FALSE(Ready());
  inference::ModelInferResponse response;
  EXPECT_EQ(Infer(TinyRequest(), response).error_code(), StatusCode::UNAVAILABLE);
  Load();
  EXPECT_TRUE(Ready());

  const auto ready = [&](const std::string& name, const std::string& version) {
    grpc::ClientContext model_context;
    inference::ModelReadyRequest request;
    request.set_name(name);
    request.set_version(version);
    inference::ModelReadyResponse model;
    EXPECT_TRUE(stub_->ModelReady(&model_context, request, &model).ok());
    return model.ready();
  };
  EXPECT_TRUE(ready("tiny", ""));
  EXPECT_TRUE(ready("tiny", "1"));
  EXPECT_FALSE(ready("tiny", "2"));
  EXPECT_FALSE(ready("broken", ""));
  EXPECT_FALSE(ready("unknown", ""));
}

TEST_F(Serving, DescribesItselfAndItsModels) {
  Load();
  grpc::ClientContext server_context;
  inference::ServerMetadataResponse server;
  ASSERT_TRUE(stub_->ServerMetadata(&server_context, {}, &server).ok());
  EXPECT_EQ(server.name(), "triton");
  EXPECT_FALSE(server.version().empty());

  grpc::ClientContext metadata_context;
  inference::ModelMetadataRequest metadata_request;
  metadata_request.set_name("tiny");
  inference::ModelMetadataResponse metadata;
  ASSERT_TRUE(stub_->ModelMetadata(&metadata_context, metadata_request, &metadata).ok());
  EXPECT_EQ(metadata.ShortDebugString(),
            "name: \"tiny\" versions: \"1\" platform: \"onnxruntime\" "
            "inputs { name: \"x\" datatype: \"FP32\" shape: -1 shape: 2 shape: 4 } "
            "outputs { name: \"sum\" datatype: \"FP32\" shape: -1 shape: 2 shape: 4 } "
            "outputs { name: \"flat\" datatype: \"FP32\" shape: -1 shape: 8 }");

  grpc::ClientContext config_context;
  inference::ModelConfigRequest config_request;
  config_request.set_name("tiny");
  inference::ModelConfigResponse config;
  ASSERT_TRUE(stub_->ModelConfig(&config_context, config_request, &config).ok());
  EXPECT_EQ(config.config().max_batch_size(), 4);
  EXPECT_EQ(config.config().parameters().at("class_names").string_value(), "cat\ndog");

  grpc::ClientContext unknown_context;
  config_request.set_name("unknown");
  EXPECT_EQ(stub_->ModelConfig(&unknown_context, config_request, &config).error_code(),
            StatusCode::NOT_FOUND);
}

TEST_F(Serving, ListsEveryModelWithItsState) {
  Load();
  const auto list = [&](bool only_ready) {
    grpc::ClientContext context;
    inference::RepositoryIndexRequest request;
    request.set_ready(only_ready);
    inference::RepositoryIndexResponse response;
    EXPECT_TRUE(stub_->RepositoryIndex(&context, request, &response).ok());
    std::string text;
    for (const auto& model : response.models()) {
      text += model.name() + " " + model.version() + " " + model.state() +
              (model.reason().find("max_batch_sise") == std::string::npos ? "" : " reason") + ", ";
    }
    return text;
  };
  EXPECT_EQ(list(false),
            "broken  UNAVAILABLE reason, faces_cascade 1 READY, slow 1 READY, tiny 1 READY, ");
  EXPECT_EQ(list(true), "faces_cascade 1 READY, slow 1 READY, tiny 1 READY, ");
}

TEST_F(Serving, InfersInRawTensors) {
  Load();
  inference::ModelInferResponse response;
  const grpc::Status status = Infer(TinyRequest(3), response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.model_name(), "tiny");
  EXPECT_EQ(response.model_version(), "1");
  EXPECT_EQ(response.id(), "id 1");
  const auto outputs = ReadOutputs(response);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  ASSERT_EQ(outputs->tensors().size(), 2U);
  EXPECT_EQ(response.raw_output_contents_size(), 2);
  EXPECT_EQ((*Elements<float>(*outputs->Find("sum")))[23], 3.0F);
}

TEST_F(Serving, AnswersTheOutputsThatAreAskedFor) {
  Load();
  inference::ModelInferRequest request = TinyRequest();
  request.add_outputs()->set_name("flat");
  inference::ModelInferResponse response;
  ASSERT_TRUE(Infer(request, response).ok());
  ASSERT_EQ(response.outputs_size(), 1);
  EXPECT_EQ(response.outputs(0).name(), "flat");
  request.add_outputs()->set_name("other");
  EXPECT_EQ(Infer(request, response).error_code(), StatusCode::INVALID_ARGUMENT);
}

TEST_F(Serving, RefusesWhatDoesNotFitWithTheRightStatus) {
  Load();
  const auto code = [&](const auto& change) {
    inference::ModelInferRequest request = TinyRequest();
    change(request);
    inference::ModelInferResponse response;
    return Infer(request, response).error_code();
  };
  EXPECT_EQ(code([](auto& r) { r.set_model_name("unknown"); }), StatusCode::NOT_FOUND);
  EXPECT_EQ(code([](auto& r) { r.set_model_name(""); }), StatusCode::NOT_FOUND);
  EXPECT_EQ(code([](auto& r) { r.set_model_name("broken"); }), StatusCode::NOT_FOUND);
  EXPECT_EQ(code([](auto& r) { r.set_model_version("7"); }), StatusCode::NOT_FOUND);
  EXPECT_EQ(code([](auto& r) { r.set_model_version("x"); }), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code([](auto& r) { r.mutable_raw_input_contents(0)->pop_back(); }),
            StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code([](auto& r) { r.mutable_inputs(0)->set_datatype("INT32"); }),
            StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code([](auto& r) { r.mutable_inputs(0)->set_shape(0, 5); }),
            StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code([](auto& r) { r.mutable_inputs(0)->set_shape(0, -1); }),
            StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code([](auto& r) { r.mutable_inputs(0)->mutable_contents(); }),
            StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code([](auto& r) { r.clear_inputs(); }), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code([](auto&) {}), StatusCode::OK);
}

TEST_F(Serving, FindsTheAstronautsFace) {
  Load();
  cv::Mat rgb;
  cv::cvtColor(cv::imread(std::string(INFERPOOL_SOURCE_DIR) + "/ops/pictures/astronaut.jpg"), rgb,
               cv::COLOR_BGR2RGB);
  inference::ModelInferResponse response;
  const grpc::Status status = Infer(PictureRequest("faces_cascade", rgb), response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const auto outputs = ReadOutputs(response);
  ASSERT_TRUE(outputs.ok());
  EXPECT_GE((*Elements<std::int32_t>(*outputs->Find("num_dets")))[0], 1);
  EXPECT_GT((*Elements<float>(*outputs->Find("det_scores")))[0], 0.6F);
  EXPECT_NEAR((*Elements<float>(*outputs->Find("det_boxes")))[0], 172, 12);
}

TEST_F(Serving, TakesAPictureOfManyMegabytes) {
  Load();
  inference::ModelInferResponse response;
  const cv::Mat large(6000, 7000, CV_8UC3, cv::Scalar(1, 2, 3));  // 120 MiB
  const grpc::Status status = Infer(PictureRequest("faces_cascade", large), response);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(Serving, ASlowModelDoesNotHoldUpAnother) {
  Load();
  const inference::ModelInferRequest slow = ByteRequest("slow");
  std::atomic<int> finished = 0;
  std::vector<std::jthread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&] {
      inference::ModelInferResponse response;
      EXPECT_TRUE(Infer(slow, response).ok());
      ++finished;
    });
  }
  std::this_thread::sleep_for(milliseconds(50));
  for (int call = 0; call < 30; ++call) {
    inference::ModelInferResponse response;
    EXPECT_TRUE(Infer(TinyRequest(), response).ok());
    EXPECT_TRUE(Ready());
  }
  EXPECT_LT(finished, 3) << "the slow model is not slow enough to tell";
}

TEST_F(Serving, ACallWhoseDeadlineEndsWhileItWaitsIsDropped) {
  Load();
  const inference::ModelInferRequest slow = ByteRequest("slow");
  const std::jthread holder([&] {
    inference::ModelInferResponse response;
    EXPECT_TRUE(Infer(slow, response).ok());
  });
  std::this_thread::sleep_for(milliseconds(100));
  std::vector<std::jthread> waiters;
  for (int i = 0; i < 20; ++i) {
    waiters.emplace_back([&] {
      inference::ModelInferResponse response;
      EXPECT_EQ(Infer(slow, response, milliseconds(100)).error_code(),
                StatusCode::DEADLINE_EXCEEDED);
    });
  }
  waiters.clear();
  // Had they not been dropped, this one would wait for twenty slow runs.
  inference::ModelInferResponse response;
  EXPECT_TRUE(Infer(slow, response, std::chrono::seconds(6)).ok());
}

// 300 of them, who wait for a model that takes 5 s.
TEST_F(Serving, CallersWhoLeaveAreForgottenAtOnce) {
  folder_.Write("models/sleepy/config.pbtxt", R"(backend: "identity"
      input { name: "INPUT0" data_type: TYPE_INT8 dims: [ 1 ] }
      parameters { key: "execute_delay_ms" value { string_value: "5000" } })");
  ASSERT_TRUE(repository_.Scan().ok());
  Load();
  const inference::ModelInferRequest request = ByteRequest("sleepy");
  std::jthread holder([&] {
    inference::ModelInferResponse response;
    EXPECT_TRUE(Infer(request, response).ok());
  });
  const auto failed = [this] {
    grpc::ClientContext context;
    inference::ModelStatisticsRequest of;
    of.set_name("sleepy");
    inference::ModelStatisticsResponse response;
    EXPECT_TRUE(stub_->ModelStatistics(&context, of, &response).ok());
    return response.model_stats(0).inference_stats().fail().count();
  };
  constexpr std::size_t kCallers = 300;
  struct Waiting {
    grpc::ClientContext context;
    inference::ModelInferResponse response;
    std::promise<grpc::Status> status;
  };
  std::this_thread::sleep_for(milliseconds(100));
  std::vector<Waiting> callers(kCallers);
  for (Waiting& caller : callers) {
    stub_->async()->ModelInfer(&caller.context, &request, &caller.response,
                               [&caller](grpc::Status status) { caller.status.set_value(status); });
  }
  std::this_thread::sleep_for(milliseconds(500));
  EXPECT_EQ(failed(), 0U);
  for (Waiting& caller : callers) caller.context.TryCancel();
  for (Waiting& caller : callers) {
    EXPECT_EQ(caller.status.get_future().get().error_code(), StatusCode::CANCELLED);
  }
  Eventually([&] { return failed() == kCallers; }, "the server has forgotten all");
  inference::ModelInferResponse response;
  EXPECT_EQ(Infer(request, response, milliseconds(1)).error_code(), StatusCode::DEADLINE_EXCEEDED)
      << "all this took longer than the model";
}

TEST_F(Serving, StatisticsAreOfTheModelAndTheVersionThatAreAskedFor) {
  for (const char* name : {"one", "two"}) {
    const std::string model = std::string("models/") + name;
    folder_.Write(model + "/config.pbtxt", R"(backend: "identity" version_policy { all {} }
        input { name: "INPUT0" data_type: TYPE_INT8 dims: [ 1 ] })");
    for (const char* version : {"/1", "/2"}) {
      std::filesystem::create_directories(folder_.path() / (model + version));
    }
  }
  ASSERT_TRUE(repository_.Scan().ok());
  Load();
  const auto list = [this](const std::string& name, const std::string& version) {
    grpc::ClientContext context;
    inference::ModelStatisticsRequest request;
    request.set_name(name);
    request.set_version(version);
    inference::ModelStatisticsResponse response;
    EXPECT_TRUE(stub_->ModelStatistics(&context, request, &response).ok());
    std::string text;
    for (const auto& model : response.model_stats()) {
      text += model.name() + " " + model.version() + ", ";
    }
    return text;
  };
  EXPECT_EQ(list("two", "2"), "two 2, ");
  EXPECT_EQ(list("two", ""), "two 1, two 2, ");
  EXPECT_EQ(list("", "1").find("one 2"), std::string::npos);
  EXPECT_NE(list("", "").find("one 1, one 2, "), std::string::npos);
}

TEST_F(Serving, WhatIsNoRequestIsRefusedAndTheServerGoesOn) {
  Load();
  grpc::GenericStub stub(channel_);
  const auto call = [&stub](const std::string& method, const std::string& bytes) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    std::promise<grpc::Status> status;
    stub.UnaryCall(&context, method, {}, &request, &response,
                   [&status](grpc::Status of) { status.set_value(of); });
    return status.get_future().get();
  };
  const std::string garbage = "\xff\xff\xff\xff";
  const std::string service = "/inference.GRPCInferenceService/";
  for (const char* method :
       {"ModelInfer", "RepositoryModelLoad", "ModelReady", "ModelStreamInfer"}) {
    const grpc::Status status = call(service + method, garbage);
    EXPECT_EQ(status.error_code(), StatusCode::INTERNAL)
        << method << ": " << status.error_message();
  }
  for (const std::string& method : {service + "ModelInfers", std::string("/other/Method")}) {
    EXPECT_EQ(call(method, garbage).error_code(), StatusCode::UNIMPLEMENTED) << method;
  }
  inference::ModelInferResponse response;
  EXPECT_TRUE(Infer(TinyRequest(), response).ok());
}

TEST_F(Serving, ManyCallersGetTheirOwnAnswers) {
  Load();
  std::vector<std::jthread> callers;
  for (int i = 0; i < 16; ++i) {
    callers.emplace_back([&, i] {
      for (int call = 0; call < 25; ++call) {
        inference::ModelInferRequest request = TinyRequest();
        const auto value = static_cast<float>(i * 100 + call);
        std::memcpy(request.mutable_raw_input_contents(0)->data(), &value, sizeof value);
        inference::ModelInferResponse response;
        const grpc::Status status = Infer(request, response);
        ASSERT_TRUE(status.ok()) << status.error_message();
        const auto outputs = ReadOutputs(response);
        ASSERT_TRUE(outputs.ok());
        EXPECT_EQ((*Elements<float>(*outputs->Find("sum")))[0], 2 * value);
      }
    });
  }
}

TEST_F(Serving, AnOutputCanBeAskedForAsItsHighestClasses) {
  Load();
  inference::ModelInferRequest request = TinyRequest();
  auto& output = *request.add_outputs();
  output.set_name("flat");
  (*output.mutable_parameters())["classification"].set_int64_param(2);
  const std::vector<float> x = {1, 5, 2, 7, 3, 7, 0, 4};
  std::memcpy(request.mutable_raw_input_contents(0)->data(), x.data(), x.size() * sizeof(float));
  inference::ModelInferResponse response;
  const grpc::Status status = Infer(request, response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.outputs_size(), 1);
  EXPECT_EQ(response.outputs(0).datatype(), "BYTES");
  const auto outputs = ReadOutputs(response);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  const auto elements = DecodeBytes(outputs->tensors()[0].data, 2);
  ASSERT_TRUE(elements.ok()) << elements.status();
  EXPECT_TRUE((*elements)[0].ends_with(":3")) << (*elements)[0];
  EXPECT_TRUE((*elements)[1].ends_with(":5")) << (*elements)[1];

  (*request.mutable_outputs(0)->mutable_parameters())["shared_memory_region"].set_string_param("r");
  (*request.mutable_outputs(0)->mutable_parameters())["shared_memory_byte_size"].set_int64_param(8);
  EXPECT_EQ(Infer(request, response).error_code(), StatusCode::INVALID_ARGUMENT);
}

TEST_F(Serving, TheLogsLevelIsReadAndChanged) {
  const auto ask = [&](const std::string& key, std::optional<bool> value,
                       inference::LogSettingsResponse& response) {
    grpc::ClientContext context;
    inference::LogSettingsRequest request;
    if (value) (*request.mutable_settings())[key].set_bool_param(*value);
    return stub_->LogSettings(&context, request, &response).error_code();
  };
  inference::LogSettingsResponse response;
  ASSERT_EQ(ask("", {}, response), StatusCode::OK);
  EXPECT_TRUE(response.settings().at("log_info").bool_param());
  EXPECT_EQ(response.settings().at("log_verbose_level").uint32_param(), 0U);
  ASSERT_EQ(ask("log_info", false, response), StatusCode::OK);
  EXPECT_FALSE(response.settings().at("log_info").bool_param());
  EXPECT_TRUE(response.settings().at("log_warning").bool_param());
  EXPECT_EQ(ask("log_error", false, response), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ask("log_file", true, response), StatusCode::INVALID_ARGUMENT);
  ASSERT_EQ(ask("log_info", true, response), StatusCode::OK);
}

TEST_F(Serving, NamedRepositoriesAreNotOffered) {
  grpc::ClientContext context;
  inference::RepositoryIndexRequest request;
  request.set_repository_name("other");
  inference::RepositoryIndexResponse response;
  const grpc::Status status = stub_->RepositoryIndex(&context, request, &response);
  EXPECT_EQ(status.error_code(), StatusCode::UNIMPLEMENTED);
}

TEST_F(Serving, ShutdownLetsACallInProgressEnd) {
  Load();
  const inference::ModelInferRequest slow = ByteRequest("slow");
  grpc::Status status;
  std::jthread caller([&] {
    inference::ModelInferResponse response;
    status = Infer(slow, response);
  });
  std::this_thread::sleep_for(milliseconds(100));
  server_->Shutdown(std::chrono::seconds(60));
  caller.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
}

}  // namespace
}  // namespace inferpool::modelserver

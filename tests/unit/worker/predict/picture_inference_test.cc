#include "worker/predict/picture_inference.h"
#include "worker/predict/side_by_side.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <stop_token>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "proto/tensor.h"
#include "shared/board/metrics.h"
#include "tests/unit/shared/board/heavy_fixture.h"
#include "tests/unit/worker/backend/rpc/fake_model_server.h"

namespace inferpool::predict {
namespace {

using http::PredictParameters;
using http::Problem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::FakeDetector;
using test::FakeModel;
using test::FakeModelServer;

template <typename T>
void AddOutput(inference::ModelInferResponse& response, const std::string& name,
               const std::vector<std::int64_t>& shape, const std::vector<T>& values) {
  std::string& raw = AddRawOutput(response, name, DatatypeOf<T>, shape);
  raw.resize(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(raw.data(), values.data(), raw.size());
}

// A detector that finds these boxes, in its input's pixels.
FakeModel Finding(const std::vector<std::array<float, 4>>& boxes,
                  const std::vector<float>& scores) {
  FakeModel model = FakeDetector("faces");
  model.infer = [boxes, scores](const auto&, inference::ModelInferResponse* response) {
    const auto count = static_cast<std::int64_t>(boxes.size());
    std::vector<float> flat;
    for (const auto& box : boxes) flat.insert(flat.end(), box.begin(), box.end());
    AddOutput<std::int32_t>(*response, "num_dets", {1}, {static_cast<std::int32_t>(count)});
    AddOutput<float>(*response, "det_boxes", {count, 4}, flat);
    AddOutput<float>(*response, "det_scores", {count}, scores);
    AddOutput<std::int32_t>(*response, "det_classes", {count},
                            std::vector<std::int32_t>(boxes.size(), 0));
    return grpc::Status::OK;
  };
  return model;
}

class PictureInferenceTest : public testing::Test {
 protected:
  std::variant<Prediction, Problem> Predict(const PredictParameters& parameters = kParameters,
                                            Clock::duration time = seconds(10)) {
    timings_ = {};
    const fcgi::Request request;
    const http::Exchange exchange{
        .request = request,
        .thread_slot = heavy_.thread_slot,
        .heavy = heavy_.steps,
        .id = "id",
        .problem_form = http::ProblemForm::kProblemJson,
        .limits = {.deadline = Deadline::After(time), .departed = departed_.get_token()}};
    return InferPicture(
        exchange,
        {config_, client_, inference_, catalog_, heavy_.board.pool().quarantine, heavy_.work,
         spare_threads_},
        {.model = model_, .picture = picture_, .parameters = parameters, .keep_pixels = true},
        heavy_.thread_slot.task, timings_);
  }

  // The status of the problem; 200 when there is none.
  int StatusOfPredict(Clock::duration time = seconds(10)) {
    const auto result = Predict(kParameters, time);
    const auto* problem = std::get_if<Problem>(&result);
    return problem == nullptr ? 200 : problem->status;
  }

  inline static const PredictParameters kParameters{
      .confidence = 0.25, .iou = 0.45, .max_detections = 300, .render = {}};

  // 320 x 320 pixels; see ops/pictures/README.md.
  std::string picture_ =
      test::ReadFile(std::string(INFERPOOL_SOURCE_DIR) + "/ops/pictures/astronaut.jpg");
  backend::ModelVersion model_ = {"faces"};
  Config config_;
  test::HeavyPool heavy_;
  FakeModelServer server_;
  const backend::Client client_{{server_.target()}, 64};
  backend::InferenceClient inference_{client_, {.domain = "picture_inference_test"}};
  backend::Catalog catalog_{client_};
  SpareThreads spare_threads_{0};
  http::StageTimes timings_;
  std::stop_source departed_;
};

TEST_F(PictureInferenceTest, TheModelGetsThePictureAndItsBoxesComeBack) {
  std::atomic<bool> right = false;
  FakeModel model = Finding({{10, 20, 110, 140}, {5, 5, 50, 50}}, {0.5F, 0.75F});
  model.infer = [&right, infer = model.infer](const inference::ModelInferRequest& request,
                                              inference::ModelInferResponse* response) {
    const auto& shape = request.inputs(0).shape();
    right = request.inputs_size() == 1 && request.inputs(0).name() == "image" &&
            request.inputs(0).datatype() == "UINT8" && shape.size() == 3 && shape[2] == 3 &&
            request.raw_input_contents(0).size() ==
                static_cast<std::size_t>(shape[0] * shape[1] * shape[2]) &&
            request.outputs_size() == 4;
    return infer(request, response);
  };
  server_.Set("faces", model);
  const auto result = Predict();
  const auto* prediction = std::get_if<Prediction>(&result);
  ASSERT_NE(prediction, nullptr) << std::get<Problem>(result).detail;
  EXPECT_TRUE(right);
  EXPECT_EQ(prediction->version, "1");
  EXPECT_GT(prediction->picture.width, 0);
  const auto& found = std::get<vision::Detections>(prediction->result);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_FLOAT_EQ(found[0].confidence, 0.75F) << "the most confident first";
  // Scaled by the same factor in both directions, whatever size the model was fed.
  EXPECT_NEAR((found[1].x2 - found[1].x1) / (found[1].y2 - found[1].y1), 100.0 / 120.0, 1e-3);
}

TEST_F(PictureInferenceTest, TheParametersAreApplied) {
  server_.Set("faces",
              Finding({{0, 0, 10, 10}, {20, 20, 30, 30}, {40, 40, 50, 50}}, {0.9F, 0.6F, 0.3F}));
  const auto count = [this](const PredictParameters& parameters) {
    const auto result = Predict(parameters);
    const auto* prediction = std::get_if<Prediction>(&result);
    return prediction == nullptr ? 999U : std::get<vision::Detections>(prediction->result).size();
  };
  EXPECT_EQ(count({.confidence = 0.25, .iou = 0.45, .max_detections = 300, .render = {}}), 3U);
  EXPECT_EQ(count({.confidence = 0.5, .iou = 0.45, .max_detections = 300, .render = {}}), 2U);
  EXPECT_EQ(count({.confidence = 0.25, .iou = 0.45, .max_detections = 1, .render = {}}), 1U);
  EXPECT_EQ(count({.confidence = 1, .iou = 0.45, .max_detections = 300, .render = {}}), 0U);
}

TEST_F(PictureInferenceTest, APartAndItsTilesAreRowsOfOneDecoding) {
  std::atomic<int> calls = 0;
  FakeModel model = Finding({{10, 20, 50, 60}}, {0.5F});
  model.infer = [&calls, infer = model.infer](const auto& request, auto* response) {
    ++calls;
    return infer(request, response);
  };
  server_.Set("faces", model);
  PredictParameters parameters = kParameters;
  const auto find = [&] {
    calls = 0;
    const auto result = Predict(parameters);
    const auto* prediction = std::get_if<Prediction>(&result);
    if (prediction == nullptr) ADD_FAILURE() << std::get<Problem>(result).detail;
    return prediction == nullptr ? vision::Detections()
                                 : std::get<vision::Detections>(prediction->result);
  };
  parameters.roi = {100, 50, 200, 150};
  vision::Detections found = find();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(calls, 1);
  EXPECT_NEAR(found[0].x1, 110, 1);
  EXPECT_NEAR(found[0].y2, 110, 1);

  // The whole part, and two halves of it: each finds the same place of its own.
  parameters.tiles = {2, 1};
  parameters.tile_overlap = 0;
  found = find();
  EXPECT_EQ(calls, 3);
  ASSERT_EQ(found.size(), 2U) << "the first tile's is the whole's as well";
  EXPECT_NEAR(std::max(found[0].x1, found[1].x1), 160, 1);

  parameters.max_detections = 1;
  EXPECT_EQ(find().size(), 1U);
  parameters.classes = "no such thing";
  const auto refused = Predict(parameters);
  ASSERT_TRUE(std::holds_alternative<Problem>(refused));
  EXPECT_EQ(std::get<Problem>(refused).parameter, "classes");
}

TEST_F(PictureInferenceTest, EveryStageIsTimed) {
  server_.Set("faces", Finding({}, {}));
  server_.SetDelay(milliseconds(20));
  Predict();
  for (const Stage stage :
       {Stage::kDecode, Stage::kPreprocess, Stage::kInfer, Stage::kPostprocess}) {
    EXPECT_TRUE(timings_.Get(stage).has_value()) << static_cast<int>(stage);
  }
  EXPECT_GE(*timings_.Get(Stage::kInfer), milliseconds(20));
}

TEST_F(PictureInferenceTest, TooManyPixelsAreRefusedBeforeAnyDecodeAndBeforeTheModel) {
  server_.Set("faces", Finding({}, {}));
  config_.limits.pixels = 1'000;
  EXPECT_EQ(StatusOfPredict(), 422);
  EXPECT_FALSE(timings_.Get(Stage::kDecode).has_value());
  EXPECT_EQ(server_.metadata_calls, 0);
}

TEST_F(PictureInferenceTest, ErrorsOfTheModelServerHaveTheirStatuses) {
  EXPECT_EQ(StatusOfPredict(), 404) << "no such model";
  server_.Set("faces", FakeModel{});
  EXPECT_EQ(StatusOfPredict(), 501) << "a model without inputs";
  EXPECT_FALSE(timings_.Get(Stage::kDecode).has_value()) << "known before the decode";
  FakeModel model = Finding({}, {});
  server_.Set("faces", model);
  const auto old = catalog_.Get("faces", Deadline::After(std::chrono::seconds(5)));
  ASSERT_TRUE(old.ok()) << old.status();
  catalog_.Renew(**old, Deadline::After(std::chrono::seconds(5)));
  for (const auto& [code, status] : {std::pair(grpc::StatusCode::UNAVAILABLE, 503),
                                     {grpc::StatusCode::INTERNAL, 502},
                                     {grpc::StatusCode::INVALID_ARGUMENT, 502},
                                     {grpc::StatusCode::NOT_FOUND, 404},
                                     {grpc::StatusCode::DEADLINE_EXCEEDED, 504},
                                     {grpc::StatusCode::RESOURCE_EXHAUSTED, 503}}) {
    model.infer = [failure = grpc::Status(code, "why")](const auto&, auto*) { return failure; };
    server_.Set("faces", model);
    EXPECT_EQ(StatusOfPredict(), status);
  }
}

TEST_F(PictureInferenceTest, AnAnswerThatMakesNoSenseIsABadModelAnswer) {
  FakeModel model = FakeDetector("faces");
  const std::vector<std::function<void(inference::ModelInferResponse&)>> answers = {
      [](auto&) {},
      [](auto& response) { AddOutput<std::int32_t>(response, "num_dets", {1}, {5}); },
      [](auto& response) {
        AddOutput<std::int32_t>(response, "num_dets", {1}, {1'000'000});
        AddOutput<float>(response, "det_boxes", {1, 4}, {0, 0, 1, 1});
        AddOutput<float>(response, "det_scores", {1}, {1});
        AddOutput<std::int32_t>(response, "det_classes", {1}, {0});
      },
      [](auto& response) {
        AddRawOutput(response, "num_dets", inference::TYPE_INT32, std::vector<std::int64_t>{1}) =
            "x";
      },
      [](auto& response) { response.add_raw_output_contents("nobody's"); },
      [](auto& response) {
        AddOutput<float>(response, "det_boxes", {std::int64_t{1} << 62, 4}, {0});
      }};
  for (const auto& answer : answers) {
    model.infer = [&answer](const auto&, auto* response) {
      answer(*response);
      return grpc::Status::OK;
    };
    server_.Set("faces", model);
    EXPECT_EQ(StatusOfPredict(), 502);
  }
}

TEST_F(PictureInferenceTest, AModelThatChangedIsLearntByTheRequestThatMeetsIt) {
  FakeModel changed = Finding({}, {});
  changed.metadata.mutable_inputs(0)->set_name("picture");
  changed.infer = [infer = changed.infer](const inference::ModelInferRequest& request,
                                          inference::ModelInferResponse* response) {
    if (request.inputs(0).name() != "picture") {
      return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "unexpected input");
    }
    return infer(request, response);
  };
  server_.Set("faces", Finding({}, {}));
  EXPECT_EQ(StatusOfPredict(), 200);
  server_.Set("faces", changed);
  EXPECT_EQ(StatusOfPredict(), 200);
  EXPECT_EQ(server_.infer_calls, 3) << "once in vain";
}

TEST_F(PictureInferenceTest, AModelThatIsTooSlowIs504AtItsDeadline) {
  server_.Set("faces", Finding({}, {}));
  EXPECT_EQ(StatusOfPredict(), 200);
  server_.SetDelay(seconds(5));
  const TimePoint start = Clock::now();
  EXPECT_EQ(StatusOfPredict(milliseconds(200)), 504);
  EXPECT_LT(Clock::now() - start, milliseconds(1'200));
}

TEST_F(PictureInferenceTest, AServerThatGoesAwayIs503AndThenComesBack) {
  server_.Set("faces", Finding({}, {}));
  EXPECT_EQ(StatusOfPredict(), 200);
  server_.Stop();
  EXPECT_EQ(StatusOfPredict(), 503);
  server_.Start();
  const TimePoint back = Clock::now();
  while (StatusOfPredict() != 200) ASSERT_LT(Clock::now() - back, milliseconds(1'500));
}

TEST_F(PictureInferenceTest, WhenTheClientLeavesTheModelIsNotWaitedForAndNotForgotten) {
  server_.Set("faces", Finding({}, {}));
  ASSERT_EQ(StatusOfPredict(), 200);
  const int known = server_.metadata_calls;
  server_.SetDelay(seconds(5));
  const TimePoint start = Clock::now();
  {
    std::jthread client([this] {
      std::this_thread::sleep_for(milliseconds(100));
      departed_.request_stop();
    });
    EXPECT_EQ(StatusOfPredict(), kClientLeft);
  }
  EXPECT_LT(Clock::now() - start, milliseconds(1'500));
  server_.SetDelay(milliseconds(0));
  departed_ = std::stop_source();
  EXPECT_EQ(StatusOfPredict(), 200);
  EXPECT_EQ(server_.metadata_calls, known);
}

TEST_F(PictureInferenceTest, AClientThatHasLeftBeforeCostsNoCall) {
  server_.Set("faces", Finding({}, {}));
  ASSERT_EQ(StatusOfPredict(), 200);
  departed_.request_stop();
  EXPECT_EQ(StatusOfPredict(), kClientLeft);
  EXPECT_EQ(server_.infer_calls, 1);
}

// The header of a PNG of 49 megapixels, which is all that is read of it here.
std::string LargePngHeader() {
  using std::string_literals::operator""s;
  return "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x1b\x58\0\0\x1b\x58\x08\x02\0\0\0\0\0\0\0"s;
}

// A canary that crashes must not take the picture from the primary.
TEST_F(PictureInferenceTest, ACrashIsBlamedOnTheVersionThatWasAskedFor) {
  server_.Set("faces", Finding({}, {}));
  Quarantine& quarantine = heavy_.board.pool().quarantine;
  quarantine.Enter({.digest = quarantine.DigestOf(picture_),
                    .model = ModelName("faces@2"),
                    .request_id = {},
                    .until_ns = ToNs(Clock::now() + seconds(60))});
  EXPECT_EQ(StatusOfPredict(), 200);
  model_.version = "2";
  EXPECT_EQ(StatusOfPredict(), 422);
}

TEST_F(PictureInferenceTest, WhatTheEmbeddedServerDecodesIsHeavyWorkUntilItHasAnswered) {
  picture_ = LargePngHeader();
  FakeModel model = Finding({}, {});
  model.metadata.mutable_inputs(0)->clear_shape();
  model.metadata.mutable_inputs(0)->add_shape(-1);
  std::atomic<std::uint64_t> working = 99;
  model.infer = [&, infer = model.infer](const auto& request, auto* response) {
    working = heavy_.board.Sum(Clock::now()).heavy_working;
    return infer(request, response);
  };
  server_.Set("faces", model);
  for (const bool embedded : {true, false}) {
    config_.modelserver.enabled = embedded;
    const auto result = Predict();
    ASSERT_TRUE(std::holds_alternative<Prediction>(result)) << std::get<Problem>(result).detail;
    EXPECT_EQ(working, embedded ? 1U : 0U);
    EXPECT_TRUE(std::get<Prediction>(result).pixels.step.empty());
    EXPECT_EQ(heavy_.board.Sum(Clock::now()).heavy_bytes, 0U);
  }
}

}  // namespace
}  // namespace inferpool::predict

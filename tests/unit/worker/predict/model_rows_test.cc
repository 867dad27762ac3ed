#include "worker/predict/model_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "proto/tensor.h"
#include "tests/unit/shared/board/heavy_fixture.h"
#include "tests/unit/worker/backend/rpc/fake_model_server.h"
#include "worker/predict/side_by_side.h"

namespace inferpool::predict {
namespace {

using std::chrono::seconds;
using test::AddTensor;
using test::FakeModel;
using test::FakeModelServer;

// Answers each row with the blue, green and red of its first pixel, as an embedding.
FakeModel ColourOf(const std::string& name, const std::vector<std::int64_t>& input,
                   int max_batch_size) {
  FakeModel model;
  model.metadata.set_name(name);
  model.metadata.add_versions("1");
  std::vector<std::int64_t> shape{-1};
  shape.insert(shape.end(), input.begin(), input.end());
  AddTensor(*model.metadata.add_inputs(), "image", "UINT8", max_batch_size > 0 ? shape : input);
  AddTensor(*model.metadata.add_outputs(), "colour", "FP32",
            max_batch_size > 0 ? std::vector<std::int64_t>{-1, 3} : std::vector<std::int64_t>{3});
  model.config.set_name(name);
  model.config.set_max_batch_size(max_batch_size);
  auto& parameters = *model.config.mutable_parameters();
  parameters["family"].set_string_value("embedding");
  parameters["channels"].set_string_value("bgr");
  const bool open = std::ranges::find(input, -1) != input.end();
  parameters[open ? "multiple_of" : "resize"].set_string_value(open ? "2" : "stretch");
  return model;
}

class ModelRowsTest : public testing::Test {
 protected:
  // How many rows each call had.
  std::vector<std::int64_t> Calls() {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

  void Serve(const std::vector<std::int64_t>& input, int max_batch_size) {
    FakeModel model = ColourOf("colour", input, max_batch_size);
    model.infer = [this, max_batch_size](const inference::ModelInferRequest& request,
                                         inference::ModelInferResponse* response) {
      const std::string& bytes = request.raw_input_contents(0);
      const std::int64_t rows = max_batch_size > 0 ? request.inputs(0).shape(0) : 1;
      {
        const std::lock_guard lock(mutex_);
        calls_.push_back(rows);
      }
      std::vector<float> values;
      const std::size_t row_bytes = bytes.size() / static_cast<std::size_t>(rows);
      for (std::size_t at = 0; at < bytes.size(); at += row_bytes) {
        for (std::size_t i = 0; i < 3; ++i) {
          values.push_back(static_cast<float>(static_cast<unsigned char>(bytes[at + i])));
        }
      }
      std::string& raw = AddRawOutput(
          *response, "colour", DatatypeOf<float>,
          max_batch_size > 0 ? std::vector<std::int64_t>{rows, 3} : std::vector<std::int64_t>{3});
      raw.resize(values.size() * sizeof(float));
      std::memcpy(raw.data(), values.data(), raw.size());
      return grpc::Status::OK;
    };
    server_.Set("colour", model);
  }

  std::variant<RowResults, Failure> Ask(std::vector<cv::Rect> views) {
    const fcgi::Request request;
    const http::Exchange exchange{
        .request = request,
        .thread_slot = heavy_.thread_slot,
        .heavy = heavy_.steps,
        .id = "id",
        .problem_form = http::ProblemForm::kProblemJson,
        .limits = {.deadline = Deadline::After(seconds(10)), .departed = departed_.get_token()}};
    const http::Services services{
        config_,     client_,       inference_, catalog_, heavy_.board.pool().quarantine,
        heavy_.work, spare_threads_};
    const auto model = catalog_.Get("colour", exchange.limits.deadline);
    if (!model.ok() || !(*model)->plan.ok()) {
      ADD_FAILURE() << (model.ok() ? (*model)->plan.status() : model.status());
      return Failure{};
    }
    std::vector<ModelRow> rows;
    for (const cv::Rect& view : views) {
      rows.push_back({.pixels = picture_,
                      .placement = vision::Place((*model)->plan->input, picture_.size(), view)});
    }
    return InferRows(
        exchange, services,
        {.model = *model, .rows = std::move(rows), .options = options_, .most_rows = most_rows_},
        times_);
  }

  // The blue of each answer, or what is wrong.
  std::vector<float> BluesOf(const std::vector<cv::Rect>& views) {
    const auto asked = Ask(views);
    if (const auto* failure = std::get_if<Failure>(&asked)) {
      ADD_FAILURE() << failure->problem.detail;
      return {};
    }
    const auto& answer = std::get<RowResults>(asked);
    EXPECT_EQ(answer.version, "1");
    std::vector<float> blues;
    for (const vision::Result& result : answer.results) {
      blues.push_back(std::get<vision::Embedding>(result).values.at(0));
    }
    return blues;
  }

  // Column x is x in its blue.
  static cv::Mat Columns(int width, int height) {
    cv::Mat picture(height, width, CV_8UC3);
    for (int x = 0; x < width; ++x) picture.col(x).setTo(cv::Scalar(x, 1, 2));
    return picture;
  }

  cv::Mat picture_ = Columns(200, 40);
  vision::Options options_;
  std::size_t most_rows_ = 100;
  Config config_;
  test::HeavyPool heavy_;
  FakeModelServer server_;
  const backend::Client client_{{server_.target()}, 64};
  backend::InferenceClient inference_{client_, {.domain = "model_rows_test"}};
  backend::Catalog catalog_{client_};
  SpareThreads spare_threads_{0};
  http::StageTimes times_;
  std::stop_source departed_;
  std::mutex mutex_;
  std::vector<std::int64_t> calls_;  // guarded by mutex_
};

TEST_F(ModelRowsTest, RowsOfOneShapeGoTogetherUpToTheModelsMost) {
  Serve({8, 8, 3}, 4);
  const std::vector<cv::Rect> views{{0, 0, 8, 8},  {10, 0, 8, 8}, {20, 8, 8, 8},
                                    {30, 0, 8, 8}, {40, 0, 8, 8}, {50, 32, 8, 8}};
  EXPECT_EQ(BluesOf(views), (std::vector<float>{0, 10, 20, 30, 40, 50}));
  EXPECT_EQ(Calls(), (std::vector<std::int64_t>{4, 2}));
  EXPECT_EQ(BluesOf({{7, 0, 8, 8}}), std::vector<float>{7});
  EXPECT_EQ(Calls(), (std::vector<std::int64_t>{4, 2, 1}));
}

TEST_F(ModelRowsTest, ACallHasNoMoreRowsThanTheCallerSays) {
  Serve({8, 8, 3}, 4);
  most_rows_ = 2;
  EXPECT_EQ(BluesOf({{0, 0, 8, 8}, {10, 0, 8, 8}, {20, 8, 8, 8}, {30, 0, 8, 8}, {40, 0, 8, 8}}),
            (std::vector<float>{0, 10, 20, 30, 40}));
  EXPECT_EQ(Calls(), (std::vector<std::int64_t>{2, 2, 1}));
}

TEST_F(ModelRowsTest, AModelWithoutBatchesIsAskedForEach) {
  Serve({8, 8, 3}, 0);
  EXPECT_EQ(BluesOf({{0, 0, 8, 8}, {10, 0, 8, 8}, {20, 0, 8, 8}}), (std::vector<float>{0, 10, 20}));
  EXPECT_EQ(Calls(), (std::vector<std::int64_t>{1, 1, 1}));
}

TEST_F(ModelRowsTest, RowsOfOtherShapesGoApartAndComeBackInOrder) {
  Serve({8, -1, 3}, 4);
  // 16, 8, 16, 8 and 24 pixels wide in the model's input.
  EXPECT_EQ(BluesOf({{90, 0, 16, 8}, {10, 0, 8, 8}, {70, 0, 32, 16}, {30, 0, 8, 8}, {50, 0, 24, 8}})
                .size(),
            5U);
  EXPECT_EQ(Calls(), (std::vector<std::int64_t>{2, 2, 1}));
  calls_.clear();
  EXPECT_EQ(BluesOf({{90, 0, 16, 8}, {10, 0, 8, 8}, {60, 0, 16, 8}, {30, 0, 8, 8}}),
            (std::vector<float>{90, 10, 60, 30}));
}

TEST_F(ModelRowsTest, NothingIsAskedForAClientWhoHasLeft) {
  Serve({8, 8, 3}, 4);
  departed_.request_stop();
  const auto asked = Ask({{0, 0, 8, 8}, {10, 0, 8, 8}});
  ASSERT_TRUE(std::holds_alternative<Failure>(asked));
  EXPECT_EQ(std::get<Failure>(asked).problem.status, http::ClientLeft().status);
  EXPECT_TRUE(Calls().empty());
}

TEST_F(ModelRowsTest, WhatTheServerSaysIsSaidOfAll) {
  Serve({8, 8, 3}, 4);
  server_.SetFailure(grpc::Status::OK);
  ASSERT_TRUE(std::holds_alternative<RowResults>(Ask({{0, 0, 8, 8}})));
  server_.SetFailure({grpc::StatusCode::INTERNAL, "no"});
  const auto asked = Ask({{0, 0, 8, 8}, {10, 0, 8, 8}});
  ASSERT_TRUE(std::holds_alternative<Failure>(asked));
  EXPECT_EQ(std::get<Failure>(asked).problem.status, 502);
  EXPECT_NE(std::get<Failure>(asked).model, nullptr);
}

}  // namespace
}  // namespace inferpool::predict

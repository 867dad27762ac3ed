#include "worker/vision/families/text_boxes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "tests/unit/shared/pictures/data.h"
#include "tests/unit/worker/vision/families/answers.h"

namespace inferpool::vision {
namespace {

cv::Mat EmptyMap() {
  return cv::Mat::zeros(240, 320, CV_32FC1);
}

// The corners of a line of text of that size, clockwise from its top left, turned clockwise.
std::array<cv::Point2f, 4> Turned(cv::Point2f centre, cv::Size2f size, double degrees) {
  const double radians = degrees * CV_PI / 180;
  const cv::Point2f right(static_cast<float>(std::cos(radians)),
                          static_cast<float>(std::sin(radians)));
  const cv::Point2f along = right * (size.width / 2);
  const cv::Point2f down = cv::Point2f(-right.y, right.x) * (size.height / 2);
  return {centre - along - down, centre + along - down, centre + along + down,
          centre - along + down};
}

void Fill(cv::Mat& map, const std::array<cv::Point2f, 4>& corners, double probability) {
  std::array<cv::Point, 4> pixels;
  for (std::size_t i = 0; i < 4; ++i) {
    pixels[i] = {cvRound(corners[i].x * 16), cvRound(corners[i].y * 16)};
  }
  cv::fillConvexPoly(map, pixels, probability, cv::LINE_8, 4);
}

void ExpectCorners(const TurnedBox& box, const std::array<cv::Point2f, 4>& expected,
                   float tolerance) {
  const std::vector<Point> corners = CornersOf(box);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(corners[i].x, expected[i].x, tolerance) << i;
    EXPECT_NEAR(corners[i].y, expected[i].y, tolerance) << i;
  }
}

TEST(TextBoxesTest, ARegionGrowsByItsAreaOverItsPerimeter) {
  cv::Mat map = EmptyMap();
  map(cv::Rect(20, 30, 41, 11)) = 0.8F;
  const auto boxes = FindTextBoxes(map, {});
  ASSERT_EQ(boxes.size(), 1U);
  EXPECT_NEAR(boxes[0].confidence, 0.8F, 1e-6);
  // Between the centres of its outermost pixels the region is 40 x 10, so it grows by
  // 400 * 1.5 / 100 = 6. Those centres are 20.5 to 60.5 and 30.5 to 40.5.
  ExpectCorners(boxes[0], {{{14.5F, 24.5F}, {66.5F, 24.5F}, {66.5F, 46.5F}, {14.5F, 46.5F}}},
                1e-3F);
  const auto less = FindTextBoxes(map, {.unclip = 0.5F});
  ExpectCorners(less[0], {{{18.5F, 28.5F}, {62.5F, 28.5F}, {62.5F, 42.5F}, {18.5F, 42.5F}}}, 1e-3F);
}

// make_text_map.py worked these out from the definition.
TEST(TextBoxesTest, AgreesWithNumpyOnAMap) {
  const std::string png = ReadData("text_map.png");
  cv::Mat map;
  cv::imdecode(std::vector<char>(png.begin(), png.end()), cv::IMREAD_GRAYSCALE)
      .convertTo(map, CV_32F, 1 / 255.0);
  auto boxes = FindTextBoxes(map, {});
  const Json::Value expected = ReadJson("text_boxes.json");
  ASSERT_EQ(boxes.size(), expected.size());
  std::ranges::sort(boxes, {}, [](const TurnedBox& box) { return CornersOf(box)[0].x; });
  for (Json::ArrayIndex i = 0; i < expected.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_NEAR(boxes[i].confidence, expected[i]["confidence"].asFloat(), 0.02);
    std::array<cv::Point2f, 4> corners;
    for (Json::ArrayIndex corner = 0; corner < 4; ++corner) {
      const Json::Value& point = expected[i]["corners"][corner];
      corners[corner] = {point[0].asFloat(), point[1].asFloat()};
    }
    ExpectCorners(boxes[i], corners, 0.01F);
  }
}

// A text of this size is found with its corners where it was drawn, the first one first.
void ExpectFoundAsDrawn(const cv::Size2f& size, int degrees) {
  cv::Mat map = EmptyMap();
  Fill(map, Turned({160, 120}, size, degrees), 0.9);
  const auto boxes = FindTextBoxes(map, {.unclip = 0});
  ASSERT_EQ(boxes.size(), 1U);
  ExpectCorners(boxes[0], Turned({160.5F, 120.5F}, size, degrees), 2);
}

TEST(TextBoxesTest, TheFirstCornerIsTheTopLeftOfATurnedText) {
  const cv::Size2f size(120, 20);
  for (int degrees = -85; degrees <= 85; degrees += 5) {
    SCOPED_TRACE(degrees);
    ExpectFoundAsDrawn(size, degrees);
  }
}

TEST(TextBoxesTest, AVerticalTextRunsDownwards) {
  cv::Mat map = EmptyMap();
  map(cv::Rect(100, 50, 21, 101)) = 1;
  const auto boxes = FindTextBoxes(map, {.unclip = 0});
  ASSERT_EQ(boxes.size(), 1U);
  ExpectCorners(boxes[0], {{{120.5F, 50.5F}, {120.5F, 150.5F}, {100.5F, 150.5F}, {100.5F, 50.5F}}},
                1e-3F);
}

TEST(TextBoxesTest, ANearlySquareBoxStaysUpright) {
  for (const cv::Size2f size : {cv::Size2f(50, 40), cv::Size2f(40, 50), cv::Size2f(44, 44)}) {
    for (const int degrees : {-40, -20, 0, 20, 40}) {
      SCOPED_TRACE(degrees);
      ExpectFoundAsDrawn(size, degrees);
    }
  }
}

TEST(TextBoxesTest, OnlyLikelyPixelsAndLikelyBoxesCount) {
  cv::Mat map = EmptyMap();
  map(cv::Rect(20, 20, 60, 20)) = 0.3F;   // not above 0.3
  map(cv::Rect(20, 80, 60, 20)) = 0.59F;  // text, but not likely enough
  map(cv::Rect(20, 140, 60, 20)) = 0.61F;
  const auto boxes = FindTextBoxes(map, {});
  ASSERT_EQ(boxes.size(), 1U);
  EXPECT_NEAR(boxes[0].confidence, 0.61F, 1e-6);
  EXPECT_EQ(FindTextBoxes(map, {.text_threshold = 0.2F, .box_threshold = 0.2F}).size(), 3U);
}

TEST(TextBoxesTest, TheConfidenceIsTheMeanWithinTheBox) {
  cv::Mat map = EmptyMap();
  map(cv::Rect(20, 20, 100, 40)) = 0.9F;
  map(cv::Rect(20, 20, 50, 40)) = 0.7F;
  const auto boxes = FindTextBoxes(map, {});
  ASSERT_EQ(boxes.size(), 1U);
  EXPECT_NEAR(boxes[0].confidence, 0.8F, 1e-5);
}

TEST(TextBoxesTest, SmallRegionsAreDropped) {
  cv::Mat map = EmptyMap();
  map(cv::Rect(20, 20, 100, 3)) = 1;  // 2 between the centres
  map(cv::Rect(20, 60, 1, 1)) = 1;
  map(cv::Rect(40, 60, 100, 1)) = 1;
  EXPECT_TRUE(FindTextBoxes(map, {}).empty());
  map(cv::Rect(20, 100, 100, 4)) = 1;  // 3, and grown
  EXPECT_EQ(FindTextBoxes(map, {}).size(), 1U);
  EXPECT_TRUE(FindTextBoxes(map, {.unclip = 0}).empty());
}

TEST(TextBoxesTest, AHoleIsNoBoxButWhatIsInItIs) {
  cv::Mat map = EmptyMap();
  map(cv::Rect(20, 20, 200, 150)) = 1;
  map(cv::Rect(60, 60, 100, 60)) = 0;
  EXPECT_EQ(FindTextBoxes(map, {}).size(), 1U);
  map(cv::Rect(80, 80, 40, 20)) = 1;
  EXPECT_EQ(FindTextBoxes(map, {}).size(), 2U);
}

TEST(TextBoxesTest, RegionsAtTheEdgeAndTheWholeMapAreBoxes) {
  cv::Mat map(240, 320, CV_32FC1, cv::Scalar(0.95));
  auto boxes = FindTextBoxes(map, {.unclip = 0});
  ASSERT_EQ(boxes.size(), 1U);
  ExpectCorners(boxes[0], {{{0.5F, 0.5F}, {319.5F, 0.5F}, {319.5F, 239.5F}, {0.5F, 239.5F}}},
                1e-3F);
  map = EmptyMap();
  map(cv::Rect(300, 0, 20, 10)) = 1;
  EXPECT_EQ(FindTextBoxes(map, {}).size(), 1U);
  EXPECT_TRUE(FindTextBoxes(EmptyMap(), {}).empty());
}

TEST(TextBoxesTest, ThereAreAtMostAThousand) {
  cv::Mat map = cv::Mat::zeros(640, 640, CV_32FC1);
  for (int y = 0; y + 6 < 640; y += 12) {
    for (int x = 0; x + 10 < 640; x += 14) {
      map(cv::Rect(x, y, 10, 6)) = 1;
    }
  }
  EXPECT_EQ(FindTextBoxes(map, {}).size(), 1000U);
}

ModelPlan Plan() {
  ModelPlan plan;
  plan.family = Family::kTextBoxes;
  plan.outputs = {"map"};
  plan.input.max_side = 960;
  plan.input.multiple_of = 32;
  return plan;
}

Answer MapAnswer(const cv::Mat& map) {
  Answer answer;
  answer.Add("map", "FP32", {1, 1, map.rows, map.cols},
             std::vector<float>(map.begin<float>(), map.end<float>()));
  return answer;
}

TEST(TextBoxesTest, BoxesAreInThePicturesPixels) {
  // Half as large in the input, and padded.
  const Placement placement = Place(Plan().input, {1920, 1460});
  ASSERT_EQ(placement.input, cv::Size(960, 736));
  cv::Mat map = cv::Mat::zeros(placement.input, CV_32FC1);
  map(cv::Rect(100, 200, 41, 11)) = 0.8F;
  map(cv::Rect(100, 300, 41, 11)) = 0.9F;
  const Answer answer = MapAnswer(map);
  const auto result = DetectTextBoxes(Plan(), answer.views(), placement, {});
  ASSERT_TRUE(result.ok()) << result.status();
  const auto& detections = std::get<Detections>(*result);
  ASSERT_EQ(detections.size(), 2U);
  EXPECT_NEAR(detections[0].confidence, 0.9F, 1e-6);
  EXPECT_EQ(detections[0].class_id, 0);
  ASSERT_EQ(detections[1].corners.size(), 4U);
  EXPECT_NEAR(detections[1].corners[0].x, 189, 1e-2);
  EXPECT_NEAR(detections[1].corners[0].y, 389, 1e-2);
  EXPECT_NEAR(detections[1].corners[2].x, 293, 1e-2);
  EXPECT_NEAR(detections[1].x1, 189, 1e-2);
  EXPECT_NEAR(detections[1].y2, 433, 1e-2);
  const auto surer = DetectTextBoxes(Plan(), answer.views(), placement, {.confidence = 0.85F});
  EXPECT_EQ(std::get<Detections>(*surer).size(), 1U);
}

TEST(TextBoxesTest, AMapThatIsNoneIsRefused) {
  const Placement placement = Place(Plan().input, {320, 256});
  const auto code = [&](const cv::Mat& map) {
    const Answer answer = MapAnswer(map);
    return DetectTextBoxes(Plan(), answer.views(), placement, {}).status().code();
  };
  cv::Mat map = cv::Mat::zeros(256, 320, CV_32FC1);
  EXPECT_EQ(code(map), absl::StatusCode::kOk);
  EXPECT_EQ(code(map.t()), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code(map(cv::Rect(0, 0, 160, 128)).clone()), absl::StatusCode::kFailedPrecondition);
  map.at<float>(9, 9) = 1.5F;
  EXPECT_EQ(code(map), absl::StatusCode::kFailedPrecondition);
  map.at<float>(9, 9) = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(code(map), absl::StatusCode::kInternal);
}

ModelDescription MapModel() {
  ModelDescription model;
  model.name = "text";
  model.max_batch_size = 1;
  model.inputs = {{"x", "FP32", {-1, 3, -1, -1}}};
  model.outputs = {{"map", "FP32", {-1, 1, -1, -1}}};
  model.class_names = {"text"};
  return model;
}

TEST(TextBoxesTest, ThePlanHasPaddlesLimitsUnlessToldOtherwise) {
  ModelDescription model = MapModel();
  ModelPlan plan;
  plan.has_batch_dimension = true;
  ASSERT_TRUE(PlanTextBoxes(FactsOf(model, plan, std::nullopt), plan).ok());
  EXPECT_EQ(plan.outputs, std::vector<std::string>{"map"});
  EXPECT_EQ(plan.classes, 1U);
  EXPECT_EQ(plan.text_boxes.text_threshold, 0.3F);
  EXPECT_EQ(plan.text_boxes.box_threshold, 0.6F);
  EXPECT_EQ(plan.text_boxes.unclip, 1.5F);
  model.parameters = {{"text_threshold", "0.2"}, {"box_threshold", "0.5"}, {"unclip", " 2 "}};
  ASSERT_TRUE(PlanTextBoxes(FactsOf(model, plan, std::nullopt), plan).ok());
  EXPECT_EQ(plan.text_boxes.text_threshold, 0.2F);
  EXPECT_EQ(plan.text_boxes.box_threshold, 0.5F);
  EXPECT_EQ(plan.text_boxes.unclip, 2);
}

TEST(TextBoxesTest, WhatFitsNoPlanIsRefused) {
  const auto complaint = [](const ModelDescription& model) {
    ModelPlan plan;
    plan.has_batch_dimension = true;
    const absl::Status status = PlanTextBoxes(FactsOf(model, plan, std::nullopt), plan);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    return std::string(status.message());
  };
  for (const char* key : {"text_threshold", "box_threshold", "unclip"}) {
    for (const char* value : {"", "x", "-0.1", "11", "nan", "0.5, 1"}) {
      ModelDescription model = MapModel();
      model.parameters[key] = value;
      EXPECT_NE(complaint(model).find(key), std::string::npos) << value;
    }
  }
  ModelDescription model = MapModel();
  model.class_names = {"text", "other"};
  EXPECT_NE(complaint(model).find("2 class names"), std::string::npos);
  model = MapModel();
  model.outputs[0].shape = {-1, 2, -1, -1};
  EXPECT_NE(complaint(model).find("no FP32 or FP16 output of one plane"), std::string::npos);
  model = MapModel();
  model.outputs.push_back({"other", "FP32", {-1, 1, -1, -1}});
  EXPECT_NE(complaint(model).find("map and other are both maps"), std::string::npos);
}

}  // namespace
}  // namespace inferpool::vision

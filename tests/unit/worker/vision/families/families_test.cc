// The decoders that say more than a box, and those of other shapes, against what numpy makes of the
// same outputs (tests/data/vision/make_families.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <string>
#include <variant>
#include <vector>

#include "tests/unit/shared/pictures/data.h"
#include "tests/unit/worker/vision/families/answers.h"
#include "worker/vision/families/family_table.h"
#include "worker/vision/families/masks.h"
#include "worker/vision/families/rt_detr.h"
#include "worker/vision/families/turned_boxes.h"

namespace inferpool::vision {
namespace {

class FamiliesTest : public testing::Test {
 protected:
  FamiliesTest() {
    options_.max_detections = 12;
    layout_.size = {64, 64};
  }

  // The detections of the known answer, read as the family of that name.
  Detections Read(const std::string& known, const std::string& family, ModelPlan plan = {}) {
    Answer answer = AnswerOf(known_[known]);
    const FamilyRow& row = *FindFamily(family);
    plan.family = row.family;
    for (const TensorView& view : answer.views()) {
      plan.outputs.emplace_back(view.name);
    }
    layout_.resize = row.resize;
    const auto result = row.read(plan, answer.views(), Place(layout_, {100, 60}), options_);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? std::get<Detections>(*result) : Detections();
  }

  void ExpectBoxes(const Detections& found, const Json::Value& expected) {
    ASSERT_EQ(found.size(), expected.size());
    for (Json::ArrayIndex i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(found[i].x1, expected[i][0].asFloat(), 1e-4) << i;
      EXPECT_NEAR(found[i].y1, expected[i][1].asFloat(), 1e-4) << i;
      EXPECT_NEAR(found[i].x2, expected[i][2].asFloat(), 1e-4) << i;
      EXPECT_NEAR(found[i].y2, expected[i][3].asFloat(), 1e-4) << i;
      EXPECT_NEAR(found[i].confidence, expected[i][4].asFloat(), 1e-6) << i;
      EXPECT_EQ(found[i].class_id, expected[i][5].asInt()) << i;
    }
  }

  Json::Value known_ = ReadJson("families.json");
  Options options_;
  InputLayout layout_;
};

TEST_F(FamiliesTest, PosesHaveTheirKeypoints) {
  ModelPlan plan;
  plan.keypoints = 5;
  for (const std::string name : {"yolov8_pose", "pose_nms_free"}) {
    SCOPED_TRACE(name);
    const Detections found = Read(name, name, plan);
    ExpectBoxes(found, known_[name]["expected"]);
    const Json::Value& keypoints = known_[name]["keypoints"];
    for (std::size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i].keypoints.size(), 5U);
      for (Json::ArrayIndex k = 0; k < 5; ++k) {
        const Json::Value& expected = keypoints[static_cast<Json::ArrayIndex>(i)][k];
        EXPECT_NEAR(found[i].keypoints[k].x, expected[0].asFloat(), 1e-4);
        EXPECT_NEAR(found[i].keypoints[k].y, expected[1].asFloat(), 1e-4);
        EXPECT_NEAR(found[i].keypoints[k].confidence, expected[2].asFloat(), 1e-6);
      }
    }
  }
}

TEST_F(FamiliesTest, SegmentsHaveTheirOutlines) {
  for (const std::string name : {"yolov8_segment", "segment_nms_free"}) {
    SCOPED_TRACE(name);
    const Detections found = Read(name, name);
    ExpectBoxes(found, known_[name]["expected"]);
    std::size_t with_mask = 0;
    for (const Detection& detection : found) {
      with_mask += detection.mask.empty() ? 0 : 1;
      for (const Polygon& polygon : detection.mask) {
        for (const Point& point : polygon) {
          EXPECT_GE(point.x, detection.x1 - 1.6F);  // a pixel of the input
          EXPECT_LE(point.x, detection.x2 + 1.6F);
          EXPECT_GE(point.y, detection.y1 - 1.6F);
          EXPECT_LE(point.y, detection.y2 + 1.6F);
        }
      }
    }
    EXPECT_GT(with_mask, 6U);
  }
}

// Draws the outlines again, and compares pixel by pixel.
TEST_F(FamiliesTest, AnOutlineIsThatOfTheMask) {
  const Json::Value& known = known_["yolov8_segment"];
  Answer answer = AnswerOf(known);
  const auto prototypes = ReadOutput(answer.views(), "output1", 3);
  ASSERT_TRUE(prototypes.ok());
  for (Json::ArrayIndex i = 0; i < known["masks"].size(); ++i) {
    const Json::Value& box = known["boxes"][i];
    std::vector<float> coefficients;
    for (const Json::Value& value : known["coefficients"][i]) {
      coefficients.push_back(value.asFloat());
    }
    const auto outlines = OutlinesOf(
        *prototypes, coefficients,
        {box[0].asFloat(), box[1].asFloat(), box[2].asFloat(), box[3].asFloat()}, {64, 64});
    ASSERT_TRUE(outlines.ok()) << outlines.status();
    std::vector<std::vector<cv::Point>> polygons;
    for (const Polygon& outline : *outlines) {
      auto& polygon = polygons.emplace_back();
      for (const Point& point : outline) {
        polygon.emplace_back(static_cast<int>(point.x), static_cast<int>(point.y));
      }
    }
    cv::Mat drawn(64, 64, CV_8U, cv::Scalar(0));
    cv::fillPoly(drawn, polygons, cv::Scalar(1));
    int wrong = 0;
    int inside = 0;
    for (int y = 0; y < 64; ++y) {
      const std::string row = known["masks"][i][y].asString();
      for (int x = 0; x < 64; ++x) {
        const bool expected = row[static_cast<std::size_t>(x)] == '#';
        inside += expected ? 1 : 0;
        wrong += (drawn.at<unsigned char>(y, x) == 1) != expected ? 1 : 0;
      }
    }
    EXPECT_LE(wrong, 3 + inside / 20) << i << " of " << inside;
  }
}

TEST_F(FamiliesTest, AMaskThatIsNoNumberIsAnInternalError) {
  Answer answer;
  answer.Add("p", "FP32", {1, 2, 2}, {1, NAN, 1, 1});
  const auto prototypes = ReadOutput(answer.views(), "p", 3);
  const std::vector<float> one{1};
  EXPECT_EQ(OutlinesOf(*prototypes, one, {0, 0, 8, 8}, {8, 8}).status().code(),
            absl::StatusCode::kInternal);
}

// [1, side, side] of -1, and 1 where `is_inside`.
template <typename IsInside>
std::vector<float> Plane(std::size_t side, const IsInside& is_inside) {
  std::vector<float> plane(side * side, -1.0F);
  for (std::size_t y = 0; y < side; ++y) {
    for (std::size_t x = 0; x < side; ++x) {
      if (is_inside(x, y)) {
        plane[y * side + x] = 1;
      }
    }
  }
  return plane;
}

TEST_F(FamiliesTest, AMaskHasItsLargestPartsAlone) {
  // 64 squares, of which one is larger.
  Answer answer;
  answer.Add("p", "FP32", {1, 64, 64}, Plane(64, [](std::size_t x, std::size_t y) {
               return (x % 8 < 4 && y % 8 < 4) || (x / 8 == 7 && y / 8 == 7 && x < 63 && y < 63);
             }));
  const auto prototypes = ReadOutput(answer.views(), "p", 3);
  const auto outlines = OutlinesOf(*prototypes, std::vector<float>{1}, {0, 0, 64, 64}, {64, 64});
  ASSERT_TRUE(outlines.ok()) << outlines.status();
  ASSERT_EQ(outlines->size(), 32U);
  EXPECT_EQ(outlines->front().front().x, 56.5F);
}

// OpenCV itself would throw.
TEST_F(FamiliesTest, TheMaskOfALargeInputIsFoundOnACoarserGrid) {
  Answer answer;
  answer.Add("p", "FP32", {1, 4, 4},
             Plane(4, [](std::size_t x, std::size_t y) { return x < 2 && y < 2; }));
  const auto prototypes = ReadOutput(answer.views(), "p", 3);
  const auto outlines =
      OutlinesOf(*prototypes, std::vector<float>{1}, {0, 0, 40'000, 800}, {40'000, 800});
  ASSERT_TRUE(outlines.ok()) << outlines.status();
  ASSERT_EQ(outlines->size(), 1U);
  float right = 0;
  float bottom = 0;
  for (const Point& corner : outlines->front()) {
    right = std::max(right, corner.x);
    bottom = std::max(bottom, corner.y);
  }
  // OpenCV rounds places to 1/32 of a cell.
  EXPECT_NEAR(right, 20'000, 10'000 / 32);
  EXPECT_NEAR(bottom, 400, 200.0 / 32);
}

TEST_F(FamiliesTest, MasksWithTooManyCornersAreAnInternalError) {
  // Zigzags from the first row downwards.
  constexpr std::size_t kSide = 1024;
  const std::vector<float> zigzags =
      Plane(kSide, [](std::size_t x, std::size_t y) { return y == 0 || x % 4 == y % 2; });
  const auto status_of = [&](std::size_t detections) {
    std::vector<float> rows;
    for (std::size_t i = 0; i < detections; ++i) {
      rows.insert(rows.end(), {0, 0, kSide, kSide, 0.9F, 0, 1});
    }
    Answer answer;
    answer.Add("table", "FP32", {static_cast<std::int64_t>(detections), 7}, rows);
    answer.Add("prototypes", "FP32", {1, kSide, kSide}, zigzags);
    ModelPlan plan;
    plan.family = Family::kSegmentNmsFree;
    plan.outputs = {"table", "prototypes"};
    layout_.size = {kSide, kSide};
    return DetectSegmentNmsFree(plan, answer.views(), Place(layout_, {kSide, kSide}), options_)
        .status();
  };
  EXPECT_TRUE(status_of(1).ok()) << status_of(1);
  const absl::Status status = status_of(3);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_NE(status.ToString().find("too many corners"), std::string::npos) << status;
}

TEST_F(FamiliesTest, TurnedBoxesHaveTheirCorners) {
  for (const std::string name : {"yolov8_obb", "obb_nms_free"}) {
    SCOPED_TRACE(name);
    const Detections found = Read(name, name);
    ExpectBoxes(found, known_[name]["expected"]);
    for (std::size_t i = 0; i < found.size(); ++i) {
      const Json::Value& corners = known_[name]["corners"][static_cast<Json::ArrayIndex>(i)];
      ASSERT_EQ(found[i].corners.size(), 4U);
      for (Json::ArrayIndex k = 0; k < 4; ++k) {
        EXPECT_NEAR(found[i].corners[k].x, corners[k][0].asFloat(), 1e-4);
        EXPECT_NEAR(found[i].corners[k].y, corners[k][1].asFloat(), 1e-4);
      }
    }
  }
}

TEST_F(FamiliesTest, TheOverlapOfTurnedBoxesIsThatOfTheirDistributions) {
  std::vector<TurnedBox> boxes;
  for (const Json::Value& box : known_["turned"]) {
    boxes.push_back(
        {box[0].asFloat(), box[1].asFloat(), box[2].asFloat(), box[3].asFloat(), box[4].asFloat()});
  }
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    for (std::size_t k = 0; k < boxes.size(); ++k) {
      const float expected =
          known_["probiou"][static_cast<Json::ArrayIndex>(i)][static_cast<Json::ArrayIndex>(k)]
              .asFloat();
      EXPECT_NEAR(ProbabilisticOverlap(boxes[i], boxes[k]), expected, 1e-3) << i << " " << k;
    }
  }
}

TEST_F(FamiliesTest, RtDetrYoloxAndSsdsAreRead) {
  ModelPlan normalized;
  normalized.normalized_boxes = true;
  ExpectBoxes(Read("rt_detr", "rt_detr", normalized), known_["rt_detr"]["expected"]);
  ExpectBoxes(Read("yolox", "yolox"), known_["yolox"]["expected"]);
  ExpectBoxes(Read("ssd_torchvision", "ssd"), known_["ssd_torchvision"]["expected"]);
  ModelPlan tensorflow = normalized;
  tensorflow.corners_y_first = true;
  tensorflow.first_class = 1;
  tensorflow.classes = 2;
  ExpectBoxes(Read("ssd_tensorflow", "ssd", tensorflow), known_["ssd_tensorflow"]["expected"]);
}

Candidates ReadQueries(std::vector<float> rows, std::size_t classes) {
  ModelPlan plan;
  plan.outputs = {"output0"};
  plan.normalized_boxes = true;
  plan.classes = classes;
  const std::size_t queries = rows.size() / 6;
  const auto found = ReadRtDetr(plan, Numbers({queries, 6}, std::move(rows)), 0.3F);
  EXPECT_TRUE(found.ok()) << found.status();
  return found.ok() ? *found : Candidates();
}

TEST(RtDetr, QueriesMayNameTheirBestClassAlone) {
  const Candidates found =
      ReadQueries({0.5, 0.5, 0.2, 0.4, 0.9, 17, 0.25, 0.5, 0.1, 0.2, 0.1, 3}, 80);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_FLOAT_EQ(found[0].x1, 0.4F);
  EXPECT_FLOAT_EQ(found[0].y2, 0.7F);
  EXPECT_EQ(found[0].class_id, 17);
  // Two classes: scores are no whole numbers.
  EXPECT_EQ(ReadQueries({0.5, 0.5, 0.2, 0.4, 0.9, 0.3}, 2).front().class_id, 0);
  EXPECT_EQ(ReadQueries({0.5, 0.5, 0.2, 0.4, 0.9, 1}, 2).front().class_id, 1);
  ModelPlan plan;
  plan.outputs = {"output0"};
  plan.classes = 80;
  const Numbers beyond({1, 6}, std::vector<float>{0.5, 0.5, 0.2, 0.4, 0.9, 80});
  EXPECT_FALSE(ReadRtDetr(plan, beyond, 0.3F).ok());
}

TEST_F(FamiliesTest, EveryFamilyHasARowOfItsOwn) {
  for (const FamilyRow& row : FamilyTable()) {
    EXPECT_EQ(&RowOf(row.family), &row) << row.name;
    EXPECT_EQ(FindFamily(row.name), &row);
    EXPECT_NE(row.plan, nullptr);
    EXPECT_NE(row.read, nullptr);
  }
  EXPECT_EQ(FindFamily("yolov99"), nullptr);
}

}  // namespace
}  // namespace inferpool::vision

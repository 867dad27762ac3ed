#include "worker/vision/families/nms_free_decoders.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "shared/base/status.h"
#include "tests/unit/worker/vision/families/answers.h"

namespace inferpool::vision {
namespace {

ModelPlan EndToEnd() {
  ModelPlan plan;
  plan.family = Family::kEndToEnd;
  plan.outputs = {"num_dets", "det_boxes", "det_scores", "det_classes"};
  return plan;
}

Answer TwoRows(std::vector<std::int64_t> count_shape, float count,
               std::vector<std::int64_t> scores_shape = {2}) {
  Answer answer;
  answer.Add("det_classes", "INT32", {2}, {3, 4});
  answer.Add("num_dets", "INT32", std::move(count_shape), {count});
  answer.Add("det_scores", "FP32", std::move(scores_shape), {0.9F, 0.8F});
  answer.Add("det_boxes", "FP32", {2, 4}, {1, 2, 3, 4, 5, 6, 7, 8});
  return answer;
}

TEST(FinalBoxesTest, ReadsAsManyRowsAsAreCounted) {
  for (const float count : {0.0F, 1.0F, 2.0F}) {
    Answer answer = TwoRows({1}, count);
    const auto detections = ReadEndToEnd(EndToEnd(), answer.views(), 0.25F);
    ASSERT_TRUE(detections.ok()) << detections.status();
    EXPECT_EQ(detections->size(), static_cast<std::size_t>(count));
  }
  Answer answer = TwoRows({1, 1}, 2);
  const auto detections = ReadEndToEnd(EndToEnd(), answer.views(), 0.25F);
  ASSERT_TRUE(detections.ok());
  EXPECT_EQ(detections->back().y2, 8);
  EXPECT_EQ(detections->back().class_id, 4);
}

TEST(FinalBoxesTest, ACountBeyondTheRowsIsAnInternalError) {
  for (const float count : {3.0F, -1.0F, 2e9F}) {
    Answer answer = TwoRows({1}, count);
    EXPECT_EQ(ReadEndToEnd(EndToEnd(), answer.views(), 0.25F).status().code(),
              absl::StatusCode::kInternal);
  }
}

TEST(FinalBoxesTest, OutputsThatDoNotGoTogetherAreAnInternalError) {
  Answer answer = TwoRows({1}, 1);
  const std::int64_t shape[] = {4, 2};
  answer.views()[3].shape = shape;
  EXPECT_EQ(ReadEndToEnd(EndToEnd(), answer.views(), 0.25F).status().code(),
            absl::StatusCode::kInternal);
  for (const std::size_t shorter : {0U, 2U}) {  // the classes, the scores
    Answer short_one = TwoRows({1}, 1);
    const std::int64_t one[] = {1};
    short_one.views()[shorter].shape = one;
    short_one.views()[shorter].data = short_one.views()[shorter].data.first(4);
    EXPECT_EQ(ReadEndToEnd(EndToEnd(), short_one.views(), 0.25F).status().code(),
              absl::StatusCode::kInternal)
        << short_one.views()[shorter].name;
  }
}

TEST(FinalBoxesTest, AnOutputThatIsMissingIsNamed) {
  for (const std::string& name : EndToEnd().outputs) {
    Answer missing = TwoRows({1}, 1);
    std::erase_if(missing.views(), [&](const TensorView& view) { return view.name == name; });
    const absl::Status status = ReadEndToEnd(EndToEnd(), missing.views(), 0.25F).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << name;
    EXPECT_NE(status.ToString().find(name), std::string::npos) << status;
  }
}

// Reads rows of six values.
absl::StatusOr<Candidates> Rows(const std::vector<float>& values, std::size_t classes = 0,
                                const std::string& datatype = "FP32") {
  ModelPlan plan;
  plan.family = Family::kNmsFree;
  plan.outputs = {"rows"};
  plan.classes = classes;
  Answer answer;
  answer.Add("rows", datatype, {1, static_cast<std::int64_t>(values.size() / 6), 6}, values);
  ASSIGN_OR_RETURN(const Numbers table, ReadOutput(answer.views(), "rows", 2));
  return ReadRows(plan, table, 0, 0.25F);
}

TEST(FinalBoxesTest, AClassIsTheNearestWholeNumber) {
  const auto detections = Rows({1, 2, 3, 4, 0.5F, 2.9999F,  //
                                1, 2, 3, 4, 0.5F, 3.0001F});
  ASSERT_TRUE(detections.ok()) << detections.status();
  ASSERT_EQ(detections->size(), 2U);
  EXPECT_EQ((*detections)[0].class_id, 3);
  EXPECT_EQ((*detections)[1].class_id, 3);
}

TEST(FinalBoxesTest, RowsBelowTheThresholdOrOfNoObjectAreLeftOut) {
  const auto detections = Rows({1, 2, 3, 4, 0.5F,  7,   //
                                1, 2, 3, 4, 0.25F, 7,   //
                                0, 0, 0, 0, -1,    -1,  //
                                0, 0, 0, 0, 0,     -1,  //
                                0, 0, 0, 0, 0,     0},
                               0, "FP16");
  ASSERT_TRUE(detections.ok()) << detections.status();
  ASSERT_EQ(detections->size(), 1U);
  EXPECT_EQ(detections->front().class_id, 7);
  EXPECT_EQ(detections->front().source, 0U);
}

TEST(FinalBoxesTest, ColumnsInAnotherOrderAreAMisfit) {
  const auto misfits = [](std::vector<float> row, std::size_t classes = 0) {
    return Rows(row, classes).status().code() == absl::StatusCode::kFailedPrecondition;
  };
  EXPECT_FALSE(misfits({10, 20, 30, 40, 0.9F, 2}));
  EXPECT_TRUE(misfits({10, 20, 30, 40, 2, 0.9F})) << "the class before the score";
  EXPECT_TRUE(misfits({10, 20, 30, 40, 0, 0.9F})) << "likewise, of class 0, though below it";
  EXPECT_TRUE(misfits({2, 0.9F, 10, 20, 30, 40})) << "class and score first";
  EXPECT_TRUE(misfits({0.5F, 0.5F, 0.2F, 0.2F, 0.9F, 0.01F})) << "a query of two classes";
  EXPECT_TRUE(misfits({10, 20, 30, 40, 0.9F, -1}));
  EXPECT_TRUE(misfits({10, 20, 30, 40, 0.9F, 3}, 3)) << "beyond the names";
  EXPECT_FALSE(misfits({10, 20, 30, 40, 0.9F, 2}, 3));
}

TEST(FinalBoxesTest, WhatIsNoNumberIsAnInternalError) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::size_t at : {4U, 5U}) {
    std::vector<float> row{10, 20, 30, 40, 0.1F, 2};
    row[at] = nan;
    EXPECT_EQ(Rows(row).status().code(), absl::StatusCode::kInternal);
  }
}

}  // namespace
}  // namespace inferpool::vision

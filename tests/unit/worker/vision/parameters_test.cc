#include "worker/vision/parameters.h"

#include <gtest/gtest.h>

#include "shared/base/status.h"

namespace inferpool::vision {
namespace {

using Texts = std::map<std::string, std::string>;

std::string Complaint(const Texts& texts) {
  const auto parameters = ReadParameters(texts);
  return parameters.ok() ? "none" : std::string(Message(parameters.status()));
}

TEST(ParametersTest, ReadsAllOfThem) {
  const auto read = ReadParameters({{"family", "nms_free"},
                                    {"input_size", "640x480"},
                                    {"resize", "stretch"},
                                    {"max_side", " 800 "},
                                    {"multiple_of", "32"},
                                    {"channels", "bgr"},
                                    {"scale", "0.5"},
                                    {"mean", "0.485, 0.456,0.406"},
                                    {"std", "2"},
                                    {"box_coordinates", "normalized"},
                                    {"scores", "logits"},
                                    {"somebody_elses", "whatever"}});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->family->family, Family::kNmsFree);
  EXPECT_EQ(read->input_size, cv::Size(640, 480));
  EXPECT_EQ(read->resize, Resize::kStretch);
  EXPECT_EQ(read->max_side, 800);
  EXPECT_EQ(read->multiple_of, 32);
  EXPECT_EQ(read->rgb, false);
  EXPECT_EQ(read->scale, 0.5);
  EXPECT_EQ(read->mean, (std::array{0.485, 0.456, 0.406}));
  EXPECT_EQ(read->std_deviation, (std::array{2.0, 2.0, 2.0}));
  EXPECT_EQ(read->normalized_boxes, true);
  EXPECT_EQ(read->scores, Scores::kLogits);
}

TEST(ParametersTest, OneNumberIsASquare) {
  EXPECT_EQ(ReadParameters({{"input_size", "320"}})->input_size, cv::Size(320, 320));
}

TEST(ParametersTest, AnUnknownValueIsAnsweredWithTheKnownOnes) {
  EXPECT_TRUE(Complaint({{"family", "yolo"}})
                  .starts_with("parameter family is \"yolo\"; allowed are yolov8, "));
  EXPECT_EQ(Complaint({{"channels", "RGB"}}),
            "parameter channels is \"RGB\"; allowed are rgb, bgr");
}

TEST(ParametersTest, RefusesEveryKindOfNonsense) {
  for (const Texts& texts : {Texts{{"input_size", "0"}},      Texts{{"input_size", "640x"}},
                             Texts{{"input_size", "x640"}},   Texts{{"input_size", "640x480x3"}},
                             Texts{{"input_size", "100000"}}, Texts{{"scale", ""}},
                             Texts{{"scale", "0"}},           Texts{{"scale", "1/255"}},
                             Texts{{"scale", "nan"}},         Texts{{"mean", "1,2"}},
                             Texts{{"mean", "1,2,3,"}},       Texts{{"mean", "1,2,3,4"}},
                             Texts{{"mean", "1,,3"}},         Texts{{"std", "1,0,1"}},
                             Texts{{"std", "inf"}},           Texts{{"max_side", "-5"}},
                             Texts{{"multiple_of", "0"}},     Texts{{"resize", "fit"}},
                             Texts{{"box_coordinates", ""}},  Texts{{"scores", "percent"}}}) {
    EXPECT_NE(Complaint(texts), "none") << texts.begin()->first << " " << texts.begin()->second;
  }
}

TEST(ParametersTest, FamiliesAreNamedAsTheyAreRead) {
  for (const FamilyRow& row : FamilyTable()) {
    EXPECT_EQ(ReadParameters({{"family", std::string(row.name)}})->family, &row);
  }
}

}  // namespace
}  // namespace inferpool::vision

#include "worker/predict/agreement.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace inferpool::predict {
namespace {

const std::vector<std::string> kNames = {"cat", "dog"};

vision::Detection Box(float x1, float x2, int class_id = 0) {
  vision::Detection box;
  box.x1 = x1;
  box.y1 = 0;
  box.x2 = x2;
  box.y2 = 10;
  box.class_id = class_id;
  return box;
}

// "matched only_primary only_shadow"
std::string Compared(const vision::Result& primary, const vision::Result& shadow,
                     const std::vector<std::string>& shadow_names = kNames) {
  const Agreement agreement = Compare({primary, kNames}, {shadow, shadow_names});
  return std::to_string(agreement.matched) + " " + std::to_string(agreement.only_primary) + " " +
         std::to_string(agreement.only_shadow);
}

TEST(AgreementTest, BoxesOfOneClassThatOverlapByHalfArePairs) {
  using vision::Detections;
  EXPECT_EQ(Compared(Detections{}, Detections{}), "0 0 0");
  EXPECT_EQ(Compared(Detections{Box(0, 10)}, Detections{Box(0, 10)}), "1 0 0");
  EXPECT_EQ(Compared(Detections{Box(0, 10)}, Detections{Box(0, 10, 1)}), "0 1 1");
  EXPECT_EQ(Compared(Detections{Box(0, 10)}, Detections{Box(0, 5)}), "1 0 0") << "just half";
  EXPECT_EQ(Compared(Detections{Box(0, 10)}, Detections{Box(0, 4.9F)}), "0 1 1");
  EXPECT_EQ(Compared(Detections{Box(0, 10)}, Detections{Box(20, 30)}), "0 1 1");
  EXPECT_EQ(Compared(Detections{Box(0, 10), Box(30, 40)}, Detections{Box(29, 40)}), "1 1 0");
  EXPECT_EQ(Compared(Detections{Box(5, 5)}, Detections{Box(5, 5)}), "0 1 1") << "no area";
}

TEST(AgreementTest, EachBoxIsInOnePair) {
  using vision::Detections;
  EXPECT_EQ(Compared(Detections{Box(0, 10), Box(1, 11)}, Detections{Box(0, 10)}), "1 1 0");
  // The most overlapping first: in the order of the lists the second one would find nobody.
  EXPECT_EQ(Compared(Detections{Box(0, 10), Box(2, 12)}, Detections{Box(2, 12), Box(-3, 7)}),
            "2 0 0");
}

TEST(AgreementTest, ClassesAreComparedByName) {
  using vision::Detections;
  EXPECT_EQ(Compared(Detections{Box(0, 10, 1)}, Detections{Box(0, 10, 0)}, {"dog"}), "1 0 0");
  EXPECT_EQ(Compared(Detections{Box(0, 10, 7)}, Detections{Box(0, 10, 7)}, {}), "1 0 0")
      << "without a name the number is one";
}

TEST(AgreementTest, ClassificationsByTheirBestAndLinesByTheirText) {
  const vision::Classification cat{
      .scores = {{.class_id = 0, .confidence = 0.9F}, {.class_id = 1, .confidence = 0.1F}}};
  const vision::Classification dog{.scores = {{.class_id = 1, .confidence = 0.9F}}};
  EXPECT_EQ(Compared(cat, cat), "1 0 0");
  EXPECT_EQ(Compared(cat, dog), "0 1 1");
  EXPECT_EQ(Compared(cat, vision::Classification{}), "0 1 0");
  const vision::TextLines lines = {{.text = "a", .confidence = 0.9F},
                                   {.text = "b", .confidence = 0.9F},
                                   {.text = "a", .confidence = 0.9F}};
  EXPECT_EQ(Compared(lines, vision::TextLines{{.text = "a", .confidence = 0.9F},
                                              {.text = "c", .confidence = 0.9F}}),
            "1 2 1");
  EXPECT_EQ(Compared(vision::Embedding{}, vision::Embedding{}), "0 0 0");
  EXPECT_EQ(Compared(cat, lines), "0 0 0") << "another kind of model";
}

}  // namespace
}  // namespace inferpool::predict

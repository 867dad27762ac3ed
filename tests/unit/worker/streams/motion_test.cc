// What moves and what does not, on clips that are drawn here: as JPEG, with a sensor's noise.
#include "worker/streams/motion.h"

#include <gtest/gtest.h>

#include <array>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "shared/pictures/decode.h"
#include "shared/pictures/header.h"

namespace inferpool::streams {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const cv::Size kSize(640, 480);
constexpr TimePoint kBegin = TimePoint(std::chrono::hours(1));

// A camera that stands still.
class Camera {
 public:
  explicit Camera(cv::Size size = kSize) : place_(size, CV_8UC3) {
    for (int y = 0; y < size.height; ++y) {
      for (int x = 0; x < size.width; ++x) {
        const auto level = static_cast<unsigned char>(60 + 80 * x / size.width + 40 * (y / 32 % 2));
        place_.at<cv::Vec3b>(y, x) = {level, level, static_cast<unsigned char>(level + 10)};
      }
    }
    cv::RNG random(1);
    for (cv::Mat& noise : noises_) {
      noise.create(size, CV_16SC3);
      random.fill(noise, cv::RNG::NORMAL, 0, 6);
    }
  }

  // The next frame, as a gate gets it: with things on it, under that light.
  cv::Mat Frame(const std::vector<cv::Rect>& things = {}, double light = 1, int brightness = 240) {
    cv::Mat scene = place_.clone();
    for (const cv::Rect& thing : things) {
      cv::rectangle(scene, thing, cv::Scalar::all(brightness), cv::FILLED);
    }
    cv::Mat seen;
    scene.convertTo(seen, CV_16SC3, light);
    seen += noises_[next_++ % noises_.size()];
    seen.convertTo(scene, CV_8UC3);
    std::vector<unsigned char> jpeg;
    cv::imencode(".jpg", scene, jpeg, {cv::IMWRITE_JPEG_QUALITY, 75});
    const std::string_view file(reinterpret_cast<const char*>(jpeg.data()), jpeg.size());
    return *vision::DecodeGrey(file, *vision::ReadHeader(file), MotionGate::kReduction);
  }

 private:
  cv::Mat place_;
  std::array<cv::Mat, 7> noises_;
  std::size_t next_ = 0;
};

class MotionGateTest : public testing::Test {
 protected:
  // A frame comes, and is looked at when it must be.
  bool Looks(const cv::Mat& frame, milliseconds after = kEvery) {
    now_ += after;
    const bool must = gate_.MustLook(frame, "objects?", now_);
    if (must) gate_.Looked(std::to_string(++number_), now_);
    return must;
  }
  // Frames of nothing new, until the gate is used to them.
  void Settle() {
    for (int i = 0; i < 10; ++i) Looks(camera_.Frame());
  }

  static constexpr milliseconds kEvery{100};
  MotionSettings settings_;
  Camera camera_;
  MotionGate gate_{settings_};
  TimePoint now_ = kBegin;
  int number_ = 0;
};

TEST_F(MotionGateTest, TheFirstFrameIsLookedAtAndThenOneEachTenSeconds) {
  std::vector<int> looked;
  for (int i = 0; i < 250; ++i) {
    if (Looks(camera_.Frame())) looked.push_back(i);
  }
  EXPECT_EQ(looked, (std::vector<int>{0, 100, 200})) << "noise is no motion";
  EXPECT_EQ(gate_.looked_at(), "3");
}

TEST_F(MotionGateTest, LightThatChangesSlowlyIsNoMotion) {
  Settle();
  int looked = 0;
  for (int i = 0; i < 200; ++i) {  // dusk in ten seconds, dawn in ten seconds
    const double light = i < 100 ? 1 - 0.005 * i : 0.5 + 0.005 * (i - 100);
    if (Looks(camera_.Frame({}, light))) ++looked;
  }
  EXPECT_LE(looked, 2) << "each ten seconds";
}

TEST_F(MotionGateTest, ALampThatFlickersIsNoMotionAndOneThatIsSwitchedOnIs) {
  Settle();
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(Looks(camera_.Frame({}, 1 + 0.015 * (i % 2)))) << i;
  EXPECT_TRUE(Looks(camera_.Frame({}, 1.5)));
}

TEST_F(MotionGateTest, SomethingSmallIsSeenWhereverItAppears) {
  std::mt19937 random(7);
  Settle();
  for (int i = 0; i < 40; ++i) {
    const cv::Rect thing(static_cast<int>(random() % 610), static_cast<int>(random() % 450), 24,
                         24);
    EXPECT_TRUE(Looks(camera_.Frame({thing}))) << thing;
    EXPECT_TRUE(Looks(camera_.Frame())) << "it has gone, and the answer that tells of it is old";
    EXPECT_FALSE(Looks(camera_.Frame())) << "it left no trace";
  }
}

TEST_F(MotionGateTest, WhoHasLeftIsNotStillThere) {
  Settle();
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(Looks(camera_.Frame({{300 + i, 200, 80, 120}})));
  EXPECT_TRUE(Looks(camera_.Frame())) << "one look more, by which the room is empty";
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(Looks(camera_.Frame())) << i;
}

TEST_F(MotionGateTest, WhoHasLeftWhileTheModelWasAwayIsNotStillThereEither) {
  Settle();
  EXPECT_TRUE(Looks(camera_.Frame({{300, 200, 80, 120}})));
  now_ += kEvery;
  EXPECT_TRUE(gate_.MustLook(camera_.Frame(), "objects?", now_)) << "it is away";
  EXPECT_TRUE(Looks(camera_.Frame()));
  EXPECT_FALSE(Looks(camera_.Frame()));
}

TEST_F(MotionGateTest, SomethingFaintThatCreepsInIsSeen) {
  Settle();
  int looked = 0;
  for (int i = 0; i < 60; ++i) {  // eight pixels a second, 35 levels brighter than the place
    if (Looks(camera_.Frame({{0, 64, i * 8 / 10, 60}}, 1, 95))) ++looked;
  }
  EXPECT_GT(looked, 10);
}

TEST_F(MotionGateTest, WhatStaysIsStillAfterThreeSecondsAndSoIsThePlaceThatItLeaves) {
  Settle();
  const cv::Rect thing(300, 200, 80, 120);
  int looked = 0;
  for (int i = 0; i < 90; ++i) looked += Looks(camera_.Frame({thing})) ? 1 : 0;
  EXPECT_NEAR(looked, 31, 3);
  looked = 0;
  for (int i = 0; i < 90; ++i) looked += Looks(camera_.Frame()) ? 1 : 0;
  EXPECT_NEAR(looked, 31, 3);
}

TEST_F(MotionGateTest, WhatAMaskCoversDoesNotCount) {
  settings_.masks = {{{0.5, 0}, {1, 0}, {1, 1}, {0.5, 1}}};
  MotionGate gate(settings_);
  const auto looks = [&](const cv::Mat& frame) {
    now_ += kEvery;
    const bool must = gate.MustLook(frame, "", now_);
    if (must) gate.Looked("1-0", now_);
    return must;
  };
  EXPECT_TRUE(looks(camera_.Frame()));
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(looks(camera_.Frame({{400 + i, 100, 100, 100}}))) << i;
  EXPECT_TRUE(looks(camera_.Frame({{100, 100, 100, 100}})));
}

TEST_F(MotionGateTest, UnderAMaskOfAllThereAreStillKeyframes) {
  settings_.masks = {{{0, 0}, {1, 0}, {1, 1}, {0, 1}}};
  settings_.keyframe = seconds(1);
  MotionGate gate(settings_);
  EXPECT_TRUE(gate.MustLook(camera_.Frame(), "", kBegin));
  gate.Looked("1-0", kBegin);
  EXPECT_FALSE(gate.MustLook(camera_.Frame({{0, 0, 640, 480}}), "", kBegin + milliseconds(999)));
  EXPECT_TRUE(gate.MustLook(camera_.Frame(), "", kBegin + seconds(1)));
}

TEST_F(MotionGateTest, WhatCouldNotBeLookedAtIsMadeUpFor) {
  Settle();
  now_ += kEvery;
  EXPECT_TRUE(gate_.MustLook(camera_.Frame({{300, 200, 80, 80}}), "objects?", now_));
  // The model server was away; what appeared has settled meanwhile.
  for (int i = 0; i < 50; ++i) {
    now_ += kEvery;
    EXPECT_TRUE(gate_.MustLook(camera_.Frame({{300, 200, 80, 80}}), "objects?", now_)) << i;
  }
  gate_.Looked("9-0", now_);
  EXPECT_FALSE(Looks(camera_.Frame({{300, 200, 80, 80}})));
  EXPECT_EQ(gate_.looked_at(), "9-0");
}

TEST_F(MotionGateTest, AnotherQuestionIsAReasonToLook) {
  Settle();
  EXPECT_TRUE(gate_.MustLook(camera_.Frame(), "faces?", now_));
}

TEST_F(MotionGateTest, AnotherSizeIsAReasonToLook) {
  Settle();
  Camera other({1920, 1080});
  EXPECT_TRUE(Looks(other.Frame()));
  EXPECT_FALSE(Looks(other.Frame()));
  EXPECT_TRUE(Looks(other.Frame({{900, 500, 80, 80}})));
}

TEST_F(MotionGateTest, AClockThatStandsStillOrGoesBackHarmsNothing) {
  Settle();
  EXPECT_FALSE(gate_.MustLook(camera_.Frame(), "objects?", now_));
  EXPECT_FALSE(gate_.MustLook(camera_.Frame(), "objects?", now_ - seconds(5)));
  EXPECT_TRUE(gate_.MustLook(camera_.Frame({{300, 200, 80, 80}}), "objects?", now_));
}

// Two minutes of five frames a second, nine of ten of them without anything: the model is asked
// about 15 % at most, and about each appearance.
TEST_F(MotionGateTest, AStillClipNeedsTheModelForFewFramesAndNoAppearanceIsMissed) {
  constexpr int kFrames = 600;
  constexpr int kAppearances = 10;
  constexpr int kLasts = kFrames / kAppearances / 10;
  std::mt19937 random(3);
  const auto between = [&random](int from, int to) {
    return from + static_cast<int>(random() % static_cast<unsigned>(to - from));
  };
  std::set<int> seen;
  int asked = 0;
  cv::Rect thing;
  cv::Point way;
  for (int i = 0; i < kFrames; ++i) {
    const int turn = i / (kFrames / kAppearances);
    const int at = i % (kFrames / kAppearances) - 40;
    const bool is_there = at >= 0 && at < kLasts;
    if (at == 0) {
      const int side = between(24, 90);
      thing = {between(0, 500), between(0, 350), side, side};
      way = {between(-20, 20), between(-20, 20)};
    }
    // The light comes and goes by itself.
    const double light = 1 + 0.15 * std::sin(i / 40.0);
    const cv::Mat frame =
        is_there ? camera_.Frame({thing + way * at}, light) : camera_.Frame({}, light);
    const bool looks = Looks(frame, milliseconds(200));
    asked += looks ? 1 : 0;
    if (looks && is_there) seen.insert(turn);
  }
  EXPECT_LE(asked, kFrames * 15 / 100);
  EXPECT_EQ(seen.size(), kAppearances);
  RecordProperty("asked", asked);
}

TEST(MotionOfTest, WhatACameraSaysGoesBeforeWhatHoldsForAll) {
  EXPECT_FALSE(MotionOf({}, {})) << "off by default";
  EXPECT_EQ(MotionOf({}, {.enabled = true}), MotionSettings());
  EXPECT_FALSE(MotionOf({.enabled = true}, {.enabled = false}));
  const std::vector<Polygon> masks = {{{0, 0}, {1, 0}, {1, 1}}};
  const auto settings =
      MotionOf({.enabled = true, .threshold = 20, .keyframe_s = 2.5, .masks = masks},
               {.threshold = 30, .area = 0.5});
  ASSERT_TRUE(settings);
  EXPECT_EQ(*settings,
            (MotionSettings{
                .threshold = 30, .area = 0.5, .keyframe = milliseconds(2'500), .masks = masks}));
}

}  // namespace
}  // namespace inferpool::streams

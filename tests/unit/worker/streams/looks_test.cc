#include "worker/streams/looks.h"

#include <gtest/gtest.h>

namespace inferpool::streams {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const TimePoint kStart = TimePoint(std::chrono::hours(1));

TEST(LooksTest, OnePictureASecondWhileSomebodyLooks) {
  Looks looks;
  EXPECT_FALSE(looks.IsDue("a", kStart));
  int pictures = 0;
  for (int ms = 0; ms < 10'000; ms += 40) {
    const TimePoint now = kStart + milliseconds(ms);
    if (ms % 1'000 == 0) looks.Seen("a", now);
    if (looks.IsDue("a", now)) ++pictures;
    EXPECT_FALSE(looks.IsDue("b", now));
  }
  EXPECT_EQ(pictures, 10);
}

TEST(LooksTest, NoneOnceNobodyLooks) {
  Looks looks;
  looks.Seen("a", kStart);
  looks.Seen("b", kStart + seconds(1));
  EXPECT_TRUE(looks.IsDue("a", kStart + milliseconds(1'999)));
  EXPECT_FALSE(looks.IsDue("a", kStart + Looks::kLasts));
  looks.Tidy(kStart + Looks::kLasts);
  EXPECT_EQ(looks.size(), 1U);
}

TEST(LooksTest, ALookThatGoesOnDoesNotHurryPictures) {
  Looks looks;
  looks.Seen("a", kStart);
  EXPECT_TRUE(looks.IsDue("a", kStart));
  looks.Seen("a", kStart + milliseconds(500));
  EXPECT_FALSE(looks.IsDue("a", kStart + milliseconds(999)));
  EXPECT_TRUE(looks.IsDue("a", kStart + seconds(1)));
}

}  // namespace
}  // namespace inferpool::streams

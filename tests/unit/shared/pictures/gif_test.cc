// Which blemishes of a GIF leave its first frame whole, and which lose pixels.
#include "shared/pictures/gif.h"

#include <gtest/gtest.h>

#include <opencv2/core.hpp>
#include <string>

#include "shared/pictures/decode.h"
#include "tests/unit/shared/pictures/crafted.h"

namespace inferpool::vision {
namespace {

using namespace std::string_literals;

const cv::Size kSize(60, 44);
constexpr std::size_t kScreen = 13 + 3 * 256;  // the screen's descriptor and colours

void ExpectScene(const std::string& bytes) {
  const auto picture = Decoded(bytes);
  ASSERT_TRUE(picture.ok()) << picture.status();
  ASSERT_EQ(picture->size(), kSize);
  const cv::Mat scene = Scene(kSize);
  for (int y = 0; y < kSize.height; ++y) {
    for (int x = 0; x < kSize.width; ++x) {
      const unsigned char index = scene.at<cv::Vec3b>(y, x)[1];
      const cv::Vec3b colour(static_cast<unsigned char>(index * 7),
                             static_cast<unsigned char>(255 - index), index);
      ASSERT_EQ(picture->at<cv::Vec3b>(y, x), colour) << x << ' ' << y;
    }
  }
}

TEST(GifTest, WhatFollowsTheFirstFrameDoesNotMatter) {
  const std::string gif = EncodedGif(kSize);
  const std::string frame = gif.substr(kScreen, gif.size() - 1 - kScreen);
  ExpectScene(gif);
  const std::string no_trailer = gif.substr(0, gif.size() - 1);
  ExpectScene(no_trailer);
  ExpectScene(no_trailer.substr(0, no_trailer.size() - 1));  // nor the end of the frame's data
  ExpectScene(no_trailer + "\0;"s);
  ExpectScene(no_trailer + "\0"s + frame + ";");
  ExpectScene(no_trailer + frame.substr(0, frame.size() / 2));
  ExpectScene(no_trailer + "no block");
}

TEST(GifTest, ZeroBytesBeforeTheFirstFrameDoNotMatter) {
  const std::string gif = EncodedGif(kSize);
  const std::string control = "!\xf9\4\0\x0a\0\0\0"s;
  ExpectScene(Inserted(gif, kScreen, control));
  ExpectScene(Inserted(gif, kScreen, "\0\0"s));
  ExpectScene(Inserted(gif, kScreen, "\0"s + control + "\0\0"s));
}

TEST(GifTest, ACutFirstFrameIsDamage) {
  const std::string gif = EncodedGif(kSize);
  constexpr std::size_t kEnd = 4;  // of the codes, of the data, and of the file
  for (std::size_t length = 0; length < gif.size() - kEnd; ++length) {
    EXPECT_EQ(Decoded(gif.substr(0, length)).status().code(),
              length < 4 ? absl::StatusCode::kUnimplemented : absl::StatusCode::kDataLoss)
        << length;
  }
  for (std::size_t length = gif.size() - kEnd + 1; length < gif.size(); ++length) {
    SCOPED_TRACE(length);
    ExpectScene(gif.substr(0, length));
  }
  for (std::size_t length = 0; length < gif.size() - 10; ++length) {
    EXPECT_FALSE(Decoded(gif.substr(0, length) + "\0;"s).ok()) << length;
  }
}

}  // namespace
}  // namespace inferpool::vision

#include "shared/vision/integrity.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/shared/vision/data.h"

namespace inferpool::vision {
namespace {

TEST(IntegrityTest, WholePicturesPass) {
  for (const KnownPicture& picture : KnownPictures()) {
    const std::string bytes = ReadData(picture.name);
    EXPECT_TRUE(CheckIntegrity(bytes, *ReadHeader(bytes)).ok()) << picture.name;
  }
}

TEST(IntegrityTest, APngOrGifWithoutItsEndOrAShortWebpIsCutOff) {
  for (const char* name : {"rgb.png", "interlaced.png", "lossy.webp", "alpha.webp", "still.gif",
                           "animated.gif", "own_colours.gif"}) {
    const std::string bytes = ReadData(name);
    const Header header = *ReadHeader(bytes);
    for (std::size_t length = 0; length < bytes.size(); ++length) {
      const absl::Status status = CheckIntegrity(std::string(bytes, 0, length), header);
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << name << " at " << length;
    }
  }
}

TEST(IntegrityTest, AJpegOfMoreScansThanAnybodyWritesIsRefused) {
  const std::string whole = ReadData("progressive.jpg");
  const std::size_t last = whole.rfind("\xff\xda");
  ASSERT_NE(last, std::string::npos);
  const std::string scan = whole.substr(last, whole.size() - 2 - last);
  std::string jpeg = whole;
  for (int i = 0; i < 30; ++i) jpeg.insert(whole.size() - 2, scan);
  EXPECT_TRUE(CheckIntegrity(jpeg, *ReadHeader(jpeg)).ok());
  for (int i = 0; i < 40; ++i) jpeg.insert(whole.size() - 2, scan);
  EXPECT_EQ(CheckIntegrity(jpeg, *ReadHeader(jpeg)).code(), absl::StatusCode::kDataLoss);
}

TEST(IntegrityTest, ASizeThatSoFewBytesCannotHoldIsALie) {
  const std::string jpeg = ReadData("grey.jpg");
  const std::string png = ReadData("rgb.png");
  EXPECT_TRUE(CheckIntegrity(jpeg, {Format::kJpeg, 300, 300, 1}).ok());
  EXPECT_EQ(CheckIntegrity(jpeg, {Format::kJpeg, 3000, 3000, 1}).code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(CheckIntegrity(png, {Format::kPng, 60000, 60000, 1}).code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace inferpool::vision

#include "shared/pictures/integrity.h"

#include <gtest/gtest.h>

#include <string>

#include "shared/pictures/jpeg_scans.h"
#include "tests/unit/shared/pictures/data.h"

namespace inferpool::vision {
namespace {

using namespace std::string_literals;

TEST(IntegrityTest, WholePicturesPass) {
  for (const KnownPicture& picture : KnownPictures()) {
    const std::string bytes = ReadData(picture.name);
    EXPECT_TRUE(CheckIntegrity(bytes, *ReadHeader(bytes)).ok()) << picture.name;
  }
}

TEST(IntegrityTest, AShortWebpIsCutOff) {
  for (const char* name : {"lossy.webp", "alpha.webp"}) {
    const std::string bytes = ReadData(name);
    const Header header = *ReadHeader(bytes);
    for (std::size_t length = 0; length < bytes.size(); ++length) {
      const absl::Status status = CheckIntegrity(std::string(bytes, 0, length), header);
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << name << " at " << length;
    }
  }
}

TEST(IntegrityTest, AGifMayEndAnywhereBehindTheBeginOfItsFirstFramesData) {
  // Signature and screen, a frame of two bytes of codes, another frame.
  const std::string first = "GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2\x44\1"s;
  const std::string whole = first + "\0"s + first.substr(13) + "\0;"s;
  const Header header = *ReadHeader(whole);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const absl::Status status = CheckIntegrity(std::string(whole, 0, length), header);
    const bool has_frame = length >= first.size() - 3;
    EXPECT_EQ(status.code(), has_frame ? absl::StatusCode::kOk : absl::StatusCode::kDataLoss)
        << length;
  }
}

TEST(IntegrityTest, AJpegOfMoreScansThanAnybodyWritesIsRefused) {
  const std::string whole = ReadData("progressive.jpg");
  const std::size_t last = whole.rfind("\xff\xda");
  ASSERT_NE(last, std::string::npos);
  const std::string scan = whole.substr(last, whole.size() - 2 - last);
  std::string jpeg = whole;
  while (JpegScans(jpeg) < kMaxJpegScans) jpeg.insert(whole.size() - 2, scan);
  ASSERT_EQ(JpegScans(jpeg), kMaxJpegScans);
  EXPECT_TRUE(CheckIntegrity(jpeg, *ReadHeader(jpeg)).ok());
  jpeg.insert(whole.size() - 2, scan);
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

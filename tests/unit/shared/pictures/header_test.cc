#include "shared/pictures/header.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "shared/base/status.h"
#include "tests/unit/shared/pictures/crafted.h"
#include "tests/unit/shared/pictures/data.h"

namespace inferpool::vision {
namespace {

using namespace std::string_literals;

Format FormatOf(const std::string& name) {
  return name.ends_with("jpg")   ? Format::kJpeg
         : name.ends_with("png") ? Format::kPng
         : name.ends_with("gif") ? Format::kGif
                                 : Format::kWebp;
}

std::string WithRiffLength(std::string webp, std::size_t length) {
  for (std::size_t i = 0; i < 4; ++i) webp[4 + i] = static_cast<char>(length >> (8 * i) & 0xff);
  return webp;
}

std::string Refusal(std::string_view bytes) {
  const auto header = ReadHeader(bytes);
  return header.ok() ? "accepted" : std::string(Message(header.status()));
}

absl::StatusCode Code(std::string_view bytes) {
  return ReadHeader(bytes).status().code();
}

TEST(HeaderTest, ReadsFormatSizeAndOrientationOfEveryKind) {
  for (const KnownPicture& picture : KnownPictures()) {
    SCOPED_TRACE(picture.name);
    const auto header = ReadHeader(ReadData(picture.name));
    ASSERT_TRUE(header.ok()) << header.status();
    EXPECT_EQ(header->format, FormatOf(picture.name));
    EXPECT_EQ(header->width, picture.width);
    EXPECT_EQ(header->height, picture.height);
    EXPECT_EQ(header->orientation, picture.orientation);
  }
}

TEST(HeaderTest, OrientationsFiveToEightSwapTheSides) {
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Header header{Format::kJpeg, 30, 20, orientation};
    EXPECT_EQ(UprightSize(header), orientation < 5 ? cv::Size(30, 20) : cv::Size(20, 30));
  }
}

TEST(HeaderTest, RefusesOtherFormatsByName) {
  EXPECT_EQ(Refusal(ReadData("refused.bmp")),
            "not a JPEG, PNG, WebP or GIF picture; it looks like: BMP");
  EXPECT_EQ(Refusal(ReadData("refused.tiff")),
            "not a JPEG, PNG, WebP or GIF picture; it looks like: TIFF");
  EXPECT_EQ(Refusal(""), "not a JPEG, PNG, WebP or GIF picture; it looks like: empty");
  EXPECT_EQ(Refusal("\1\2\3"), "not a JPEG, PNG, WebP or GIF picture");
  EXPECT_EQ(Code(""), absl::StatusCode::kUnimplemented);
}

TEST(HeaderTest, KnowsAnAnimatedWebpFromAStillOne) {
  EXPECT_TRUE(ReadHeader(ReadData("animated.webp"))->animated_webp);
  EXPECT_FALSE(ReadHeader(ReadData("exif.webp"))->animated_webp);
}

TEST(HeaderTest, AGifWithoutAFrameOrPixelsIsDamaged) {
  const std::string screen = "GIF89a\x08\0\x08\0\0\0\0"s;
  const std::string frame = ",\0\0\0\0\3\0\2\0\0\2\0"s;
  EXPECT_TRUE(ReadHeader(screen + frame + ";").ok());
  EXPECT_TRUE(ReadHeader(screen + "!\xfe\3abc\0"s + frame + ";").ok());
  EXPECT_EQ(Code(screen + ";"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Code(screen + "?" + frame), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Code(screen + ",\0\0\0\0\0\0\2\0\0\2\0;"s), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Code("GIF88a" + screen.substr(6) + frame + ";"), absl::StatusCode::kDataLoss);
}

TEST(HeaderTest, AGifIsAsLargeAsItsScreenAndItsFirstFrame) {
  const auto header = ReadHeader("GIF89a\x08\0\x09\0\0\0\0,\1\0\xff\xff\xff\xff\2\0\0\2\0;"s);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->width, 0xffff + 1);
  EXPECT_EQ(header->height, 0xffff + 2);
}

// SOI, then a frame header of 8 x 8 pixels in one component.
std::string JpegFrame(char marker, char bits, const std::string& before = "") {
  return "\xff\xd8"s + before + "\xff" + marker + "\0\x0b"s + bits + "\0\x08\0\x08\1\1\x11\0"s;
}

TEST(HeaderTest, ReadsExifBeforeAndBehindAJpegsFrame) {
  const auto exif = [](char orientation, const std::string& name = "Exif\0\0"s) {
    return "\xff\xe1\0\x22"s + name + "MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0"s + orientation +
           "\0\0\0\0\0\0"s;
  };
  const auto orientation = [](const std::string& bytes) { return ReadHeader(bytes)->orientation; };
  const std::string scan = "\xff\xda\0\x08"s;
  EXPECT_EQ(orientation(JpegFrame('\xc0', 8, exif('\6'))), 6);
  EXPECT_EQ(orientation(JpegFrame('\xc0', 8) + exif('\6') + scan), 6);
  EXPECT_EQ(orientation(JpegFrame('\xc0', 8) + scan + exif('\6')), 1);
  EXPECT_EQ(orientation(JpegFrame('\xc0', 8, exif('\3')) + exif('\6')), 3);
  EXPECT_EQ(orientation(JpegFrame('\xc0', 8, exif('\3') + exif('\6'))), 3);
  const std::string empty =
      "\xff\xe1\0\x08"
      "Exif\0\0"s;
  EXPECT_EQ(orientation(JpegFrame('\xc0', 8, empty + exif('\6'))), 6);
  EXPECT_EQ(orientation(JpegFrame('\xc0', 8, exif('\6', "Exif\0\xff"s))), 6);
}

TEST(HeaderTest, ReadsExifWithinAWebpsContainer) {
  const std::string whole = ReadData("exif.webp");
  const std::size_t exif = whole.find("EXIF");
  ASSERT_NE(exif, std::string::npos);
  const int orientation = ReadHeader(whole)->orientation;
  ASSERT_NE(orientation, 1);
  // The name that several writers keep, and a byte of padding, which need not be zero.
  std::string named = whole;
  named.replace(exif + 4, 4, 4, static_cast<char>(0));
  named[exif + 4] = static_cast<char>(whole[exif + 4] + 6);
  for (const char padding : {'\0', '\xff'}) {
    const std::string bytes = Inserted(named, exif + 8, "Exif\0"s + padding);
    EXPECT_EQ(ReadHeader(WithRiffLength(bytes, bytes.size() - 8))->orientation, orientation);
  }
  EXPECT_EQ(ReadHeader(WithRiffLength(whole, exif - 8))->orientation, 1) << "behind the container";
}

TEST(HeaderTest, RefusesJpegVariantsThatCannotBeDecoded) {
  EXPECT_TRUE(ReadHeader(JpegFrame('\xc0', 8)).ok());
  for (const char marker : {'\xc1', '\xc2', '\xc9', '\xca'}) {
    EXPECT_TRUE(ReadHeader(JpegFrame(marker, 8)).ok()) << testing::PrintToString(marker);
  }
  for (const char marker : {'\xc5', '\xc7', '\xcb', '\xcd', '\xcf'}) {
    EXPECT_EQ(Code(JpegFrame(marker, 8)), absl::StatusCode::kUnimplemented);
  }
  EXPECT_EQ(Code(JpegFrame('\xc3', 8)), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(Code(JpegFrame('\xc1', 12)), absl::StatusCode::kUnimplemented);
}

TEST(HeaderTest, SkipsWhatIsNoFrameInAJpeg) {
  EXPECT_TRUE(ReadHeader(JpegFrame('\xc0', 8, "\xff\xfe\0\x06text"s)).ok());
  EXPECT_TRUE(ReadHeader(JpegFrame('\xc0', 8, "\xff\xc4\0\x03x"s)).ok());
  EXPECT_TRUE(ReadHeader(JpegFrame('\xc0', 8, "junk\xff\xff"s)).ok());
  EXPECT_EQ(Code(JpegFrame('\xc0', 8, "\xff\xda\0\x03x"s)), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(ReadHeader(JpegFrame('\xc0', 8, "\xff\xfe\0\1"s)).ok()) << "no data";
}

TEST(HeaderTest, APictureWithoutPixelsIsDamaged) {
  std::string png = ReadData("rgb.png");
  png.replace(16, 4, 4, '\0');
  EXPECT_EQ(Code(png), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Code("\xff\xd8\xff\xc0\0\x0b\x08\0\0\0\x08\1\1\x11\0"s), absl::StatusCode::kDataLoss);
  std::string webp = ReadData("lossy.webp");
  ASSERT_EQ(webp.substr(12, 4), "VP8 ");
  webp.replace(26, 2, 2, '\0');
  EXPECT_EQ(Code(webp), absl::StatusCode::kDataLoss);
}

TEST(HeaderTest, AWebpThatBeginsWithNoKeyFrameIsDamaged) {
  const std::string whole = ReadData("lossy.webp");
  ASSERT_EQ(whole.substr(12, 4), "VP8 ");
  constexpr std::size_t kFrame = 20;
  std::string inter_frame = whole;
  inter_frame[kFrame] |= 1;
  EXPECT_EQ(Code(inter_frame), absl::StatusCode::kDataLoss);
  for (std::size_t at = kFrame + 3; at < kFrame + 6; ++at) {
    std::string wrong_start = whole;
    wrong_start[at] ^= 1;
    EXPECT_EQ(Code(wrong_start), absl::StatusCode::kDataLoss) << at;
  }
}

TEST(HeaderTest, AnImpossiblePngSizeIsDamaged) {
  std::string png = ReadData("rgb.png");
  png.replace(16, 4, 4, '\xff');
  EXPECT_EQ(Code(png), absl::StatusCode::kDataLoss);
}

TEST(HeaderTest, ACutHeaderIsAnErrorAndNeverAnotherSize) {
  for (const KnownPicture& picture : KnownPictures()) {
    SCOPED_TRACE(picture.name);
    const std::string whole = ReadData(picture.name);
    for (std::size_t length = 0; length < whole.size(); ++length) {
      // A copy of its own, so that the address sanitizer sees a read past the end.
      const auto header = ReadHeader(std::string(whole, 0, length));
      if (header.ok()) {
        EXPECT_EQ(header->width, picture.width);
        EXPECT_EQ(header->height, picture.height);
      } else if (length >= 12) {
        EXPECT_EQ(header.status().code(), absl::StatusCode::kDataLoss) << length;
      }
    }
    EXPECT_FALSE(ReadHeader(whole.substr(0, 20)).ok());
  }
}

}  // namespace
}  // namespace inferpool::vision

// Nothing of one picture reaches the next: each decodes after each other as it does alone.
#include <gtest/gtest.h>

#include <map>
#include <opencv2/core.hpp>
#include <string>
#include <thread>

#include "shared/pictures/decode.h"
#include "tests/unit/shared/pictures/crafted.h"
#include "tests/unit/shared/pictures/data.h"

namespace inferpool::vision {
namespace {

using namespace std::string_literals;

struct Outcome {
  absl::StatusCode code;
  cv::Mat pixels;

  static Outcome Of(const std::string& bytes) {
    const auto header = ReadHeader(bytes);
    const auto picture = header.ok() ? Decode(bytes, *header) : header.status();
    return {picture.status().code(), picture.ok() ? *picture : cv::Mat()};
  }

  // In a thread that has decoded nothing before.
  static Outcome Alone(const std::string& bytes) {
    Outcome outcome;
    std::thread([&] { outcome = Of(bytes); }).join();
    return outcome;
  }

  bool operator==(const Outcome& other) const {
    return code == other.code && pixels.size() == other.pixels.size() &&
           (pixels.empty() || cv::norm(pixels, other.pixels, cv::NORM_INF) == 0);
  }
};

std::map<std::string, std::string> Pictures() {
  std::map<std::string, std::string> pictures;
  for (const char* name :
       {"baseline.jpg", "progressive.jpg", "restarts.jpg", "grey.jpg", "rgb.jpg", "cmyk.jpg",
        "orientation_6.jpg", "rgb.png", "palette_alpha.png", "interlaced.png", "deep_grey.png",
        "animated.png", "still.gif", "own_colours.gif", "animated.gif", "lossy.webp",
        "lossless.webp", "lossy_alpha.webp", "animated_offset.webp"}) {
    const std::string whole = ReadData(name);
    pictures[name] = whole;
    pictures["half of "s + name] = whole.substr(0, whole.size() / 2);
    std::string damaged = whole;
    damaged.replace(whole.size() * 2 / 3, 10, 10, '\x55');
    pictures["damaged "s + name] = damaged;
  }
  const std::string standard = EncodedJpeg(Scene({88, 72}));
  pictures["no Huffman tables"] = Without(standard, 0xc4, 0xc4);
  pictures["no quantisation tables"] = Without(standard, 0xdb, 0xdb);
  pictures["no tables"] = Without(Without(standard, 0xdb, 0xdb), 0xc4, 0xc4);
  pictures["own Huffman tables"] =
      EncodedJpeg(Scene({70, 30}), [](auto& jpeg) { jpeg.optimize_coding = TRUE; });
  pictures["other quantisation tables"] =
      EncodedJpeg(Scene({60, 60}), [](auto& jpeg) { jpeg_set_quality(&jpeg, 20, TRUE); });
  pictures["arithmetic"] = EncodedJpeg(Scene({64, 48}), [](auto& jpeg) { jpeg.arith_code = TRUE; });
  const std::string restarts =
      EncodedJpeg(Scene({96, 96}), [](auto& jpeg) { jpeg.restart_interval = 2; });
  pictures["restart markers gone"] = Without(restarts, 0xd0, 0xd7);
  pictures["cut at a restart marker"] = restarts.substr(0, Find(restarts, 0xd3).begin);
  pictures["header only"] = standard.substr(0, Find(standard, 0xda).end);
  pictures["tables only"] = standard.substr(0, Find(standard, 0xc0).begin) + "\xff\xd9";
  return pictures;
}

TEST(NeighboursTest, EveryPictureDecodesAfterEveryOtherAsItDoesAlone) {
  const std::map<std::string, std::string> pictures = Pictures();
  std::map<std::string, Outcome> alone;
  for (const auto& [name, bytes] : pictures) alone[name] = Outcome::Alone(bytes);
  ASSERT_EQ(alone["no Huffman tables"].code, absl::StatusCode::kOk);
  ASSERT_EQ(alone["no quantisation tables"].code, absl::StatusCode::kDataLoss);
  for (const auto& [first, first_bytes] : pictures) {
    for (const auto& [second, second_bytes] : pictures) {
      Outcome::Of(first_bytes);
      EXPECT_EQ(Outcome::Of(second_bytes), alone[second]) << second << " after " << first;
    }
  }
}

}  // namespace
}  // namespace inferpool::vision

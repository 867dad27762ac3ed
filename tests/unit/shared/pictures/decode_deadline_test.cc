// Every decoder stops soon after the deadline.
#include <gtest/gtest.h>
#include <webp/encode.h>

#include <chrono>
#include <cstdint>
#include <ctime>
#include <functional>
#include <map>
#include <string>

#include "shared/pictures/decode.h"
#include "tests/unit/shared/pictures/crafted.h"
#include "tests/unit/shared/pictures/data.h"

namespace inferpool::vision {
namespace {

using std::chrono::nanoseconds;

TEST(DecodeDeadlineTest, NoPictureIsDecodedAfterIt) {
  const Deadline passed(Clock::now());
  for (const KnownPicture& known : KnownPictures()) {
    const std::string bytes = ReadData(known.name);
    const absl::Status status = Decode(bytes, *ReadHeader(bytes), 1, passed).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << known.name << status;
  }
}

std::string EncodedWebp(const cv::Mat& pixels, bool lossless) {
  std::uint8_t* out = nullptr;
  const auto stride = static_cast<int>(pixels.step);
  const std::size_t size =
      lossless ? WebPEncodeLosslessBGR(pixels.data, pixels.cols, pixels.rows, stride, &out)
               : WebPEncodeBGR(pixels.data, pixels.cols, pixels.rows, stride, 90, &out);
  std::string bytes(reinterpret_cast<char*>(out), size);
  WebPFree(out);
  return bytes;
}

// The time that this thread was running, which a busy machine does not change.
nanoseconds RunningTime(const std::function<void()>& work) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
  };
  const nanoseconds start = now();
  work();
  return now() - start;
}

TEST(DecodeDeadlineTest, ALargePictureStopsSoonAfterIt) {
  const cv::Mat large = Scene({3000, 2000});
  const cv::Mat medium = Scene({1200, 800});
  const std::map<std::string, std::string> pictures = {
      {"baseline JPEG", EncodedJpeg(large)},
      {"progressive JPEG", EncodedJpeg(large, [](auto& jpeg) { jpeg_simple_progression(&jpeg); })},
      {"PNG", EncodedPng(large)},
      {"GIF", EncodedGif(large.size())},
      {"lossy WebP", EncodedWebp(medium, /*lossless=*/false)},
      {"lossless WebP", EncodedWebp(medium, /*lossless=*/true)},
  };
  for (const auto& picture : pictures) {
    SCOPED_TRACE(picture.first);
    const std::string& bytes = picture.second;
    const Header header = *ReadHeader(bytes);
    const nanoseconds whole = RunningTime([&] { EXPECT_TRUE(Decode(bytes, header).ok()); });
    absl::Status status;
    const nanoseconds cut = RunningTime(
        [&] { status = Decode(bytes, header, 1, Deadline::After(whole / 10)).status(); });
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
    EXPECT_LT(cut, whole / 2);
  }
}

}  // namespace
}  // namespace inferpool::vision

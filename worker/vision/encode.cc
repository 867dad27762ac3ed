#include "worker/vision/encode.h"

#include <fmt/format.h>
#include <turbojpeg.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <vector>

#include "shared/base/status.h"

namespace inferpool::vision {
namespace {

struct Destroy {
  void operator()(tjhandle handle) const { tjDestroy(handle); }
};
struct Free {
  void operator()(unsigned char* bytes) const { tjFree(bytes); }
};

constexpr int kMaxJpegSide = 65'500;

absl::StatusOr<std::string> EncodeJpeg(const cv::Mat& bgr) {
  constexpr int kQuality = 90;
  if (!CanEncode(bgr.size(), Encoding::kJpeg)) {
    return absl::OutOfRangeError(fmt::format("a JPEG's sides have at most {} pixels, not {} x {}",
                                             kMaxJpegSide, bgr.cols, bgr.rows));
  }
  const std::unique_ptr<void, Destroy> encoder(tjInitCompress());
  if (!encoder) {
    return absl::ResourceExhaustedError("no memory for a JPEG encoder");
  }
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  const int result = tjCompress2(encoder.get(), bgr.data, bgr.cols, static_cast<int>(bgr.step),
                                 bgr.rows, TJPF_BGR, &bytes, &size, TJSAMP_444, kQuality, 0);
  const std::unique_ptr<unsigned char, Free> owner(bytes);
  if (result != 0) {
    return absl::ResourceExhaustedError(
        fmt::format("cannot encode the JPEG: {}", tjGetErrorStr2(encoder.get())));
  }
  return std::string(reinterpret_cast<const char*>(bytes), size);
}

std::string EncodePng(const cv::Mat& bgr) {
  std::vector<unsigned char> bytes;
  // Without parameters OpenCV tries one filter instead of all.
  cv::imencode(".png", bgr, bytes);
  return {bytes.begin(), bytes.end()};
}

}  // namespace

bool CanEncode(cv::Size size, Encoding encoding) {
  return encoding != Encoding::kJpeg || std::max(size.width, size.height) <= kMaxJpegSide;
}

absl::StatusOr<std::string> EncodePicture(const cv::Mat& bgr, Encoding encoding) {
  if (bgr.empty() || bgr.type() != CV_8UC3) {
    return InvalidArgument("a picture that is not 8-bit BGR");
  }
  try {
    return encoding == Encoding::kJpeg ? EncodeJpeg(bgr) : EncodePng(bgr);
  } catch (const std::exception& error) {
    return absl::ResourceExhaustedError(fmt::format("cannot encode the picture: {}", error.what()));
  }
}

}  // namespace inferpool::vision

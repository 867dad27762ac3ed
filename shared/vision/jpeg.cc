#include "shared/vision/jpeg.h"

#include <fmt/format.h>
#include <turbojpeg.h>

#include <algorithm>
#include <cstdint>
#include <memory>

#include "shared/status.h"

namespace inferpool::vision {
namespace {

struct Destroy {
  void operator()(tjhandle handle) const { tjDestroy(handle); }
};

// A handle keeps state between calls, so each thread has its own; null when memory is short.
using Decoder = std::unique_ptr<void, Destroy>;

Decoder& ThreadsDecoder() {
  thread_local Decoder decoder;
  if (!decoder) {
    decoder.reset(tjInitDecompress());
  }
  return decoder;
}

// The handle is thrown away: after an error in a header, TurboJPEG 2.1 takes the next picture for
// the rest of this one.
absl::Status Damaged(Decoder& decoder) {
  absl::Status status =
      absl::DataLossError(fmt::format("damaged JPEG: {}", tjGetErrorStr2(decoder.get())));
  decoder.reset();
  return status;
}

// libjpeg formats only the first warning of a picture, so a tolerable one must be one that nothing
// can come after.
bool IsHarmless(std::string_view warning) {
  return warning.find("extraneous bytes before marker 0xd9") != std::string_view::npos;
}

// Adobe's inverted CMYK: 255 is no ink.
cv::Mat InvertedCmykToBgr(const cv::Mat& cmyk) {
  cv::Mat bgr(cmyk.size(), CV_8UC3);
  const auto scale = [](int value, int white) {
    return static_cast<unsigned char>((value * white + 127) / 255);
  };
  for (int y = 0; y < cmyk.rows; ++y) {
    const auto* from = cmyk.ptr<cv::Vec4b>(y);
    auto* to = bgr.ptr<cv::Vec3b>(y);
    for (int x = 0; x < cmyk.cols; ++x) {
      const cv::Vec4b& ink = from[x];
      to[x] = {scale(ink[2], ink[3]), scale(ink[1], ink[3]), scale(ink[0], ink[3])};
    }
  }
  return bgr;
}

}  // namespace

int ReducedSide(int side, int reduction) {
  return static_cast<int>((std::int64_t{side} + reduction / 2) / reduction);
}

cv::Size Reduced(cv::Size size, int reduction) {
  return {std::max(1, ReducedSide(size.width, reduction)),
          std::max(1, ReducedSide(size.height, reduction))};
}

absl::StatusOr<cv::Mat> DecodeJpeg(std::string_view bytes, const Header& header, int reduction) {
  Decoder& decoder = ThreadsDecoder();
  if (!decoder) {
    return absl::ResourceExhaustedError("no memory for a JPEG decoder");
  }
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());

  // It fails on unusual chroma subsampling as well, which the decoder copes with; what counts is
  // whether it got as far as the frame.
  int width = 0;
  int height = 0;
  int subsampling = -1;
  int colorspace = -1;
  const int header_result = tjDecompressHeader3(decoder.get(), data, bytes.size(), &width, &height,
                                                &subsampling, &colorspace);
  if (header_result != 0 && width <= 0) {
    return Damaged(decoder);
  }
  if (width != header.width || height != header.height) {
    return absl::DataLossError(fmt::format("damaged JPEG: {} x {} in the header, {} x {} decoded",
                                           header.width, header.height, width, height));
  }

  const bool is_cmyk = colorspace == TJCS_CMYK || colorspace == TJCS_YCCK;
  const int pixel_format = is_cmyk ? TJPF_CMYK : TJPF_BGR;
  const tjscalingfactor scale{1, reduction};
  cv::Mat pixels(TJSCALED(height, scale), TJSCALED(width, scale), is_cmyk ? CV_8UC4 : CV_8UC3);
  const int result =
      tjDecompress2(decoder.get(), data, bytes.size(), pixels.data, pixels.cols,
                    static_cast<int>(pixels.step), pixels.rows, pixel_format, TJFLAG_LIMITSCANS);
  if (result != 0) {
    const bool finished = tjGetErrorCode(decoder.get()) == TJERR_WARNING;
    if (!finished || !IsHarmless(tjGetErrorStr2(decoder.get()))) {
      return Damaged(decoder);
    }
  }
  // TurboJPEG rounds up. A last pixel that is mostly padding would shift all others.
  const cv::Mat rounded = pixels(cv::Rect({0, 0}, Reduced({width, height}, reduction)));
  return is_cmyk ? InvertedCmykToBgr(rounded) : rounded;
}

}  // namespace inferpool::vision

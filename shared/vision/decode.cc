#include "shared/vision/decode.h"

#include <fmt/format.h>
#include <webp/decode.h>

#include <cstdint>
#include <exception>
#include <limits>
#include <new>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <string>

#include "shared/plain_png.h"
#include "shared/status.h"
#include "shared/vision/gif.h"
#include "shared/vision/integrity.h"
#include "shared/vision/jpeg.h"
#include "shared/vision/webp_animation.h"

namespace inferpool::vision {
namespace {

absl::StatusOr<cv::Mat> DecodePng(std::string_view whole, const Header& header) {
  std::string storage;
  const std::string_view bytes = PlainPng(whole, storage);
  if (bytes.size() > std::numeric_limits<int>::max()) {
    return absl::DataLossError(fmt::format("impossibly large {} picture", Name(header.format)));
  }
  // imdecode only reads, but a Mat has no const data.
  const cv::Mat input(1, static_cast<int>(bytes.size()), CV_8UC1, const_cast<char*>(bytes.data()));
  cv::Mat pixels = cv::imdecode(input, cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION);
  if (pixels.empty()) {
    return absl::DataLossError(fmt::format("damaged {} picture", Name(header.format)));
  }
  if (pixels.size() != cv::Size(header.width, header.height) || pixels.type() != CV_8UC3) {
    return absl::DataLossError(
        fmt::format("damaged {} picture: {} x {} in the header, {} x {} decoded",
                    Name(header.format), header.width, header.height, pixels.cols, pixels.rows));
  }
  return pixels;
}

// Not by OpenCV: what its WebP decoder does not know at a first look, it offers to others. Those
// for DICOM and DTED files take any first bytes, and believe every length: 175 bytes can cost 2 GB.
absl::StatusOr<cv::Mat> DecodeWebp(std::string_view bytes, const Header& header) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  int width = 0;
  int height = 0;
  if (WebPGetInfo(data, bytes.size(), &width, &height) == 0 || width != header.width ||
      height != header.height) {
    return absl::DataLossError("damaged WebP picture: its frame is not of the header's size");
  }
  cv::Mat pixels(height, width, CV_8UC3);
  const std::size_t room = pixels.total() * pixels.elemSize();
  if (WebPDecodeBGRInto(data, bytes.size(), pixels.data, room, static_cast<int>(pixels.step)) ==
      nullptr) {
    return absl::DataLossError("damaged WebP picture");
  }
  return pixels;
}

absl::StatusOr<cv::Mat> DecodeStored(std::string_view bytes, const Header& header, int reduction) {
  switch (header.format) {
    case Format::kJpeg:
      return DecodeJpeg(bytes, header, reduction);
    case Format::kGif:
      return DecodeGif(bytes, header);
    case Format::kWebp:
      return header.animated_webp ? DecodeWebpAnimation(bytes, header) : DecodeWebp(bytes, header);
    case Format::kPng:
      break;
  }
  return DecodePng(bytes, header);
}

// How to undo each orientation: TIFF 6.0, section 8, "Orientation" (what the first row and the
// first column of the stored picture show).
cv::Mat Upright(const cv::Mat& stored, int orientation) {
  constexpr int kBothAxes = -1;
  constexpr int kTopToBottom = 0;
  constexpr int kLeftToRight = 1;
  cv::Mat upright;
  switch (orientation) {
    case 2:
      cv::flip(stored, upright, kLeftToRight);
      return upright;
    case 3:
      cv::flip(stored, upright, kBothAxes);
      return upright;
    case 4:
      cv::flip(stored, upright, kTopToBottom);
      return upright;
    case 5:
      cv::transpose(stored, upright);
      return upright;
    case 6:
      cv::rotate(stored, upright, cv::ROTATE_90_CLOCKWISE);
      return upright;
    case 7:
      cv::transpose(stored, upright);
      cv::flip(upright, upright, kBothAxes);
      return upright;
    case 8:
      cv::rotate(stored, upright, cv::ROTATE_90_COUNTERCLOCKWISE);
      return upright;
    default:
      return stored;
  }
}

}  // namespace

absl::StatusOr<cv::Mat> Decode(std::string_view bytes, const Header& header, int reduction) {
  RETURN_IF_ERROR(CheckIntegrity(bytes, header));
  try {
    absl::StatusOr<cv::Mat> stored = DecodeStored(bytes, header, reduction);
    if (!stored.ok()) {
      return stored;
    }
    return Upright(*stored, header.orientation);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("no memory for the picture's pixels");
  } catch (const cv::Exception& error) {
    if (error.code == cv::Error::StsNoMem) {
      return absl::ResourceExhaustedError("no memory for the picture's pixels");
    }
    return absl::DataLossError(
        fmt::format("cannot decode the {} picture: {}", Name(header.format), error.err));
  } catch (const std::exception& error) {
    return absl::DataLossError(
        fmt::format("cannot decode the {} picture: {}", Name(header.format), error.what()));
  }
}

}  // namespace inferpool::vision

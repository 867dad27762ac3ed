#include "shared/pictures/decode.h"

#include <fmt/format.h>

#include <exception>
#include <new>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "shared/base/status.h"
#include "shared/pictures/gif.h"
#include "shared/pictures/integrity.h"
#include "shared/pictures/jpeg.h"
#include "shared/pictures/png.h"
#include "shared/pictures/webp_animation.h"
#include "shared/pictures/webp_frame.h"

namespace inferpool::vision {
namespace {

// Not by OpenCV: what its WebP decoder does not know at a first look, it offers to others. Those
// for DICOM and DTED files take any first bytes, and believe every length: 175 bytes can cost 2 GB.
absl::StatusOr<cv::Mat> DecodeWebp(std::string_view bytes, const Header& header,
                                   Deadline deadline) {
  cv::Mat pixels(header.height, header.width, CV_8UC3);
  RETURN_IF_ERROR(DecodeWebpFrame(bytes, pixels, deadline));
  return pixels;
}

absl::StatusOr<cv::Mat> DecodeStored(std::string_view bytes, const Header& header, int reduction,
                                     Deadline deadline) {
  switch (header.format) {
    case Format::kJpeg:
      return DecodeJpeg(bytes, header, reduction, deadline);
    case Format::kGif:
      return DecodeGif(bytes, header, deadline);
    case Format::kWebp:
      return header.animated_webp ? DecodeWebpAnimation(bytes, header, deadline)
                                  : DecodeWebp(bytes, header, deadline);
    case Format::kPng:
      break;
  }
  return DecodePng(bytes, header, deadline);
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

absl::StatusOr<cv::Mat> DecodeStoredGrey(std::string_view bytes, const Header& header,
                                         int reduction, Deadline deadline) {
  if (header.format == Format::kJpeg) return DecodeGreyJpeg(bytes, header, reduction, deadline);
  ASSIGN_OR_RETURN(const cv::Mat whole, DecodeStored(bytes, header, 1, deadline));
  return GreyOf(whole, reduction);
}

// Decodes by `decode`, which gives the picture as it is stored, and turns it upright.
template <typename DecodeStep>
absl::StatusOr<cv::Mat> DecodeUpright(std::string_view bytes, const Header& header,
                                      const DecodeStep& decode) {
  RETURN_IF_ERROR(CheckIntegrity(bytes, header));
  try {
    absl::StatusOr<cv::Mat> stored = decode();
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

}  // namespace

absl::StatusOr<cv::Mat> Decode(std::string_view bytes, const Header& header, int reduction,
                               Deadline deadline) {
  return DecodeUpright(bytes, header,
                       [&] { return DecodeStored(bytes, header, reduction, deadline); });
}

absl::StatusOr<cv::Mat> DecodeGrey(std::string_view bytes, const Header& header, int reduction,
                                   Deadline deadline) {
  return DecodeUpright(bytes, header,
                       [&] { return DecodeStoredGrey(bytes, header, reduction, deadline); });
}

cv::Mat GreyOf(const cv::Mat& bgr, int reduction) {
  cv::Mat small;
  cv::resize(bgr, small, Reduced(bgr.size(), reduction), 0, 0, cv::INTER_AREA);
  cv::Mat grey;
  cv::cvtColor(small, grey, cv::COLOR_BGR2GRAY);
  return grey;
}

}  // namespace inferpool::vision

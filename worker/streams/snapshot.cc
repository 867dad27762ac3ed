#include "worker/streams/snapshot.h"

#include <algorithm>
#include <exception>
#include <opencv2/imgproc.hpp>
#include <utility>
#include <variant>

#include "shared/pictures/decode.h"
#include "shared/pictures/header.h"
#include "shared/pictures/jpeg.h"
#include "worker/vision/draw.h"
#include "worker/vision/encode.h"

namespace inferpool::streams {
namespace {

// The frame at the smallest scale that is still wide enough.
absl::StatusOr<cv::Mat> DecodeSmall(std::string_view file) {
  ASSIGN_OR_RETURN(const vision::Header header, vision::ReadHeader(file));
  int reduction = 8;
  while (reduction > 1 &&
         vision::Reduced(vision::UprightSize(header), reduction).width < kSnapshotWidth) {
    reduction /= 2;
  }
  return vision::Decode(file, header, reduction);
}

absl::Status Draw(cv::Mat& pixels, const Sight& sight) {
  struct Visitor {
    cv::Mat& pixels;
    const Sight& sight;

    absl::Status operator()(const vision::Detections& detections) const {
      const auto times = [](int small, int whole) {
        return static_cast<float>(small) / static_cast<float>(std::max(whole, 1));
      };
      return vision::Draw(pixels,
                          Scaled(detections, times(pixels.cols, sight.size.width),
                                 times(pixels.rows, sight.size.height)),
                          sight.class_names);
    }
    absl::Status operator()(const vision::TextLines& lines) const {
      return vision::Draw(pixels, lines);
    }
    absl::Status operator()(const vision::Classification& classes) const {
      return vision::Draw(pixels, classes, sight.class_names);
    }
    absl::Status operator()(const vision::Embedding& /*none*/) const { return absl::OkStatus(); }
  };
  return std::visit(Visitor{pixels, sight}, sight.result);
}

}  // namespace

vision::Detections Scaled(vision::Detections detections, float x, float y) {
  const auto scale = [x, y](auto& point) {
    point.x *= x;
    point.y *= y;
  };
  for (vision::Detection& detection : detections) {
    detection.x1 *= x;
    detection.x2 *= x;
    detection.y1 *= y;
    detection.y2 *= y;
    std::ranges::for_each(detection.corners, scale);
    std::ranges::for_each(detection.keypoints, scale);
    for (vision::Polygon& part : detection.mask) std::ranges::for_each(part, scale);
  }
  return detections;
}

absl::StatusOr<std::string> MakeSnapshot(const Sight& sight) {
  try {
    cv::Mat pixels = sight.pixels;
    if (pixels.empty()) {
      ASSIGN_OR_RETURN(pixels, DecodeSmall(sight.file));
    }
    if (pixels.cols > kSnapshotWidth) {
      const double scale = static_cast<double>(kSnapshotWidth) / pixels.cols;
      const int height = std::max(1, static_cast<int>(scale * pixels.rows));
      cv::Mat small;
      cv::resize(pixels, small, {kSnapshotWidth, height}, 0, 0, cv::INTER_AREA);
      pixels = std::move(small);
    }
    RETURN_IF_ERROR(Draw(pixels, sight));
    return vision::EncodePicture(pixels, vision::Encoding::kJpeg);
  } catch (const std::exception& error) {
    return absl::ResourceExhaustedError(error.what());
  }
}

}  // namespace inferpool::streams

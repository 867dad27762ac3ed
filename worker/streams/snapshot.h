// A small picture of a frame with what was found in it, for people who look at a camera.
#pragma once

#include <opencv2/core/mat.hpp>
#include <opencv2/core/types.hpp>
#include <span>
#include <string>
#include <string_view>

#include "shared/base/status.h"
#include "worker/vision/families/result.h"

namespace inferpool::streams {

inline constexpr int kSnapshotWidth = 640;  // at most

// What a snapshot is made of.
struct Sight {
  std::string_view file;  // the frame's bytes
  // The upright frame, perhaps at a smaller scale, where it has been decoded already. It is drawn
  // into unless it is wider than a snapshot.
  cv::Mat pixels = {};
  cv::Size size;  // of the upright frame, in which the result is
  const vision::Result& result;
  std::span<const std::string> class_names;
};

// The JPEG. An embedding is not drawn. The decoders' errors when the frame is to be decoded;
// RESOURCE_EXHAUSTED: out of memory.
absl::StatusOr<std::string> MakeSnapshot(const Sight& sight);

// The same detections in a picture whose sides are so many times as long.
vision::Detections Scaled(vision::Detections detections, float x, float y);

}  // namespace inferpool::streams

// Whether something moves in front of a camera, and so whether the model shall look at a frame.
// Pure: it is given pictures and told what time it is.
//
//   Cells     a frame is a grid of cells, the mean brightness of 8 x 8 pixels each, or of more
//   where
//             the grid would have more than 160 a side. Each is compared with its running mean,
//             which follows what changes slowly.
//   Moved     a frame is looked at when more than a share `area` of the cells that no mask covers
//             differ from their means by more than `threshold`.
//   Settled   a cell that differs keeps its mean, so that what passes by leaves no trace in it. One
//             that has differed in the same way for three seconds has a new mean: what stays is
//             seen for so long, and so is the place that it leaves.
//   Light     all means follow the median of how much brighter or darker the cells have become, as
//             far as light changes slowly: by a tenth in a second. A lamp that is switched on
//             moves.
//   Keyframe  one frame each `keyframe` is looked at, whatever moves.
//   Owed      what was to be looked at and could not be is made up for by the next frame. So is
//             the first frame that no longer moves: the answer before it tells of what moved.
#pragma once

#include <chrono>
#include <cstdint>
#include <opencv2/core/mat.hpp>
#include <opencv2/core/types.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shared/base/deadline.h"
#include "shared/base/polygon.h"
#include "shared/config/config.h"

namespace inferpool::streams {

struct MotionSettings {
  int threshold = 12;   // grey levels of 255
  double area = 0.001;  // of the picture
  std::chrono::milliseconds keyframe{10'000};
  std::vector<Polygon> masks = {};  // what lies in one of them does not count
  bool operator==(const MotionSettings&) const = default;
};

// What holds for a camera; nullopt: all its frames are looked at.
std::optional<MotionSettings> MotionOf(const Config::Motion& common, const Config::Motion& camera);

// Of one camera. For one thread at a time. Its memory is 12 bytes a cell, 300 KB at most.
class MotionGate {
 public:
  explicit MotionGate(MotionSettings settings) : settings_(std::move(settings)) {}

  // Frames are decoded to grey at this scale.
  static constexpr int kReduction = 8;

  // Takes a frame, upright, as CV_8UC1 at 1 / kReduction, and says whether the model must look at
  // it. `question`: what it would be asked; another one than before is a reason to look.
  bool MustLook(const cv::Mat& grey, std::string_view question, TimePoint now);

  // The model has looked at the frame of this id, which MustLook was told of.
  void Looked(std::string_view frame, TimePoint now);

  // The frame that was looked at last. Empty before the first.
  const std::string& looked_at() const { return looked_at_; }

 private:
  void Begin(const cv::Mat& cells, TimePoint now);
  void FollowLight(const cv::Mat& cells, double seconds);
  bool HasMoved(const cv::Mat& cells, double seconds);

  struct Cell {
    float mean = 0;
    float differs_s = 0;          // for so long, in the same way; 0: it does not
    std::uint8_t differs_as = 0;  // the brightness then
    bool counts = true;           // no mask covers it
  };

  const MotionSettings settings_;
  cv::Size size_{};  // of the grid
  std::vector<Cell> cells_;
  std::size_t counting_ = 0;  // cells
  TimePoint at_{};            // of the latest frame
  std::string question_;
  bool owed_ = true;
  bool moves_ = false;          // in the latest frame
  bool looked_moving_ = false;  // the model has looked at a frame in which something moved
  std::string looked_at_;
  TimePoint next_keyframe_{};
};

}  // namespace inferpool::streams

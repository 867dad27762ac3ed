#include "worker/streams/motion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <opencv2/imgproc.hpp>
#include <utility>

namespace inferpool::streams {
namespace {

constexpr int kMostCells = 160;  // a side
// The running mean of a cell that does not differ: what changes by less than threshold / kMeanS a
// second is not seen.
constexpr double kMeanS = 8;
constexpr float kSettledS = 3;
constexpr float kJustNow = 1e-6F;
// Light that changes so much is followed: at once, and in a second.
constexpr double kFlicker = 0.03;
constexpr double kLightPerS = 0.1;
constexpr double kMostLight = 0.25;
// A dark cell says nothing of the light: its noise is larger.
constexpr float kDark = 16;

// A grid of at most kMostCells a side.
cv::Mat CellsOf(const cv::Mat& grey) {
  const int side = std::max(grey.cols, grey.rows);
  const int times = (side + kMostCells - 1) / kMostCells;
  if (times <= 1) return grey;
  cv::Mat cells;
  cv::resize(grey, cells, {std::max(1, grey.cols / times), std::max(1, grey.rows / times)}, 0, 0,
             cv::INTER_AREA);
  return cells;
}

}  // namespace

std::optional<MotionSettings> MotionOf(const Config::Motion& common, const Config::Motion& camera) {
  const auto of = [](const auto& one, const auto& other, auto otherwise) {
    return one ? *one : other ? *other : otherwise;
  };
  if (!of(camera.enabled, common.enabled, false)) return std::nullopt;
  MotionSettings settings;
  settings.threshold = of(camera.threshold, common.threshold, settings.threshold);
  settings.area = of(camera.area, common.area, settings.area);
  settings.masks = of(camera.masks, common.masks, settings.masks);
  const double usual = std::chrono::duration<double>(settings.keyframe).count();
  settings.keyframe = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::duration<double>(of(camera.keyframe_s, common.keyframe_s, usual)));
  return settings;
}

void MotionGate::Begin(const cv::Mat& cells, TimePoint now) {
  size_ = cells.size();
  at_ = now;
  owed_ = true;
  moves_ = false;
  cells_.assign(static_cast<std::size_t>(size_.area()), Cell{});
  counting_ = 0;
  auto cell = cells_.begin();
  for (int y = 0; y < size_.height; ++y) {
    for (int x = 0; x < size_.width; ++x, ++cell) {
      const PolygonPoint middle{(x + 0.5) / size_.width, (y + 0.5) / size_.height};
      cell->mean = cells.at<std::uint8_t>(y, x);
      cell->counts = std::ranges::none_of(
          settings_.masks, [&](const Polygon& mask) { return Contains(mask, middle); });
      if (cell->counts) ++counting_;
    }
  }
}

void MotionGate::FollowLight(const cv::Mat& cells, double seconds) {
  constexpr int kSteps = 256;  // of a factor of one
  std::array<std::size_t, std::size_t{2} * kSteps> found{};
  std::size_t bright = 0;
  auto cell = cells_.cbegin();
  for (int y = 0; y < size_.height; ++y) {
    const auto* row = cells.ptr<std::uint8_t>(y);
    for (int x = 0; x < size_.width; ++x, ++cell) {
      if (!cell->counts || cell->mean < kDark) continue;
      const float factor = static_cast<float>(row[x]) / cell->mean * kSteps + 0.5F;
      ++found[std::min(static_cast<std::size_t>(factor), found.size() - 1)];
      ++bright;
    }
  }
  if (bright < counting_ / 4 || bright == 0) return;
  std::size_t median = 0;
  for (std::size_t below = found[0]; below * 2 < bright; below += found[median]) ++median;
  const double most = std::min(kFlicker + kLightPerS * seconds, kMostLight);
  const double factor = std::clamp(static_cast<double>(median) / kSteps, 1 - most, 1 + most);
  for (Cell& each : cells_) each.mean *= static_cast<float>(factor);
}

bool MotionGate::HasMoved(const cv::Mat& cells, double seconds) {
  const auto share = static_cast<float>(1 - std::exp(-seconds / kMeanS));
  const auto threshold = static_cast<float>(settings_.threshold);
  std::size_t moved = 0;
  auto cell = cells_.begin();
  for (int y = 0; y < size_.height; ++y) {
    const auto* row = cells.ptr<std::uint8_t>(y);
    for (int x = 0; x < size_.width; ++x, ++cell) {
      if (!cell->counts) continue;
      const auto is = static_cast<float>(row[x]);
      if (std::abs(is - cell->mean) <= threshold) {
        cell->mean += (is - cell->mean) * share;
        cell->differs_s = 0;
        continue;
      }
      if (cell->differs_s == 0 || std::abs(is - static_cast<float>(cell->differs_as)) > threshold) {
        cell->differs_as = row[x];
        cell->differs_s = kJustNow;
      } else {
        cell->differs_s += static_cast<float>(seconds);
      }
      if (cell->differs_s >= kSettledS) {
        cell->mean = is;
        cell->differs_s = 0;
      } else {
        ++moved;
      }
    }
  }
  return static_cast<double>(moved) > settings_.area * static_cast<double>(counting_);
}

bool MotionGate::MustLook(const cv::Mat& grey, std::string_view question, TimePoint now) {
  const cv::Mat cells = CellsOf(grey);
  if (cells.size() != size_) {
    Begin(cells, now);
  } else {
    const double seconds = std::max(std::chrono::duration<double>(now - at_).count(), 0.0);
    at_ = now;
    FollowLight(cells, seconds);
    moves_ = HasMoved(cells, seconds);
    if (moves_ || looked_moving_) owed_ = true;
  }
  if (question != question_) {
    question_ = question;
    owed_ = true;
  }
  if (now >= next_keyframe_) owed_ = true;
  return owed_;
}

void MotionGate::Looked(std::string_view frame, TimePoint now) {
  owed_ = false;
  looked_moving_ = moves_;
  looked_at_ = frame;
  next_keyframe_ = now + settings_.keyframe;
}

}  // namespace inferpool::streams

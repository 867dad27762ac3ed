#include "modelserver/engines/opencv_hog.h"

#include <cmath>
#include <opencv2/objdetect.hpp>

#include "modelserver/config/config_file.h"
#include "modelserver/engines/opencv_guard.h"
#include "modelserver/engines/picture_detector.h"
#include "modelserver/engines/window_clusters.h"

namespace inferpool::modelserver {
namespace {

constexpr float kSideMargin = 1.0F / 5;
constexpr float kEndMargin = 1.0F / 8;

struct Settings {
  double scale_factor = 0;
  int max_side = 0;
  double confidence_half = 0;
};

cv::Rect2f Person(const cv::Rect2f& window, float up) {
  return {(window.x + kSideMargin * window.width) * up,
          (window.y + kEndMargin * window.height) * up, (1 - 2 * kSideMargin) * window.width * up,
          (1 - 2 * kEndMargin) * window.height * up};
}

class HogEngine : public OneByOneEngine {
 public:
  explicit HogEngine(const Settings& settings) : settings_(settings) {
    hog_.setSVMDetector(cv::HOGDescriptor::getDefaultPeopleDetector());
  }

 private:
  absl::Status RunOne(std::span<const TensorView> inputs, Outputs& outputs) override {
    return GuardOpenCv([&] {
      ASSIGN_OR_RETURN(const cv::Mat picture, PictureOf(inputs.front()));
      std::vector<Detection> detections;
      if (!picture.empty()) {
        detections = Detect(picture);
      }
      return PutDetections(std::move(detections), picture.size(), outputs);
    });
  }

  // The features take the strongest channel's gradient, so the channels' order does not matter.
  std::vector<Detection> Detect(const cv::Mat& picture) const {
    double scale = 1;
    const cv::Mat shrunk = Shrink(picture, settings_.max_side, scale);
    if (shrunk.cols < hog_.winSize.width || shrunk.rows < hog_.winSize.height) {
      return {};
    }
    std::vector<cv::Rect> boxes;
    std::vector<double> margins;
    constexpr double kOnThePlane = 0;
    constexpr double kUngrouped = 0;
    hog_.detectMultiScale(shrunk, boxes, margins, kOnThePlane, cv::Size(8, 8), cv::Size(16, 16),
                          settings_.scale_factor, kUngrouped);
    std::vector<Window> windows;
    windows.reserve(boxes.size());
    for (std::size_t i = 0; i < boxes.size() && i < margins.size(); ++i) {
      windows.push_back({.box = cv::Rect2f(boxes[i]), .margin = std::max(0.0, margins[i])});
    }
    return ToDetections(ClusterWindows(std::move(windows)), static_cast<float>(1 / scale));
  }

  std::vector<Detection> ToDetections(const std::vector<WindowCluster>& clusters, float up) const {
    const double density = std::log(settings_.scale_factor) / std::log(1.05);
    std::vector<Detection> detections;
    for (const WindowCluster& cluster : clusters) {
      const float confidence =
          EvidenceConfidence(cluster.evidence * density, settings_.confidence_half);
      if (confidence >= kMinConfidence) {
        detections.push_back({.box = Person(cluster.box, up), .score = confidence});
      }
    }
    return detections;
  }

  cv::HOGDescriptor hog_;
  const Settings settings_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> MakeHogEngine(const inference::ModelConfig& config) {
  ASSIGN_OR_RETURN(const auto scale_factor, NumberParameter(config, "scale_factor", 1.01, 2, 1.1));
  ASSIGN_OR_RETURN(const auto max_side, NumberParameter(config, "max_side", 128, 8192, 1024));
  ASSIGN_OR_RETURN(const auto half, NumberParameter(config, "confidence_half", 0.001, 1e6, 3));
  const Settings settings = {.scale_factor = scale_factor,
                             .max_side = static_cast<int>(max_side),
                             .confidence_half = half};
  return GuardOpenCv([&]() -> absl::StatusOr<std::unique_ptr<Engine>> {
    return std::make_unique<HogEngine>(settings);
  });
}

}  // namespace inferpool::modelserver

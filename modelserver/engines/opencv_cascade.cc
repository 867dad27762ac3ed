#include "modelserver/engines/opencv_cascade.h"

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>
#include <opencv2/objdetect.hpp>

#include "modelserver/config/config_file.h"
#include "modelserver/engines/opencv_guard.h"
#include "modelserver/engines/picture_detector.h"
#include "modelserver/engines/window_clusters.h"

namespace inferpool::modelserver {
namespace {

struct Settings {
  double scale_factor = 0;
  int min_size = 0;
  int max_side = 0;
  double confidence_half = 0;
};

class CascadeEngine : public OneByOneEngine {
 public:
  CascadeEngine(const cv::CascadeClassifier& cascade, double last_threshold,
                const Settings& settings)
      : cascade_(cascade), last_threshold_(last_threshold), settings_(settings) {}

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

  std::vector<Detection> Detect(const cv::Mat& picture) {
    double scale = 1;
    cv::Mat gray;
    cv::cvtColor(Shrink(picture, settings_.max_side, scale), gray, cv::COLOR_RGB2GRAY);
    const cv::Size own = cascade_.getOriginalWindowSize();
    if (gray.cols <= own.width || gray.rows <= own.height) {
      return {};
    }
    std::vector<cv::Rect> boxes;
    std::vector<int> levels;
    std::vector<double> sums;
    constexpr int kUngrouped = 0;
    cascade_.detectMultiScale(gray, boxes, levels, sums, settings_.scale_factor, kUngrouped, 0,
                              cv::Size(settings_.min_size, settings_.min_size), cv::Size(), true);
    std::vector<Window> windows;
    windows.reserve(boxes.size());
    for (std::size_t i = 0; i < boxes.size() && i < sums.size(); ++i) {
      const double step = boxes[i].width > 2 * own.width ? 1 : 2;
      windows.push_back({.box = cv::Rect2f(boxes[i]),
                         .margin = std::max(0.0, sums[i] - last_threshold_),
                         .weight = step * step});
    }
    return ToDetections(ClusterWindows(std::move(windows)), static_cast<float>(1 / scale));
  }

  std::vector<Detection> ToDetections(const std::vector<WindowCluster>& clusters, float up) const {
    const double density = std::log(settings_.scale_factor) / std::log(1.1);
    std::vector<Detection> detections;
    for (const WindowCluster& cluster : clusters) {
      const float confidence =
          EvidenceConfidence(cluster.agreement * density, settings_.confidence_half);
      if (confidence >= kMinConfidence) {
        detections.push_back(
            {.box = cv::Rect2f(cluster.box.tl() * up, cluster.box.br() * up), .score = confidence});
      }
    }
    return detections;
  }

  cv::CascadeClassifier cascade_;  // a handle; nobody else has it
  const double last_threshold_;
  const Settings settings_;
};

absl::StatusOr<Settings> ReadSettings(const inference::ModelConfig& config) {
  ASSIGN_OR_RETURN(const auto scale_factor, NumberParameter(config, "scale_factor", 1.01, 2, 1.2));
  ASSIGN_OR_RETURN(const auto min_size, NumberParameter(config, "min_size", 8, 4096, 24));
  ASSIGN_OR_RETURN(const auto max_side, NumberParameter(config, "max_side", 64, 8192, 1024));
  ASSIGN_OR_RETURN(const auto half, NumberParameter(config, "confidence_half", 0.001, 1e6, 50));
  return Settings{.scale_factor = scale_factor,
                  .min_size = static_cast<int>(min_size),
                  .max_side = static_cast<int>(max_side),
                  .confidence_half = half};
}

absl::StatusOr<std::filesystem::path> FindCascade(const inference::ModelConfig& config,
                                                  const std::filesystem::path& version_folder) {
  const std::string* name = FindParameter(config, "cascade");
  if (name == nullptr || name->empty() || std::filesystem::path(*name).filename() != *name) {
    return InvalidArgument("the parameter 'cascade' must be a plain file name");
  }
  const std::filesystem::path data = "/usr/share/opencv4";
  for (const auto& folder : {version_folder, data / "haarcascades", data / "lbpcascades"}) {
    std::error_code error;
    if (std::filesystem::is_regular_file(folder / *name, error)) {
      return folder / *name;
    }
  }
  return InvalidArgument(
      "the cascade '{}' is neither in {} nor in {}/{{haar,lbp}}cascades (Debian's "
      "package opencv-data has the latter)",
      *name, version_folder.string(), data.string());
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> MakeCascadeEngine(
    const inference::ModelConfig& config, const std::filesystem::path& version_folder) {
  ASSIGN_OR_RETURN(const Settings settings, ReadSettings(config));
  ASSIGN_OR_RETURN(const std::filesystem::path file, FindCascade(config, version_folder));
  return GuardOpenCv([&]() -> absl::StatusOr<std::unique_ptr<Engine>> {
    cv::CascadeClassifier cascade;
    const cv::FileStorage storage(file.string(), cv::FileStorage::READ);
    const cv::FileNode stages = storage["cascade"]["stages"];
    if (stages.empty() || !cascade.load(file.string()) || cascade.isOldFormatCascade()) {
      return InvalidArgument("{}: not a cascade of OpenCV's present format", file.string());
    }
    const double last_threshold =
        static_cast<double>(stages[static_cast<int>(stages.size()) - 1]["stageThreshold"]);
    return std::make_unique<CascadeEngine>(cascade, last_threshold, settings);
  });
}

}  // namespace inferpool::modelserver

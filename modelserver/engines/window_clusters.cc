#include "modelserver/engines/window_clusters.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <tuple>

namespace inferpool::modelserver {
namespace {

constexpr std::size_t kMaxWindows = 8192;
constexpr std::size_t kMaxClusters = 1024;
constexpr float kSameObject = 0.5F;
constexpr float kCovered = 0.5F;

struct Growing {
  cv::Rect2f opener;
  double evidence = 0;
  double opening = 0;  // the opener's part of the evidence
  double total = 0;    // of the factors below
  double left = 0, top = 0, right = 0, bottom = 0;
};

float Iou(const cv::Rect2f& a, const cv::Rect2f& b) {
  const float both = (a & b).area();
  const float either = a.area() + b.area() - both;
  return either > 0 ? both / either : 0;
}

void Join(const Window& window, Growing& cluster) {
  // A window that passed by nothing still counts a little, or a cluster of such has no box.
  const double factor = window.margin * window.weight + 1e-6;
  cluster.evidence += window.margin * window.weight;
  cluster.total += factor;
  cluster.left += factor * window.box.x;
  cluster.top += factor * window.box.y;
  cluster.right += factor * (window.box.x + window.box.width);
  cluster.bottom += factor * (window.box.y + window.box.height);
}

WindowCluster Finish(const Growing& cluster) {
  const cv::Point2d start(cluster.left / cluster.total, cluster.top / cluster.total);
  const cv::Point2d end(cluster.right / cluster.total, cluster.bottom / cluster.total);
  return {cv::Rect2f(cv::Point2f(start), cv::Point2f(end)), cluster.evidence,
          cluster.evidence - cluster.opening};
}

}  // namespace

std::vector<WindowCluster> ClusterWindows(std::vector<Window> windows) {
  // Ties are broken by place, so that the answer does not depend on the detector's threads.
  std::ranges::sort(windows, [](const Window& a, const Window& b) {
    return std::tie(b.margin, a.box.y, a.box.x, a.box.width) <
           std::tie(a.margin, b.box.y, b.box.x, b.box.width);
  });
  if (windows.size() > kMaxWindows) {
    windows.resize(kMaxWindows);
  }
  std::vector<Growing> growing;
  for (const Window& window : windows) {
    auto found = std::ranges::find_if(growing, [&](const Growing& cluster) {
      return Iou(cluster.opener, window.box) >= kSameObject;
    });
    if (found == growing.end()) {
      if (growing.size() == kMaxClusters) {
        continue;
      }
      growing.push_back({.opener = window.box, .opening = window.margin * window.weight});
      found = growing.end() - 1;
    }
    Join(window, *found);
  }

  std::vector<WindowCluster> clusters;
  clusters.reserve(growing.size());
  std::ranges::transform(growing, std::back_inserter(clusters), Finish);
  std::ranges::stable_sort(clusters, std::ranges::greater(), &WindowCluster::evidence);
  std::vector<WindowCluster> kept;
  for (const WindowCluster& cluster : clusters) {
    if (std::ranges::none_of(kept, [&](const WindowCluster& other) {
          const float smaller = std::min(cluster.box.area(), other.box.area());
          return (cluster.box & other.box).area() >= kCovered * smaller;
        })) {
      kept.push_back(cluster);
    }
  }
  return kept;
}

float EvidenceConfidence(double evidence, double half) {
  const double odds = std::pow(evidence / half, 1.5);
  return static_cast<float>(odds / (1 + odds));
}

}  // namespace inferpool::modelserver

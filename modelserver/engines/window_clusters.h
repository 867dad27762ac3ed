// Groups the windows that a sliding-window detector accepts into detections.
//
// The detector accepts a real object in many windows, with similar positions and sizes, and noise
// in one or two. So the number of windows that agree, and the margins by which they passed, are the
// evidence from which a confidence is computed. OpenCV's own grouping gives a number or a weight,
// but not both: with outputRejectLevels it compares minNeighbors with the cascade's level, which is
// the same for every accepted window, so that a single false window is kept (groupRectangles in
// cascadedetect.cpp of OpenCV 4.6).
#pragma once

#include <opencv2/core.hpp>
#include <vector>

namespace inferpool::modelserver {

struct Window {
  cv::Rect2f box;
  double margin = 0;  // by how much the window passed; at least 0
  double weight = 1;  // the number of positions it stands for when the detector skips some
};

struct WindowCluster {
  cv::Rect2f box;        // mean of the windows' boxes, weighted by margin
  double evidence = 0;   // sum of margin * weight
  double agreement = 0;  // the same without the strongest window
};

// Clusters `windows`. In the order of their margins, each window joins the first cluster whose
// first window it overlaps with an IoU of at least 0.5, or begins a cluster. Then, in the order of
// their evidence, a cluster is dropped when its overlap with one that is kept has at least half the
// area of the smaller of the two, because faces and people are not nested. To bound the work, only
// the 8192 strongest windows and the first 1024 clusters count.
std::vector<WindowCluster> ClusterWindows(std::vector<Window> windows);

// evidence^1.5 / (evidence^1.5 + half^1.5). It is 0 without evidence, 0.5 at `half`, and rises to
// 1. The exponent is large enough to keep false detections under 0.1, and small enough to
// distinguish strong detections.
float EvidenceConfidence(double evidence, double half);

// Detections with a lower confidence are not reported.
inline constexpr float kMinConfidence = 0.05F;

}  // namespace inferpool::modelserver

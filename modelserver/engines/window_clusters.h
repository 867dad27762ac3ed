// From the windows that a sliding-window detector accepts to detections.
//
// A true object is accepted by many windows, at neighbouring places and sizes; noise by one or two.
// So how many windows agree, and by how much each passed, is the evidence that a confidence is made
// of. (OpenCV's own grouping gives a count or a weight, not both: with outputRejectLevels it
// compares minNeighbors with the cascade's level, which every accepted window has, so a single
// chance window survives. Seen in cascadedetect.cpp's groupRectangles; measured on OpenCV 4.6.)
#pragma once

#include <opencv2/core.hpp>
#include <vector>

namespace inferpool::modelserver {

struct Window {
  cv::Rect2f box;
  double margin = 0;  // by how much it passed, at least 0
  double weight = 1;  // windows it stands for, where the detector strides
};

struct WindowCluster {
  cv::Rect2f box;        // mean of the windows' boxes, weighted by margin
  double evidence = 0;   // sum of margin * weight
  double agreement = 0;  // the same without the strongest window: 0 for a lone one
};

// Clusters `windows`: the strongest opens one, and each further window joins the first whose opener
// it overlaps with an IoU of 0.5 or more. Then, by descending evidence, a cluster is dropped when a
// kept one covers half of the smaller of both: faces and people are not nested. Work is bounded:
// only the strongest 8192 windows and first 1024 clusters count.
std::vector<WindowCluster> ClusterWindows(std::vector<Window> windows);

// evidence^1.5 / (evidence^1.5 + half^1.5): 0 without evidence, 0.5 at `half`, 1 in the limit, and
// strictly ordered in between. The exponent is steep enough to keep chance finds under 0.1 and flat
// enough to tell strong finds apart.
float EvidenceConfidence(double evidence, double half);

// A detection under this confidence says nothing and is not reported.
inline constexpr float kMinConfidence = 0.05F;

}  // namespace inferpool::modelserver

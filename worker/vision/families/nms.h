// Non-maximum suppression.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "worker/vision/families/candidate.h"

namespace inferpool::vision {

// As Ultralytics' max_nms: only so many of the most confident candidates are considered.
inline constexpr std::size_t kMaxCandidates = 30'000;

// Sorts the most confident first, equal ones in their old order.
template <typename Box>
void SortMostConfidentFirst(std::vector<Box>& boxes) {
  std::stable_sort(boxes.begin(), boxes.end(),
                   [](const Box& a, const Box& b) { return a.confidence > b.confidence; });
}

// Which boxes may be the same object.
enum class Alike { kSameClass, kOtherClass, kAnyClass };

inline bool MayBeSame(Alike alike, int a, int b) {
  return alike == Alike::kAnyClass || (a == b) == (alike == Alike::kSameClass);
}

// Drops every candidate that overlaps a more confident one that may be the same by more than
// `limit`, as `overlap` measures two boxes, and returns the `max_detections` most confident of the
// rest, most confident first, equal ones in their old order. Sorting is O(n log n), suppression O(n
// x kept).
template <typename Box, typename Overlap>
std::vector<Box> Suppress(std::vector<Box> candidates, const Overlap& overlap, float limit,
                          std::size_t max_detections, Alike alike = Alike::kSameClass) {
  SortMostConfidentFirst(candidates);
  candidates.resize(std::min(candidates.size(), kMaxCandidates));
  std::vector<Box> kept;
  for (const Box& candidate : candidates) {
    if (kept.size() >= max_detections) {
      break;
    }
    const bool suppressed = std::any_of(kept.begin(), kept.end(), [&](const Box& better) {
      return MayBeSame(alike, better.class_id, candidate.class_id) &&
             overlap(better, candidate) > limit;
    });
    if (!suppressed) {
      kept.push_back(candidate);
    }
  }
  return kept;
}

// Suppress with the boxes' intersection over union. Boxes must have an area.
Candidates SuppressNonMaxima(Candidates candidates, float iou, std::size_t max_detections,
                             Alike alike = Alike::kSameClass);

}  // namespace inferpool::vision

// Makes one answer of what a model found in a picture and in its tiles. Pure.
#pragma once

#include <cstddef>
#include <opencv2/core/types.hpp>
#include <vector>

#include "worker/vision/families/detection.h"

namespace inferpool::vision {

// What was found in one part of a picture, in the picture's pixels, clipped to the part.
struct FoundInPart {
  cv::Rect part;
  Detections found;
};

struct MergeOptions {
  float iou = 0.45F;                 // overlap above which two boxes are one object
  std::size_t max_detections = 300;  // the most confident
  bool class_agnostic = false;       // boxes of different classes may be one object, too
};

// At most so many of the most confident boxes are considered.
inline constexpr std::size_t kMaxMerged = 10'000;

// Merges what was found in the whole, which is parts.front(), and in tiles of it that overlap. The
// result is most confident first. Boxes of one part stay apart: the model has seen both. Of boxes
// of different parts and of one class:
//
// - Two that overlap by more than `iou` are one object; the more confident box stays.
// - A box at a border that its tile has inside of the whole may be a piece of an object. It is
//   dropped when at least half of it lies within a box that another part has in full: that is the
//   intersection over the smaller box. It is also dropped when a box of another class, as far as
//   that tile shows it, is the same: an object that is cut looks like something else.
// - Pieces that are left, which meet at a border of both their tiles and are about as high there
//   (or as wide), are joined: the box is the one around both, with the masks and corners of both
//   and the more confident keypoints.
// - A box that the whole has of something small is dropped when half of the smaller of it and a
//   tile's box lies within the other: the tile shows it larger.
//
// So one object on a seam is answered once, one that is larger than a tile as the whole shows it,
// and two that stand side by side stay two.
Detections MergeTiles(std::vector<FoundInPart> parts, const MergeOptions& options);

}  // namespace inferpool::vision

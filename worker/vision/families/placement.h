// The geometry of a picture in a model's input, and of the model's boxes in the picture. Pure;
// letterbox.h moves the pixels.
#pragma once

#include <array>
#include <opencv2/core/types.hpp>

#include "worker/vision/families/detection.h"

namespace inferpool::vision {

enum class Datatype { kFp32, kFp16, kUint8 };

enum class Resize {
  kLetterbox,  // whole picture, shape kept, centred, grey around it
  kStretch,    // whole picture, shape not kept
  kCrop,       // shape kept, input filled, the rest at both ends cut off
};

// The form of a model's input for one picture.
struct InputLayout {
  Datatype datatype = Datatype::kFp32;
  bool channels_first = true;          // [3, height, width], else [height, width, 3]
  bool rgb = true;                     // else BGR
  cv::Size size;                       // a side of 0 is open, see Place
  int max_side = 1280;                 // an open side is at most so long, in pixels
  int multiple_of = 1;                 // an open side is rounded up to a multiple of this
  Resize resize = Resize::kLetterbox;  // for inputs of fixed size
  // A value is byte * scale + offset, by channel in the model's order. UINT8 takes the bytes.
  std::array<float, 3> scale{1, 1, 1};
  std::array<float, 3> offset{0, 0, 0};
};

// `source`, a part of the picture, is resized to `content`, a part of the model's input.
struct Placement {
  cv::Size picture;   // upright, at full scale
  cv::Size input;     // the model's
  cv::Rect source;    // in the picture's pixels
  cv::Rect content;   // in the input's pixels
  int reduction = 1;  // how many times smaller the picture is decoded (reduction.h)
  cv::Rect part;      // `source` in the decoded picture's pixels
  cv::Rect view;      // the part of the picture that was asked about, in its pixels

  // Converts a detection from the input's pixels to the picture's. Its box, keypoints and mask are
  // clipped to the view, its corners are not: they would be no rectangle. The box may come to be
  // empty. A coordinate that is not a number stays so.
  Detection ToPicture(Detection in_input) const;
  // Converts a point in the same way, without clipping it.
  Point ToPicture(Point in_input) const;
};

// Places a picture of the given upright size, whose sides are at least 1, by these rules:
//
// Letterbox: LetterboxContent (shared/pictures/letterbox_geometry.h). ToPicture divides by
//   content / picture on each axis, which is where the pixels really went; Ultralytics divides by
//   one ratio for both, which differs by up to half an input pixel over the whole picture.
// Crop, as torchvision's Resize and CenterCrop and so Ultralytics' -cls models: the shorter side
//   fills the input. The centre is cut out of the picture before it is resized, at whole pixels of
//   the picture, so a picture of 1 x 10000 costs no more than any other; torchvision resizes first
//   and cuts at whole pixels of the input.
// Both sides open: r = min(1, max_side / longer side), rounded as above. The input is that, rounded
//   up to multiples of multiple_of; the picture lies at its top left, with grey around it.
// One side open: the picture fills the other one and keeps its shape, until the open side would
//   exceed max_side; then it is squeezed into that. Rounded up as above.
Placement Place(const InputLayout& layout, cv::Size picture);

// Places the part `view` of a picture as if it were a picture of its own. `view` has an area and
// lies within the picture; both are upright.
Placement Place(const InputLayout& layout, cv::Size picture, const cv::Rect& view);

}  // namespace inferpool::vision

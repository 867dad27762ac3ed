// Writes pixels into a model's input: one cv::resize, then one pass that reorders the channels,
// normalises and pads, straight into the tensor.
#pragma once

#include <absl/status/status.h>

#include <cstddef>
#include <opencv2/core/mat.hpp>
#include <span>

#include "worker/vision/families/placement.h"

namespace inferpool::vision {

// Returns the bytes of one picture in an input of the size `input` (Placement::input).
std::size_t RowBytes(const InputLayout& layout, cv::Size input);

// Writes the picture, placed by `placement` (Place(layout, upright size), or what Reduce made of
// it), into `row`, which is RowBytes(layout, placement.input) long and aligned for the datatype.
// `bgr` is CV_8UC3, upright, decoded with placement.reduction.
//
// Interpolation: INTER_LINEAR, as Ultralytics has it. When a crop or an any-size input shrinks the
// picture, it is first halved as often as possible, in place of the antialiasing that torchvision
// has.
//
// Thread safe. INVALID_ARGUMENT: `row` or `bgr` is not as said. RESOURCE_EXHAUSTED: out of memory.
absl::Status WriteInput(const cv::Mat& bgr, const Placement& placement, const InputLayout& layout,
                        std::span<std::byte> row);

}  // namespace inferpool::vision

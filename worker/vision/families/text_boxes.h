// Family text_boxes: finds lines of text in the probability map of a text detector ("differentiable
// binarization", DB: Liao et al., "Real-time Scene Text Detection with Differentiable
// Binarization", 2020).
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <opencv2/core/mat.hpp>
#include <span>
#include <vector>

#include "proto/datatype.h"
#include "worker/vision/families/output_facts.h"
#include "worker/vision/families/placement.h"
#include "worker/vision/families/plan.h"
#include "worker/vision/families/result.h"
#include "worker/vision/families/turned_boxes.h"

namespace inferpool::vision {

// Returns the boxes of the regions of `probabilities`, CV_32FC1, in the map's pixels, of which the
// first one reaches from 0 to 1. A region is its outline; holes in it do not count. A net is
// trained on regions that are smaller than the text, so that neighbours do not touch; hence the
// boxes grow. The confidence is the mean probability within the box before it grew. Boxes of which
// the shorter side is less than 3 pixels, or 5 after it grew, are dropped, as in PaddleOCR. There
// are at most 1,000 boxes, in no particular order.
//
// A box's width is along the text, which is taken to run along the longer side, from left to right,
// or downwards if that side is vertical. A box that is less than 1.5 times longer than wide is
// taken to be turned by at most 45 degrees. So the first of its CornersOf is the top left of the
// text, unless that is upside down.
std::vector<TurnedBox> FindTextBoxes(const cv::Mat& probabilities, const TextBoxLimits& limits);

// For the family table. [1, height, width], as large as the input. A model has to name this family,
// because other maps look the same. These parameters are PaddleOCR's by default (release 2.7,
// tools/infer/utility.py and ppocr/postprocess/db_postprocess.py):
//
// | parameter      | default | a number, of                                                       |
// | -------------- | ------- | ------------------------------------------------------------------ |
// | text_threshold | 0.3     | 0 to 1: a pixel with a higher probability is text                  |
// | box_threshold  | 0.6     | 0 to 1: the least confidence of a box; a request's `confidence` may|
// |                |         | ask for more                                                       |
// | unclip         | 1.5     | 0 to 10: a box grows by area * unclip / perimeter on each side     |
absl::Status PlanTextBoxes(const OutputFacts& facts, ModelPlan& plan);
absl::StatusOr<Result> DetectTextBoxes(const ModelPlan& plan, std::span<const TensorView> outputs,
                                       const Placement& placement, const Options& options);

}  // namespace inferpool::vision

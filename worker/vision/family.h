// From a model's metadata to a plan: what to feed it with and how to read its answer. Pure.
#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <opencv2/core/types.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "proto/model_description.h"
#include "worker/vision/placement.h"

namespace inferpool::vision {

// What a model's outputs mean. Boxes are in the input's pixels unless box_coordinates says else.
enum class Family {
  kYoloV8,    // [4 + classes, anchors]: cx, cy, w, h, a score for each class; also YOLO11
  kYoloV5,    // [anchors, 5 + classes]: cx, cy, w, h, objectness, a score for each class
  kEndToEnd,  // num_dets [1], det_boxes [N, 4] (x1, y1, x2, y2), det_scores [N], det_classes [N]
  kNmsFree,   // [N, 6]: x1, y1, x2, y2, score, class; as YOLOv10
  kClassification,  // [classes]
  kEmbedding,       // [dimensions]
};

// What a model is fed with.
enum class Feed {
  kPixels,  // decoded and placed here, as InputLayout says
  kBytes,   // the picture's file as it came, one BYTES element: the server decodes
  kOctets,  // the same as UINT8 [bytes]
};

enum class Scores { kAuto, kProbabilities, kLogits };

struct Plan {
  std::string input_name;
  Feed feed = Feed::kPixels;
  InputLayout input;  // unless kPixels: where the server puts the pixels, for the boxes' way back
  bool has_batch_dimension = false;  // the input's shape starts with the number of pictures
  Family family = Family::kYoloV8;
  std::size_t classes = 0;  // 0: whatever the answer has
  // The outputs to ask for and to read: one; for kEndToEnd num_dets, det_boxes, det_scores and
  // det_classes, in this order.
  std::vector<std::string> outputs;
  bool normalized_boxes = false;  // boxes are in 0..1 of the input's size
  Scores scores = Scores::kAuto;  // kClassification only
};

// Reads the model's one picture input, its outputs, its class names, and these parameters of its
// config.pbtxt (`parameters { key: "family" value: { string_value: "yolov8" } }`). Others are left
// alone: Triton and its backends have their own.
//
// | parameter       | values                                | default                           |
// | --------------- | ------------------------------------- | --------------------------------- |
// | family          | yolov8, yolov5, end_to_end, nms_free, | by the outputs, see below         |
// |                 | classification, embedding             |                                   |
// | input_size      | 640, or 640x480 (width x height)      | the input's shape; to be given    |
// |                 |                                       | where that is open and not UINT8  |
// | resize          | letterbox, stretch, crop              | letterbox; classification and     |
// |                 |                                       | embedding: crop                   |
// | max_side        | a picture's longer side in pixels,    | 1280                              |
// |                 | for UINT8 inputs of any size          |                                   |
// | channels        | rgb, bgr                              | rgb                               |
// | scale           | factor on the bytes                   | 1/255; none for UINT8             |
// | mean, std       | one number or three with commas, in   | 0 and 1, as Ultralytics' models   |
// |                 | the model's channel order and in      | (-cls too) want it; torchvision's |
// |                 | units after `scale`                   | want theirs set                   |
// | box_coordinates | pixel, normalized (0..1 of the input) | pixel                             |
// | scores          | auto, probabilities, logits; of a     | auto: logits unless all are in    |
// |                 | classification                        | 0..1 and add up to 1              |
//
// The input is FP32, FP16 or UINT8, [3, height, width] or [height, width, 3]; or it takes the
// picture's file: BYTES [1], or UINT8 [-1]. Then input_size and resize say how the server places
// the picture, so that boxes find their way back; without input_size boxes are in the picture's own
// pixels, upright. max_batch_size > 0
// puts a batch before every shape; so does a leading 1 or -1 on an input of four dimensions
// otherwise. The family, when not given:
// 1. outputs named num_dets, det_boxes, det_scores and det_classes: end_to_end;
// 2. the one output of two dimensions (of several, the others being masks or the like):
//    [N <= 1000, 6] is nms_free, and so is [-1, 6] with several class names; 4 + class names first
//    is yolov8; 5 + class names last is yolov5; without class names the longer dimension, or the
//    one of -1, is the anchors';
// 3. the one output of one dimension: embedding when its name contains "embed" or "feature",
//    otherwise classification.
// Lengths of -1 are settled by the class names, or by the answer where the family is given.
//
// FAILED_PRECONDITION: cannot be served as it is described; the text says what to put in
// config.pbtxt.
absl::StatusOr<Plan> MakePlan(const ModelDescription& model);

// The shape of one picture's row in the input tensor, without a batch dimension: of pixels of
// Placement::input's size, or of a file of `file_bytes`.
std::vector<std::int64_t> RowShape(const Plan& plan, cv::Size input, std::size_t file_bytes);

// "FP32", "FP16", "UINT8".
std::string_view Name(Datatype datatype);

// The input tensor's datatype on the wire.
std::string_view WireDatatype(const Plan& plan);

// As parameter `family` has it.
std::string_view Name(Family family);

}  // namespace inferpool::vision

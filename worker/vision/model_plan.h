// Makes a plan from a model's metadata: how to fill its input and how to read its outputs. Pure.
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

// The meaning of a model's outputs. Boxes are in the input's pixels unless box_coordinates says
// otherwise.
enum class Family {
  kYoloV8,    // [4 + classes, anchors]: cx, cy, w, h, a score for each class; also YOLO11
  kYoloV5,    // [anchors, 5 + classes]: cx, cy, w, h, objectness, a score for each class
  kEndToEnd,  // num_dets [1], det_boxes [N, 4] (x1, y1, x2, y2), det_scores [N], det_classes [N]
  kNmsFree,   // [N, 6]: x1, y1, x2, y2, score, class; as YOLOv10
  kClassification,  // [classes]
  kEmbedding,       // [dimensions]
};

// The form in which a model takes its picture.
enum class InputKind {
  kPixels,     // pixels that the worker decodes and places, as InputLayout says
  kFile,       // the picture's file as one BYTES element: the server decodes it
  kFileBytes,  // the picture's file as UINT8 [bytes]: the server decodes it
};

enum class Scores { kAuto, kProbabilities, kLogits };

struct ModelPlan {
  std::string input_name;
  InputKind input_kind = InputKind::kPixels;
  InputLayout input;  // for the kinds of file: how the server places the pixels, to map boxes back
  bool has_batch_dimension = false;  // the input's shape starts with the number of pictures
  Family family = Family::kYoloV8;
  std::size_t classes = 0;  // 0: as many as the answer has
  // The names of the outputs to ask for and to read. There is one; kEndToEnd has num_dets,
  // det_boxes, det_scores and det_classes, in this order.
  std::vector<std::string> outputs;
  bool normalized_boxes = false;  // boxes are in 0..1 of the input's size
  Scores scores = Scores::kAuto;  // kClassification only
};

// Reads the model's one picture input, its outputs, its class names, and these parameters of its
// config.pbtxt (`parameters { key: "family" value: { string_value: "yolov8" } }`). It ignores other
// parameters, because Triton and its backends have their own.
//
// | parameter       | values                                | default                           |
// | --------------- | ------------------------------------- | --------------------------------- |
// | family          | yolov8, yolov5, end_to_end, nms_free, | by the outputs, see below         |
// |                 | classification, embedding             |                                   |
// | input_size      | 640, or 640x480 (width x height)      | the input's shape; where that is  |
// |                 |                                       | open and not UINT8, this or       |
// |                 |                                       | multiple_of is to be given        |
// | multiple_of     | open sides are rounded up to multi-   | 1, for UINT8 inputs of any size   |
// |                 | ples of so many pixels (placement.h)  |                                   |
// | resize          | letterbox, stretch, crop              | letterbox; classification and     |
// |                 |                                       | embedding: crop                   |
// | max_side        | the most pixels of an open side, a    | 1280                              |
// |                 | multiple of multiple_of               |                                   |
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
// pixels, upright. max_batch_size > 0 puts a batch before every shape; so does, without it, a
// leading 1 or -1 on an input of four dimensions. The family, when not given:
// 1. outputs named num_dets, det_boxes, det_scores and det_classes: end_to_end;
// 2. the one output of two dimensions (of several, the others being masks or the like):
//    [N <= 1000, 6] is nms_free, and so is [-1, 6] with several class names; 4 + class names first
//    is yolov8; 5 + class names last is yolov5; without class names the longer dimension, or the
//    one of -1, is the anchors';
// 3. the one output of one dimension: embedding when its name contains "embed" or "feature",
//    otherwise classification.
// The class names decide lengths of -1, or the answer does where the family is given.
//
// FAILED_PRECONDITION: the model as described cannot be served; the text says what to write in
// config.pbtxt.
absl::StatusOr<ModelPlan> MakePlan(const ModelDescription& model);

// Returns the shape of one picture's row in the input tensor, without a batch dimension: for pixels
// of the size `input` (Placement::input), or for a file of `file_bytes`.
std::vector<std::int64_t> RowShape(const ModelPlan& plan, cv::Size input, std::size_t file_bytes);

// "FP32", "FP16", "UINT8".
std::string_view Name(Datatype datatype);

// Returns the input tensor's datatype on the wire.
std::string_view WireDatatype(const ModelPlan& plan);

// Returns the value of the parameter `family` for it.
std::string_view Name(Family family);

}  // namespace inferpool::vision

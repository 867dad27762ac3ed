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
#include "worker/vision/families/family_table.h"

namespace inferpool::vision {

// Reads the model's one picture input, its outputs, its class names, and these parameters of its
// config.pbtxt (`parameters { key: "family" value: { string_value: "yolov8" } }`). It ignores other
// parameters, because Triton and its backends have their own.
//
// | parameter       | values                                | default                           |
// | --------------- | ------------------------------------- | --------------------------------- |
// | family          | a name of families/family_table.cc     | by metadata, names and outputs    |
// | input_size      | 640, or 640x480 (width x height)      | the input's shape; where that is  |
// |                 |                                       | open and not UINT8, this or       |
// |                 |                                       | multiple_of is to be given        |
// | multiple_of     | open sides are rounded up to multi-   | 1, for UINT8 inputs of any size   |
// |                 | ples of so many pixels (placement.h)  |                                   |
// | resize          | letterbox, stretch, crop              | letterbox; classification and     |
// |                 |                                       | embedding: crop; rt_detr: stretch |
// | max_side        | the most pixels of an open side, a    | 1280                              |
// |                 | multiple of multiple_of               |                                   |
// | channels        | rgb, bgr                              | rgb; yolox: bgr                   |
// | scale           | factor on the bytes                   | 1/255; yolox: 1; none for UINT8   |
// | mean, std       | one number or three with commas, in   | 0 and 1, as Ultralytics' models   |
// |                 | the model's channel order and in      | (-cls too) want it; torchvision's |
// |                 | units after `scale`                   | want theirs set                   |
// | box_coordinates | pixel, normalized (0..1 of the input) | pixel; rt_detr and TensorFlow's   |
// |                 |                                       | ssd: normalized                   |
// | scores          | auto, probabilities, logits,          | auto: see families/               |
// |                 | multi_label_logits; of a              | classification.h                  |
// |                 | classification                        |                                   |
// | task, head,     | as Ultralytics' metadata has them     | the metadata in the model's file, |
// | end2end,        |                                       | which our model server puts there |
// | kpt_shape       |                                       |                                   |
// | first_class     | the number that an ssd has for its    | see families/ssd.h                |
// |                 | first class                           |                                   |
//
// The input is FP32, FP16 or UINT8, [3, height, width] or [height, width, 3]; or it takes the
// picture's file: BYTES [1], or UINT8 [-1]. Then input_size and resize say how the server places
// the picture, so that boxes find their way back; without input_size boxes are in the picture's own
// pixels, upright. max_batch_size > 0 puts a batch before every shape; so does, without it, a
// leading 1 or -1 on an input of four dimensions.
//
// The family, when not given, is the only one of the table that claims the model (`claims`): by the
// metadata's task and end2end, the number of class names, names and number of the outputs, and last
// by their shapes: without class names a table is a YOLO's only if it has as many anchors as the
// input's size gives. A model that several claim, or none, is unusable, and so is one whose outputs
// do not fit the family that was given, or whose numbers turn out not to (postprocess.h).
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

}  // namespace inferpool::vision

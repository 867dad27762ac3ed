// How a model is fed and how its outputs are read.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "worker/vision/families/placement.h"

namespace inferpool::vision {

// The meaning of a model's outputs. family_table.h has a row for each, with its name, its outputs
// and its decoder.
enum class Family {
  kYoloV8,
  kYoloV8Segment,
  kYoloV8Pose,
  kYoloV8Obb,
  kYoloV5,
  kYolox,
  kRtDetr,
  kEndToEnd,
  kSsd,
  kNmsFree,
  kSegmentNmsFree,
  kPoseNmsFree,
  kObbNmsFree,
  kTextBoxes,
  kTextLine,
  kClassification,
  kEmbedding,
};

// The form in which a model takes its picture.
enum class InputKind {
  kPixels,     // pixels that the worker decodes and places, as InputLayout says
  kFile,       // the picture's file as one BYTES element: the server decodes it
  kFileBytes,  // the picture's file as UINT8 [bytes]: the server decodes it
};

enum class Scores { kAuto, kProbabilities, kLogits, kMultiLabelLogits };

// See text_boxes.h.
struct TextBoxLimits {
  float text_threshold = 0.3F;
  float box_threshold = 0.6F;
  float unclip = 1.5F;
};

struct ModelPlan {
  std::string input_name;
  InputKind input_kind = InputKind::kPixels;
  InputLayout input;  // for the kinds of file: how the server places the pixels, to map boxes back
  bool has_batch_dimension = false;  // the input's shape starts with the number of pictures
  Family family = Family::kYoloV8;
  std::size_t classes = 0;  // 0: as many as the answer has
  // The names of the outputs to ask for and to read, in the order in which the family's decoder
  // wants them.
  std::vector<std::string> outputs;
  bool normalized_boxes = false;  // boxes are in 0..1 of the input's size
  Scores scores = Scores::kAuto;  // kClassification and kTextLine only
  // Nothing but its shape tells the family: the decoder also looks whether there are as many
  // anchors as the input's size gives, or whether a vector has probabilities.
  bool told_by_shape = false;
  bool family_named = false;            // by the parameter `family`
  std::size_t keypoints = 0;            // of the pose families
  std::size_t keypoint_values = 3;      // 3: x, y, confidence; 2: x, y
  bool corners_y_first = false;         // kSsd: boxes are y1, x1, y2, x2
  int first_class = 0;                  // kSsd: the number that stands for the first class
  TextBoxLimits text_boxes;             // kTextBoxes
  std::vector<std::string> dictionary;  // kTextLine: the characters
};

}  // namespace inferpool::vision

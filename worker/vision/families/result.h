// What is read from a model's outputs: detections, lines of text, classes or an embedding.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "worker/vision/families/detection.h"

namespace inferpool::vision {

struct Options {
  float confidence = 0.25F;          // detections must be more confident
  float iou = 0.45F;                 // overlap above which the raw families' boxes are one object
  std::size_t max_detections = 300;  // the most confident
  std::size_t top_k = 5;             // classes of a classification
  // The classes that are wanted: what the model takes for another one is dropped. nullopt: all.
  std::optional<std::set<int>> classes = {};
  // What stands for `confidence` in some classes.
  std::map<int, float> class_confidence = {};
  // Boxes of different classes may be one object, too, also in families that suppress themselves.
  bool class_agnostic = false;

  bool Wants(int class_id) const { return !classes || classes->contains(class_id); }

  // The threshold of a class that is wanted.
  float ConfidenceOf(int class_id) const;

  // The least threshold of any class that is wanted: what is not more confident is nothing.
  float LeastConfidence() const;
};

struct ClassScore {
  int class_id = 0;
  float confidence = 0;  // a probability
};

// Most probable first, equal ones by class id; at most Options::top_k of Options::classes. No
// threshold is applied.
struct Classification {
  std::vector<ClassScore> scores;
};

// The model's values, not normalised.
struct Embedding {
  std::vector<float> values;
};

struct TextLine {
  std::string text;      // UTF-8; empty when nothing is written there
  float confidence = 0;  // 0 to 1; 0 when the text is empty
};

using TextLines = std::vector<TextLine>;

using Result = std::variant<Detections, TextLines, Classification, Embedding>;

}  // namespace inferpool::vision

// An answer about a camera's frame, as it stands in its shard's stream of results, and what was
// found. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inferpool::rules {

struct Box {
  double x1 = 0;
  double y1 = 0;
  double x2 = 0;
  double y2 = 0;
};

// A detection, or a class of the whole picture.
struct Finding {
  std::string class_name;
  double confidence = 0;
  std::optional<Box> box = {};  // as shares of the picture's sides
};

// All times are Unix milliseconds.
struct Answer {
  std::string entry = {};  // its id
  std::int64_t at_ms = 0;  // when it was stored, by Redis' clock
  std::string camera = {};
  std::string frame = {};  // the id of the frame's entry
  std::string seq = {};    // digits, or empty
  std::int64_t captured_ms = 0;
  std::int64_t answered_ms = 0;
  std::string json = {};  // as /v1/predict answers
};

using Field = std::pair<std::string_view, std::string_view>;

// The answer that the entry's fields are; nullopt for one that names no camera or in which nothing
// can have been found: a problem, a still frame.
std::optional<Answer> ParseAnswer(std::string_view entry, std::span<const Field> fields);

// What was found, without what a pipeline's further steps found in it. Nothing when the text is not
// an answer. Boxes may be in pixels or normalized: in an answer whose boxes all end within the
// first two pixels they are normalized.
std::vector<Finding> FindingsOf(std::string_view json);

}  // namespace inferpool::rules

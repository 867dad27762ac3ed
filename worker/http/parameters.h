// The parameters of a prediction.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "shared/config/config.h"
#include "worker/http/output.h"
#include "worker/http/problem.h"

namespace inferpool::http {

// A part of a picture, in the unit that PredictParameters::normalized says. The first corner is
// above and to the left of the second one. It may reach beyond the picture.
struct Region {
  double x1;
  double y1;
  double x2;
  double y2;

  bool operator==(const Region&) const = default;
};

// How many tiles a picture is cut into, across and down.
struct TileCount {
  int columns = 0;  // 0, and so are the rows: as many as the picture and the model ask for
  int rows = 0;

  bool operator==(const TileCount&) const = default;
};

struct PredictParameters {
  double confidence;
  double iou;
  int max_detections;
  bool normalized = false;         // coordinates from 0 to 1 instead of pixels
  std::optional<Output> render;    // the form of the answer; nullopt: the Accept header says it
  std::optional<Region> roi = {};  // only this part of the picture is looked at; nullopt: all of it
  // The classes that are wanted, with commas between them, as the request names them; empty: all.
  std::string classes = {};
  // Thresholds of classes that have their own, by the class as the request names it.
  std::map<std::string, double> class_confidence = {};
  bool class_agnostic = false;          // boxes of different classes suppress each other, too
  std::optional<TileCount> tiles = {};  // nullopt: the picture is looked at as a whole only
  double tile_overlap = 0.2;            // the share of a tile that its neighbour has, too
};

// A list of classes has at most so many bytes, and so many classes have a threshold of their own.
inline constexpr std::size_t kMaxClassesBytes = 16'384;
inline constexpr std::size_t kMaxClassThresholds = 256;

// A field of a form that is no picture.
struct FormField {
  std::string name;
  std::string_view value;
};

// Parses `query`, which is what follows '?', percent-encoded, and the `fields` of a form, whose
// values stand there as they are. Parameters that neither names have the values of `defaults`. A
// parameter that is unknown, given twice (also with the same value) or out of its range is a
// Problem.
std::variant<PredictParameters, Problem> ParseParameters(std::string_view query,
                                                         std::span<const FormField> fields,
                                                         const Config::Predict& defaults);

// Decodes percent-encoding (RFC 3986). A '%' that two hexadecimal digits do not follow stays.
std::string PercentDecode(std::string_view text);

}  // namespace inferpool::http

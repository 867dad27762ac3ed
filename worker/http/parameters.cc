#include "worker/http/parameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <optional>
#include <set>

#include "shared/base/utf8.h"

namespace inferpool::http {
namespace {

template <typename Number>
std::optional<Number> Parse(std::string_view text, Number min, Number max) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (!(number >= min && number <= max)) return std::nullopt;  // also NaN
  return number;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// A name or value of a query, where '+' is a blank (application/x-www-form-urlencoded).
std::string DecodeForm(std::string_view text) {
  std::string blanks(text);
  std::ranges::replace(blanks, '+', ' ');
  return PercentDecode(blanks);
}

// Four numbers with commas between them, of which the last two are above the first two.
std::optional<Region> ParseRegion(std::string_view text) {
  constexpr double kFar = 1e6;
  std::array<double, 4> edges{};
  for (double& edge : edges) {
    const bool last = &edge == &edges.back();
    const std::size_t comma = text.find(',');
    if ((comma == std::string_view::npos) != last) return std::nullopt;
    const auto number = Parse<double>(text.substr(0, comma), -kFar, kFar);
    if (!number) return std::nullopt;
    edge = *number;
    if (!last) text.remove_prefix(comma + 1);
  }
  const Region region{edges[0], edges[1], edges[2], edges[3]};
  if (region.x2 <= region.x1 || region.y2 <= region.y1) return std::nullopt;
  return region;
}

// "auto", or columns and rows such as "4x3", `most` of them at most.
std::optional<TileCount> ParseTiles(std::string_view text, int most) {
  if (text == "auto") return TileCount();
  const std::size_t cross = text.find('x');
  if (cross == std::string_view::npos) return std::nullopt;
  const auto columns = Parse<int>(text.substr(0, cross), 1, most);
  const auto rows = Parse<int>(text.substr(cross + 1), 1, most);
  if (!columns || !rows || *columns * *rows > most) return std::nullopt;
  return TileCount{*columns, *rows};
}

constexpr std::string_view kClassConfidence = "confidence.";

constexpr double kMaxTileOverlap = 0.5;

// What says which part of the picture is looked at and which things are wanted; otherwise as
// Assign.
std::optional<std::string> AssignView(std::string_view name, std::string_view value, int max_tiles,
                                      PredictParameters& parameters) {
  if (name == "roi") {
    parameters.roi = ParseRegion(value);
    if (!parameters.roi) {
      return "x1,y1,x2,y2: four numbers with commas between them, x2 above x1 and y2 above y1";
    }
  } else if (name == "classes") {
    if (value.empty() || value.size() > kMaxClassesBytes) {
      return fmt::format("names or numbers of classes with commas between them, {} bytes at most",
                         kMaxClassesBytes);
    }
    parameters.classes = value;
  } else if (name.starts_with(kClassConfidence)) {
    const auto number = Parse<double>(value, 0, 1);
    if (!number) return "a number from 0 to 1";
    parameters.class_confidence[std::string(name.substr(kClassConfidence.size()))] = *number;
    if (parameters.class_confidence.size() > kMaxClassThresholds) {
      return fmt::format("such a threshold for {} classes at most", kMaxClassThresholds);
    }
  } else if (name == "class_agnostic") {
    if (value != "true" && value != "false") return "true or false";
    parameters.class_agnostic = value == "true";
  } else if (name == "tiles") {
    parameters.tiles = ParseTiles(value, max_tiles);
    if (!parameters.tiles) {
      return fmt::format("auto, or columns and rows such as 4x3, {} tiles at most", max_tiles);
    }
  } else if (name == "tile_overlap") {
    const auto number = Parse<double>(value, 0, kMaxTileOverlap);
    if (!number) return fmt::format("a number from 0 to {}", kMaxTileOverlap);
    parameters.tile_overlap = *number;
  } else {
    return "";
  }
  return std::nullopt;
}

// Puts the value where it belongs; otherwise what is allowed, which is empty for a name that is no
// parameter.
std::optional<std::string> Assign(std::string_view name, std::string_view value,
                                  const Config::Predict& defaults, PredictParameters& parameters) {
  if (name == "confidence" || name == "iou") {
    const auto number = Parse<double>(value, 0, 1);
    if (!number) return "a number from 0 to 1";
    (name == "iou" ? parameters.iou : parameters.confidence) = *number;
  } else if (name == "max_detections") {
    const auto number = Parse<int>(value, 1, defaults.max_detections);
    if (!number) return fmt::format("a whole number from 1 to {}", defaults.max_detections);
    parameters.max_detections = *number;
  } else if (name == "coordinates") {
    if (value != "pixel" && value != "normalized") return "pixel or normalized";
    parameters.normalized = value == "normalized";
  } else if (name == "render") {
    if (value == "json") {
      parameters.render = Output::kJson;
    } else if (value == "jpeg" || value == "jpg") {
      parameters.render = Output::kJpeg;
    } else if (value == "png") {
      parameters.render = Output::kPng;
    } else {
      return "json, jpeg or png";
    }
  } else {
    return AssignView(name, value, defaults.tiles, parameters);
  }
  return std::nullopt;
}

class ParameterReader {
 public:
  explicit ParameterReader(const Config::Predict& defaults)
      : defaults_(defaults),
        parameters_{.confidence = defaults.confidence,
                    .iou = defaults.iou,
                    .max_detections = defaults.max_detections,
                    .render = {}} {}

  std::optional<Problem> Take(const std::string& name, std::string_view value) {
    if (!seen_.insert(name).second) {
      return BadParameter(name, fmt::format("{} is given twice", name));
    }
    const auto allowed = Assign(name, value, defaults_, parameters_);
    if (!allowed) return std::nullopt;
    if (allowed->empty()) {
      return BadParameter(
          name, fmt::format("{} is no parameter; there are confidence, iou, max_detections, "
                            "coordinates, render, roi, classes, confidence.CLASS, class_agnostic, "
                            "tiles and tile_overlap",
                            name));
    }
    constexpr std::size_t kMaxShown = 200;  // a form's may be as long as the whole body
    return BadParameter(name, fmt::format("{} is \"{}\", allowed is {}", name,
                                          Utf8Text(value, kMaxShown), *allowed));
  }

  const PredictParameters& parameters() const { return parameters_; }

 private:
  const Config::Predict& defaults_;
  PredictParameters parameters_;
  std::set<std::string> seen_;
};

}  // namespace

std::string PercentDecode(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 &&
        HexDigit(text[i + 2]) >= 0) {
      decoded += static_cast<char>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2]));
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

std::variant<PredictParameters, Problem> ParseParameters(std::string_view query,
                                                         std::span<const FormField> fields,
                                                         const Config::Predict& defaults) {
  ParameterReader reader(defaults);
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    const std::string value = DecodeForm(pair.substr(std::min(equals + 1, pair.size())));
    if (auto problem = reader.Take(DecodeForm(pair.substr(0, equals)), value)) return *problem;
  }
  for (const FormField& field : fields) {
    if (auto problem = reader.Take(field.name, field.value)) return *problem;
  }
  return reader.parameters();
}

}  // namespace inferpool::http

#include "worker/http/parameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
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

// Puts the value where it belongs; otherwise what is allowed.
std::optional<std::string> Assign(std::string_view name, std::string_view value, int max_detections,
                                  PredictParameters& parameters) {
  if (name == "confidence" || name == "iou") {
    const auto number = Parse<double>(value, 0, 1);
    if (!number) return "a number from 0 to 1";
    (name == "iou" ? parameters.iou : parameters.confidence) = *number;
  } else if (name == "max_detections") {
    const auto number = Parse<int>(value, 1, max_detections);
    if (!number) return fmt::format("a whole number from 1 to {}", max_detections);
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
    return "";
  }
  return std::nullopt;
}

class ParameterReader {
 public:
  explicit ParameterReader(const Config::Predict& defaults)
      : max_detections_(defaults.max_detections),
        parameters_{.confidence = defaults.confidence,
                    .iou = defaults.iou,
                    .max_detections = defaults.max_detections,
                    .render = {}} {}

  std::optional<Problem> Take(const std::string& name, std::string_view value) {
    if (!seen_.insert(name).second) {
      return BadParameter(name, fmt::format("{} is given twice", name));
    }
    const auto allowed = Assign(name, value, max_detections_, parameters_);
    if (!allowed) return std::nullopt;
    if (allowed->empty()) {
      return BadParameter(name, fmt::format("{} is no parameter; there are confidence, iou, "
                                            "max_detections, coordinates and render",
                                            name));
    }
    constexpr std::size_t kMaxShown = 200;  // a form's may be as long as the whole body
    return BadParameter(name, fmt::format("{} is \"{}\", allowed is {}", name,
                                          Utf8Text(value, kMaxShown), *allowed));
  }

  const PredictParameters& parameters() const { return parameters_; }

 private:
  const int max_detections_;
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

// The parameters of a prediction.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "shared/config/config.h"
#include "worker/http/output.h"
#include "worker/http/problem.h"

namespace inferpool::http {

struct PredictParameters {
  double confidence;
  double iou;
  int max_detections;
  bool normalized = false;       // coordinates from 0 to 1 instead of pixels
  std::optional<Output> render;  // the form of the answer; nullopt: the Accept header says it
};

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

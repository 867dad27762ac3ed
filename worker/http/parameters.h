// The query parameters of a prediction.
#pragma once

#include <optional>
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

// Parses `query`, which is what follows '?', percent-encoded. Parameters that it does not name have
// the values of `defaults`. A parameter that is unknown, named twice or out of its range is a
// Problem.
std::variant<PredictParameters, Problem> ParseParameters(std::string_view query,
                                                         const Config::Predict& defaults);

// Decodes percent-encoding (RFC 3986). A '%' that two hexadecimal digits do not follow stays.
std::string PercentDecode(std::string_view text);

}  // namespace inferpool::http

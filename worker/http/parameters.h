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
  bool normalized = false;       // coordinates=normalized: 0 to 1 instead of pixels
  std::optional<Output> render;  // as which the answer is asked for
};

// Parses `query` (what follows '?', percent-encoded). `defaults` fills what it does not name.
// A parameter that is unknown, named twice or out of its range is a Problem.
std::variant<PredictParameters, Problem> ParseParameters(std::string_view query,
                                                         const Config::Predict& defaults);

// Undoes percent-encoding (RFC 3986). A '%' without two hexadecimal digits stays.
std::string PercentDecode(std::string_view text);

}  // namespace inferpool::http

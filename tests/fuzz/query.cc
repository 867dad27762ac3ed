// Query parameters, and the problems that name them.
#include <fmt/format.h>

#include <string>
#include <variant>

#include "shared/base/strict_json.h"
#include "shared/base/utf8.h"
#include "tests/fuzz/check.h"
#include "worker/http/parameters.h"
#include "worker/http/problem.h"

using namespace inferpool;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view query = fuzz::Text(data, size);
  const auto parsed = http::ParseParameters(query, {}, Config::Predict());
  if (const auto* parameters = std::get_if<http::PredictParameters>(&parsed)) {
    HOLDS(parameters->confidence >= 0 && parameters->confidence <= 1);
    HOLDS(parameters->iou >= 0 && parameters->iou <= 1);
    HOLDS(parameters->max_detections >= 1 && parameters->max_detections <= 300);
    HOLDS(parameters->classes.size() <= http::kMaxClassesBytes);
    HOLDS(parameters->class_confidence.size() <= http::kMaxClassThresholds);
    HOLDS(parameters->tile_overlap >= 0 && parameters->tile_overlap <= 0.5);
    if (const auto& tiles = parameters->tiles; tiles && *tiles != http::TileCount()) {
      HOLDS(tiles->columns >= 1 && tiles->rows >= 1 && tiles->columns * tiles->rows <= 64);
    }
    if (const auto& roi = parameters->roi) HOLDS(roi->x1 < roi->x2 && roi->y1 < roi->y2);
    // Each counts once.
    if (query.find_first_not_of('&') != std::string_view::npos) {
      const auto twice =
          http::ParseParameters(fmt::format("{0}&{0}", query), {}, Config::Predict());
      HOLDS(std::holds_alternative<http::Problem>(twice));
    }
  } else {
    const auto& problem = std::get<http::Problem>(parsed);
    HOLDS(problem.status == 400 && problem.code == "bad-parameter" && !problem.detail.empty());
    // Whatever the client wrote, the answer is JSON, and says no more than it should.
    const fcgi::Response response =
        http::Render(problem, http::ProblemForm::kProblemJson, "id", "");
    const auto json = ReadStrictJson(response.body, 1, 100);
    HOLDS(json.ok() && json->isObject());
    HOLDS((*json)["status"] == 400 && (*json)["request_id"] == "id");
    HOLDS(json->size() == (problem.parameter.empty() ? 6U : 7U));
    HOLDS(IsUtf8(response.body));
    for (const auto& [name, value] : response.headers) {
      HOLDS(value.find_first_of("\r\n") == std::string::npos);
    }
  }

  std::string encoded;
  for (const char c : query) encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  HOLDS(http::PercentDecode(encoded) == query);
  return 0;
}

// POST /v1/analyze: one picture, several models and pipelines.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "worker/http/exchange.h"
#include "worker/http/parameters.h"
#include "worker/http/problem.h"

namespace inferpool::analyze {

// Opens and decodes the picture once and asks the models side by side, in the calling thread and in
// as many spare ones as there are. What is wrong with the picture or the parameters is wrong with
// the request; otherwise the status is 200, and each model's part of the answer has a status of its
// own. The stages' times are the sums over all models.
//
// The parameter `models` names them, with commas between; without it they are those of the
// configuration's `analyze` that there are and that the request's key may use.
fcgi::Response Analyze(http::Exchange& exchange, const http::Services& services);

// A query or a form without the parameter `models`, which stands beside it.
struct Wanted {
  std::optional<std::string> models;
  std::string query;
  std::vector<http::FormField> fields;
};

// Takes the parameter `models` out. A problem when it is given twice. Pure.
std::variant<Wanted, http::Problem> TakeModels(std::string_view query,
                                               const std::vector<http::FormField>& fields);

// The names of a list with commas. A problem when there is none, or one twice, or there are too
// many. Pure.
std::variant<std::vector<std::string>, http::Problem> SplitModels(std::string_view list);

}  // namespace inferpool::analyze

// GET /v1/models and /v1/models/{model}: the models that the model servers have ready, and those
// that the configuration names.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "worker/backend/catalog.h"
#include "worker/http/exchange.h"

namespace inferpool::predict {

// Lists the models that the request's key may use and that a path can name, and then the pipelines
// of which it may use all models. One that cannot be described, or asked, is in the list with the
// reason; the pipelines that are there by default only where their models are.
fcgi::Response ListModels(http::Exchange& exchange, const http::Services& services);

// Describes the model that the path names; for a route what it leads to.
fcgi::Response DescribeModel(http::Exchange& exchange, const http::Services& services);

// {"name":"faces","version":"1","family":"end_to_end","max_batch_size":0,"inputs":[...],
//  "outputs":[...],"class_names":[...]}; `family` is null, with the reason in "unusable", for a
// model whose predictions this API cannot serve. "useful_side" is the longer side, in pixels, of
// the smallest picture of which the model sees as much as of a larger one; absent where that
// depends on the picture. Where there are several model servers, "servers" has those that have it.
// `name` and `route` are a route's: its name, and in "route" where it leads.
std::string ToJson(const backend::Model& model, const std::vector<std::string>& servers = {});
std::string ToJson(const backend::Model& model, const std::vector<std::string>& servers,
                   const std::string& name, const Config::Route& route);

}  // namespace inferpool::predict

// What the configuration says of pipelines (shared/config/pipelines_key.h), and what clients are
// told of them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "shared/config/config.h"
#include "worker/http/exchange.h"
#include "worker/http/problem.h"

namespace inferpool::predict {

// The configuration's pipeline of this name; null when there is none.
const Config::Step* FindPipeline(const Config& config, const std::string& name);

// The models that it asks, each once, in the order of the configuration.
std::vector<std::string> ModelsOf(const Config::Step& pipeline);

// What a name leads to in a list of models and in a pipeline, as in a path: a model, perhaps a
// version of it, or of a route's ways the first one that has a server to be asked. nullopt when a
// route hides the model.
std::optional<backend::ModelVersion> ModelFor(const http::Exchange& exchange,
                                              const http::Services& services,
                                              const std::string& name);

// The model that the name leads to, which can be asked now; or why not.
std::variant<std::shared_ptr<const backend::Model>, http::Problem> FindModel(
    const http::Exchange& exchange, const http::Services& services, const std::string& name);

// The problem to answer with when the request's key may not use one of the pipeline's models;
// nullopt otherwise. The pipeline's own name is looked at by the router.
std::optional<http::Problem> CheckKey(const http::Exchange& exchange,
                                      const http::Services& services, const std::string& name,
                                      const Config::Step& pipeline);

// {"name":"plates","version":"","family":"pipeline",...,"class_names":[...],"steps":{...}}, as that
// of a model; the class names are those of the first model, the steps as in the configuration.
// `family` is null, with the reason in "unusable", while one of its models cannot be asked. Waits
// for each model's description until `deadline`.
std::string DescribePipeline(const http::Exchange& exchange, const http::Services& services,
                             const std::string& name, const Config::Step& pipeline,
                             Deadline deadline);

}  // namespace inferpool::predict

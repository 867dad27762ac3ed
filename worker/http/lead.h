// From the name in a request's path to the model that answers it.
//
// A name is a route's, which hides all versions of the model of its name, or a model's. Under /v1
// "yolo@4" is the version 4 of yolo.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fcgi/wire/request.h"
#include "shared/base/deadline.h"
#include "shared/config/config.h"
#include "worker/backend/rpc/model_directory.h"
#include "worker/routes/resolve.h"

namespace inferpool::http {

struct Exchange;
struct Report;
struct Services;

// What a name leads to.
struct Lead {
  std::string name;  // what a key must allow: the route's name, or the model's without its version
  std::shared_ptr<const Config::Routes> routes = nullptr;  // null: the name is no route's
  // The models that may answer, best first; empty when a route hides the one that was asked for.
  std::vector<routes::Way> ways = {};

  bool is_route() const { return routes != nullptr; }
  const Config::Route& route() const { return routes->at(name); }
};

// `names_versions`: an '@' parts a version from the model's name.
Lead LeadOf(const Exchange& exchange, const Services& services, const std::string& name,
            bool names_versions);

// Answers by the first of the exchange's ways whose model can be asked: whose servers' breakers are
// not all open, and that took less time lately than is left (the time of nine of ten requests of
// the last minute). When its server turns out to be away (Exchange::model_away), or there is no
// such canary, the next one is asked. The last one is asked in any case. Counts each try by route,
// variant and version.
fcgi::Response AnswerByLead(
    Exchange& exchange, const Services& services,
    const std::function<fcgi::Response(const backend::ModelVersion& model)>& answer);

// Counts what a model has answered that a list of models or a pipeline names, by the route that the
// name is; nothing when it is none, or does not lead to that model any more. `status`: as of a
// request for this model alone.
void CountByRoute(const Exchange& exchange, const Services& services, const std::string& name,
                  const backend::ModelVersion& model, const Report& report, int status,
                  Clock::duration took);

// The member of a JSON answer that says which route was asked and how it was answered, with a comma
// before it: ,"route":{"name":"objects","variant":"canary"}. Empty when a model was asked.
std::string RouteMember(const Exchange& exchange);

// The same for the header X-Inferpool-Route: objects; variant=canary. What is no token in the name
// is percent-encoded. Empty when a model was asked.
std::string RouteHeader(const Exchange& exchange);

}  // namespace inferpool::http

// The value of the key `routes`: names for clients in front of models.
//
//   "routes": {"objects": {"model": "yolo", "version": 3,
//                          "canary": {"model": "yolo", "version": 4, "percent": 5, "by": "key"},
//                          "shadow": {"model": "rtdetr", "percent": 20},
//                          "fallback": "objects_small"}}
//
// A model is one of the model servers', by its own name. Without a version the server chooses. The
// fallback is another route, or a model, "yolo@2" for a version of it; fallbacks form no circle.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shared/config/config.h"
#include "shared/config/member_problem.h"

namespace Json {
class Value;
}

namespace inferpool {

// Reads an object, and reports all that is wrong with it.
std::vector<MemberProblem> ReadRoutes(const Json::Value& object, Config::Routes& routes);

// Returns them as JSON, each member that was not given left out.
std::string ToJson(const Config::Routes& routes);
std::string ToJson(const Config::Route& route);

// Differs between two configurations with different routes, and is the same on all machines.
std::uint64_t DigestOf(const Config::Routes& routes);

}  // namespace inferpool

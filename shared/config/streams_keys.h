// The values of the keys `streams.cameras` and `streams.fields`.
//
//   "streams": {"cameras": {"door-3": {"model": "objects", "parameters": "confidence=0.4",
//                                      "policy": "latest", "max_age_ms": 2000, "rate": 5,
//                                      "priority": "high"}},
//               "fields": {"picture": "image", "time": "captured_ms"}}
//
// A member of a camera that is not given is as `streams` says, or has no bound.
#pragma once

#include <string>
#include <vector>

#include "shared/config/config.h"
#include "shared/config/member_problem.h"

namespace Json {
class Value;
}

namespace inferpool {

// Read an object.
std::vector<MemberProblem> ReadCameras(const Json::Value& object, Config::Cameras& cameras);
std::vector<MemberProblem> ReadFields(const Json::Value& object, Config::Fields& fields);

// Return them as JSON.
std::string ToJson(const Config::Cameras& cameras);
std::string ToJson(const Config::Fields& fields);

}  // namespace inferpool

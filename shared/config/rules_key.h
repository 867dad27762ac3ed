// The value of the key `streams.rules`: of which findings somebody is told.
//
//   "rules": {"door": {"cameras": ["door-3"], "classes": ["person"], "min_confidence": 0.6,
//                      "zone": [[0.2, 0.5], [0.8, 0.5], [0.8, 1], [0.2, 1]], "hold_off_s": 60,
//                      "url": "https://example.org/hook", "secret_file": "door.secret"}}
//
// `url` and `secret_file` must be there.
#pragma once

#include <string>
#include <vector>

#include "shared/config/config.h"
#include "shared/config/member_problem.h"

namespace Json {
class Value;
}

namespace inferpool {

// Reads an object. A relative path is below `folder`.
std::vector<MemberProblem> ReadRules(const Json::Value& object, const std::string& folder,
                                     Config::Rules& rules);

// Returns them as JSON, each member that has its default left out.
std::string ToJson(const Config::Rules& rules);

}  // namespace inferpool

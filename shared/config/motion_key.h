// The value of the key `streams.motion`, and of a camera's member `motion`: whether frames on which
// nothing moves are answered without the model.
//
//   "motion": {"enabled": true, "threshold": 12, "area": 0.001, "keyframe_s": 10,
//              "masks": [[[0, 0], [1, 0], [1, 0.1], [0, 0.1]]]}
//
// What a camera does not say is as `streams.motion` says.
#pragma once

#include <string>
#include <vector>

#include "shared/config/config.h"
#include "shared/config/member_problem.h"

namespace Json {
class Value;
}

namespace inferpool {

// Reads an object that stands at `key`.
std::vector<MemberProblem> ReadMotion(const Json::Value& object, const std::string& key,
                                      Config::Motion& motion);

// Returns it as JSON, each member that was not given left out.
std::string ToJson(const Config::Motion& motion);

}  // namespace inferpool

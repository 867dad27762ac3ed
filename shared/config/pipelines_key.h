// The value of the key `pipelines`: trees of models, of which each is asked about what the one
// before it has found.
//
//   "pipelines": {"plates": {"model": "objects", "each": [
//     {"classes": ["car", "truck", "bus"], "model": "plate", "each": [{"model": "text_line"}]}]}}
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "shared/config/config.h"
#include "shared/config/member_problem.h"

namespace Json {
class Value;
}

namespace inferpool {

// What bounds the work for one picture.
inline constexpr std::size_t kMaxPipelines = 100;
inline constexpr int kMaxPipelineDepth = 4;   // steps, one below the other
inline constexpr int kMaxPipelineSteps = 16;  // of one pipeline
inline constexpr int kMaxCrops = 256;         // the sum of `most` of one pipeline's steps

// Reads an object.
std::vector<MemberProblem> ReadPipelines(const Json::Value& object, Config::Pipelines& pipelines);

// Returns a step with those below it as JSON, without the members that have their defaults.
std::string ToJson(const Config::Step& step);

std::string ToJson(const Config::Pipelines& pipelines);

}  // namespace inferpool

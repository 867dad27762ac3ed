// The value of the key `models`: what the operator says of models.
//
//   "models": {"net": {"family": "yolov8", "class_names": "labels.txt", "max_batch_size": 8,
//                      "inputs": [{"name": "images", "datatype": "FP32", "shape": [-1, 3, 64,
//                      64]}]}}
//
// `class_names` is a file with a name a line, or a list. Each member besides class_names,
// max_batch_size, inputs and outputs is a parameter as config.pbtxt has them, a text, a number,
// true or false, or a list of numbers; which there are, and what they may be, the worker knows.
#pragma once

#include <string>
#include <vector>

#include "shared/config/config.h"
#include "shared/config/member_problem.h"

namespace Json {
class Value;
}

namespace inferpool {

// Reads an object. Relative paths are below `folder`.
std::vector<MemberProblem> ReadModels(const Json::Value& object, const std::string& folder,
                                      Config::Models& models);

// Returns them as JSON; class names as lists.
std::string ToJson(const Config::Models& models);

}  // namespace inferpool

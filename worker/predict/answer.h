// A prediction as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "worker/http/stage_times.h"
#include "worker/predict/picture_inference.h"

namespace inferpool::predict {

// The answer's members about the picture, without braces: "model":{...},"image":{...}, and
// "detections" for detectors, "texts" for readers of lines, "classes" for classifications,
// "embedding" for embeddings. A detection has "corners" and "mask" (lists of points [x, y]),
// "keypoints" and "text" only where the model's family gives them. `normalized`: all of it is in 0
// to 1 of the picture's size instead of pixels.
//
// "tiles" ("4x3", columns and rows) stands before the detections when there were some.
//
// Of a pipeline, "model" has "steps": those that were asked, with their versions. A detection has
// "found" where a step was asked about it: {"plate":{"turned":180,"detections":[...]}}, a member
// for each step.
std::string Members(const Prediction& prediction, bool normalized);

// The same without "model" and "image": what was found alone.
std::string ResultMembers(const Prediction& prediction, bool normalized);

// {"name":"objects","version":"1"}, with the steps of a pipeline.
std::string ModelJson(const Prediction& prediction);

// The whole answer with these members. `route`: as http::RouteMember.
std::string Complete(std::string_view members, const http::StageTimes& times,
                     std::string_view request_id, std::string_view route = "");

// How many things were found: detections, lines or classes; an embedding is one.
std::uint64_t CountOf(const vision::Result& result);

}  // namespace inferpool::predict

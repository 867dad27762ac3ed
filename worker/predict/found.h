// What a pipeline's steps have found.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "worker/backend/catalog.h"
#include "worker/vision/postprocess.h"

namespace inferpool::predict {

// What one step has found in one thing that the step before it had found. Coordinates are those of
// the whole picture.
struct Found {
  std::string step;  // its model, as the configuration names it
  std::shared_ptr<const backend::Model> model;
  // By how many degrees the thing is turned clockwise in its box; nullopt when nobody was asked.
  std::optional<int> turned = {};
  vision::Result result;
  // For each detection of the result; may be shorter, for those at the end nothing was found in.
  std::vector<std::vector<Found>> found = {};
};

// A model that was asked, and its version that answered.
struct AnsweredBy {
  std::string model;
  std::string version;
};

// What a prediction has besides the first model's result when a pipeline was asked.
struct PipelineAnswer {
  std::string name;
  std::vector<AnsweredBy> steps;          // that were asked, in the order of their first questions
  std::vector<std::vector<Found>> found;  // for each detection of the first model
};

}  // namespace inferpool::predict

// Checks an ensemble's steps, puts them in order, and resolves which tensors they read and make.
//
//   platform: "ensemble"
//   ensemble_scheduling { step [
//     { model_name: "decode" model_version: -1
//       input_map { key: "image" value: "JPEG" } output_map { key: "pixels" value: "pixels" } },
//     ... ] }
//
// The keys of input_map and output_map are tensors of the step's model. Their values are tensors of
// the ensemble: its own inputs and outputs, or names by which one step passes a tensor to another.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

struct EnsemblePlan {
  // Connects a tensor of a step's model with a tensor of the ensemble.
  struct Wire {
    std::string name;        // of the model's tensor
    std::size_t tensor = 0;  // number of the ensemble's tensor
  };
  struct Step {
    std::string model;
    std::string version;        // empty: the latest version that is ready
    std::vector<Wire> inputs;   // all inputs of the model
    std::vector<Wire> outputs;  // the outputs that the ensemble uses
  };

  std::vector<Step> steps;           // each after the steps whose outputs it needs
  std::size_t tensors = 0;           // number of tensors; the ensemble's inputs are the first ones
  std::vector<std::size_t> outputs;  // for each output of the configuration its tensor
  std::vector<bool> read;            // for each tensor whether a step has it as an input
};

// Returns the completed configuration of a step's model; null when the model is not ready.
// `version` is as in Step. The configuration must stay valid until PlanEnsemble returns.
using ConfigOf = std::function<const inference::ModelConfig*(const std::string& name,
                                                             const std::string& version)>;

// The version that a step asks for. Empty, which stands for the latest one, for -1 and 0.
std::string StepVersion(const inference::ModelEnsembling::Step& step);

// Plans the ensemble of the configuration. INVALID_ARGUMENT, which names the step or tensor,
//  - when a step's model is not ready, has a smaller max_batch_size, or is the ensemble itself,
//  - when a tensor is not the model's, no step makes it, two steps make it, or its datatype or
//    shape differ at its two ends,
//  - when steps wait for each other, or there are more than 64 of them.
absl::StatusOr<EnsemblePlan> PlanEnsemble(const inference::ModelConfig& config,
                                          const ConfigOf& config_of);

}  // namespace inferpool::modelserver

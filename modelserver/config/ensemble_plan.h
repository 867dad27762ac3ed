// An ensemble's steps, checked and put in order: which model's outputs are which model's inputs.
//
//   platform: "ensemble"
//   ensemble_scheduling { step [
//     { model_name: "decode" model_version: -1
//       input_map { key: "image" value: "JPEG" } output_map { key: "pixels" value: "pixels" } },
//     ... ] }
//
// Keys are the model's tensors, values the ensemble's: its own inputs and outputs, or names that
// only its steps know.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

struct EnsemblePlan {
  struct Wire {
    std::string name;        // the model's tensor
    std::size_t tensor = 0;  // the ensemble's
  };
  struct Step {
    std::string model;
    std::string version;        // empty: the latest that is ready
    std::vector<Wire> inputs;   // all of the model's
    std::vector<Wire> outputs;  // those that the ensemble uses
  };

  std::vector<Step> steps;           // each after those whose outputs it needs
  std::size_t tensors = 0;           // the ensemble's inputs first, in the configuration's order
  std::vector<std::size_t> outputs;  // tensor of each output of the configuration
  std::vector<bool> read;            // whether a step has the tensor as an input
};

// The completed configuration of a step's model, valid during the call that asks for it; null when
// the model is not ready. `version` as in Step.
using ConfigOf = std::function<const inference::ModelConfig*(const std::string& name,
                                                             const std::string& version)>;

// The version that a step asks for: empty for -1, the latest, and for 0, which is nothing said.
std::string StepVersion(const inference::ModelEnsembling::Step& step);

// Error: INVALID_ARGUMENT, with the step or tensor: a model that is not ready, batches less, or is
// the ensemble itself; a tensor that a model does not have, that nobody makes, that two make, or
// whose datatype or shape differ at its two ends; steps that wait for each other; over 64 steps.
absl::StatusOr<EnsemblePlan> PlanEnsemble(const inference::ModelConfig& config,
                                          const ConfigOf& config_of);

}  // namespace inferpool::modelserver

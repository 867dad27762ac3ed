// A model's config.pbtxt: reading it, and what it must say once it is complete.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "proto/model_config.pb.h"
#include "shared/status.h"

namespace inferpool::modelserver {

// Reads protobuf's text format. A file that does not exist is an empty configuration: what it
// leaves out is completed from the model (backends.h). `name` is the model's folder; a
// configuration that gives another name is an error. Error: INVALID_ARGUMENT with file, line,
// column and cause for each of the first few mistakes.
absl::StatusOr<inference::ModelConfig> ReadConfigFile(const std::filesystem::path& file,
                                                      const std::string& name);

// Whether a completed configuration can be served: every tensor has a name, a datatype and
// dimensions; sizes and counts are in range; nothing asks for what this server does not do
// (ensembles, reshape, ragged batches, shape tensors, optional inputs). What is only unused
// (dynamic batching, warm-up, response cache, GPUs) is allowed; UnusedSettings names it.
absl::Status CheckConfig(const inference::ModelConfig& config);

// Settings that the configuration has and this server does not act on yet, for the log.
std::vector<std::string> UnusedSettings(const inference::ModelConfig& config);

// Instances of all groups together; 1 when none is configured.
int InstanceCount(const inference::ModelConfig& config);

// The versions to serve of those there are, ascending: the latest one unless the policy says
// otherwise. A specific version that is not there is an error.
absl::StatusOr<std::vector<std::int64_t>> ChooseVersions(
    const inference::ModelVersionPolicy& policy, std::vector<std::int64_t> available);

// parameters[key], or null.
const std::string* FindParameter(const inference::ModelConfig& config, const std::string& key);

// parameters[key] as a number from `least` to `most`; `fallback` when it is not given.
absl::StatusOr<double> NumberParameter(const inference::ModelConfig& config, const std::string& key,
                                       double least, double most, double fallback);

}  // namespace inferpool::modelserver

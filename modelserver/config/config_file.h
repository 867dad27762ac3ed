// A model's configuration: reading config.pbtxt or JSON, and what is asked of it. What it must say
// is config_check.h's.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Reads protobuf's text format. A file that does not exist is an empty configuration: what it
// leaves out is completed from the model (backends.h). `name` is the model's folder; a
// configuration that gives another name is an error. Error: INVALID_ARGUMENT with file, line,
// column and cause for each of the first few mistakes.
absl::StatusOr<inference::ModelConfig> ReadConfigFile(const std::filesystem::path& file,
                                                      const std::string& name);

// The same of a load request's JSON, with protobuf's names (max_batch_size or maxBatchSize). A
// field that is not known is an error. Error: INVALID_ARGUMENT; a megabyte is the most.
absl::StatusOr<inference::ModelConfig> ParseConfigJson(const std::string& json,
                                                       const std::string& name);

// Writes down what a configuration that passed CheckConfig leaves to its defaults, as Triton does
// for those who read it: the version policy, the preferred batch size, and each instance group's
// name, kind and count. Changes nothing of what the model does.
void FillDefaults(inference::ModelConfig& config);

// Instances of all groups together; 1 when none is configured.
int InstanceCount(const inference::ModelConfig& config);

// The versions to serve of those there are, ascending: the latest one unless the policy says
// otherwise. Of specific versions those that are there; when none is, that is an error.
absl::StatusOr<std::vector<std::int64_t>> ChooseVersions(
    const inference::ModelVersionPolicy& policy, std::vector<std::int64_t> available);

// parameters[key], or null.
const std::string* FindParameter(const inference::ModelConfig& config, const std::string& key);

// parameters[key] as a number from `min` to `max`; `fallback` when it is not given.
absl::StatusOr<double> NumberParameter(const inference::ModelConfig& config, const std::string& key,
                                       double min, double max, double fallback);

}  // namespace inferpool::modelserver

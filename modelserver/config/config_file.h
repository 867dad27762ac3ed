// Reads a model's configuration from config.pbtxt or JSON, and answers questions about it.
// config_check.h has the rules for its content.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Reads a configuration in protobuf's text format. A file that does not exist gives an empty
// configuration, because backends complete what is left out (backends.h). `name` is the name of the
// model's folder. INVALID_ARGUMENT when the configuration has another name, or cannot be parsed;
// then with file, line, column and cause of each of the first few mistakes.
absl::StatusOr<inference::ModelConfig> ReadConfigFile(const std::filesystem::path& file,
                                                      const std::string& name);

// Reads the configuration in a load request, which is JSON with protobuf's names for the fields
// (max_batch_size or maxBatchSize). INVALID_ARGUMENT when it has another name, an unknown field, or
// more than 1 MiB, or cannot be parsed.
absl::StatusOr<inference::ModelConfig> ParseConfigJson(const std::string& json,
                                                       const std::string& name);

// Sets what a configuration that has passed CheckConfig leaves to its defaults, as Triton does for
// those who read it: the version policy, the preferred batch size, and the name, kind and count of
// each instance group. The model does the same with and without it.
void FillDefaults(inference::ModelConfig& config);

// The number of instances in all groups; 1 when no group is configured.
int InstanceCount(const inference::ModelConfig& config);

// Returns which of the `available` versions the policy serves, in ascending order: the latest one
// unless it says otherwise. With specific versions, those that are available; INVALID_ARGUMENT when
// none of them is.
absl::StatusOr<std::vector<std::int64_t>> ChooseVersions(
    const inference::ModelVersionPolicy& policy, std::vector<std::int64_t> available);

// parameters[key] of the configuration; null when it is absent.
const std::string* FindParameter(const inference::ModelConfig& config, const std::string& key);

// parameters[key] of the configuration as a number; `fallback` when it is absent. INVALID_ARGUMENT
// when it is not a number from `min` to `max`.
absl::StatusOr<double> NumberParameter(const inference::ModelConfig& config, const std::string& key,
                                       double min, double max, double fallback);

}  // namespace inferpool::modelserver

// What a model's classes are called. KServe has no call for it, so the names travel in the model's
// configuration: parameters["class_names"], joined by '\n', in class order.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

inline constexpr std::string_view kClassNamesParameter = "class_names";

// For each output of the configuration what its classes are called, by class; empty where nothing
// says it. For the classification extension.
using OutputLabels = std::vector<std::vector<std::string>>;

// A labels file in UTF-8: one name a line, carriage returns and empty lines at the end dropped.
// Error: INVALID_ARGUMENT when the file cannot be read, is past a mebibyte, or a line is not UTF-8.
absl::StatusOr<std::vector<std::string>> ReadLabels(const std::filesystem::path& file);

// Adds the class names to `config` when it has none: of the first label_filename, else of
// labels.txt in the model's folder, else `fallback` (the model file's own), else none.
//
// Returns the outputs' labels: as in Triton those of its own label_filename, and none without one.
// But the only output of a model that names no file has the class names.
//
// Error: INVALID_ARGUMENT for a file that cannot be read, or is not a plain name.
absl::StatusOr<OutputLabels> AddClassNames(const std::filesystem::path& model_folder,
                                           const std::vector<std::string>& fallback,
                                           inference::ModelConfig& config);

}  // namespace inferpool::modelserver

// What a model's classes are called. KServe has no call for it, so the names travel in the model's
// configuration: parameters["class_names"], joined by '\n', in class order.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "proto/model_config.pb.h"
#include "shared/status.h"

namespace inferpool::modelserver {

inline constexpr std::string_view kClassNamesParameter = "class_names";

// A labels file in UTF-8: one name a line, carriage returns and empty lines at the end dropped.
// Error: INVALID_ARGUMENT when the file cannot be read, is past a mebibyte, or a line is not UTF-8.
absl::StatusOr<std::vector<std::string>> ReadLabels(const std::filesystem::path& file);

// Ultralytics' `names` metadata, Python's notation of a dict: {0: 'person', 1: "driver's"}. A class
// without a name gets its number. Empty when the text is not that in UTF-8, or names a class past
// 9999.
std::vector<std::string> ParseUltralyticsNames(std::string_view text);

// Gives `config` its class names unless it has them: from the first output's label_filename (a
// plain file name in `model_folder`, which must be there), else from labels.txt, else `fallback`
// (the model file's own), else none.
absl::Status AddClassNames(const std::filesystem::path& model_folder,
                           const std::vector<std::string>& fallback,
                           inference::ModelConfig& config);

}  // namespace inferpool::modelserver

// Finds the names of a model's classes. KServe has no call that returns them, so they are put into
// the model's configuration: parameters["class_names"] has them in class order, joined by '\n',
// with a blank for a line break in a name.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

inline constexpr std::string_view kClassNamesParameter = "class_names";

// For each output of the configuration the names of its classes, in class order; empty where they
// are not known. The classification extension uses them.
using OutputLabels = std::vector<std::vector<std::string>>;

// Reads a labels file, which has one name per line in UTF-8. Lines may end as on any system. A byte
// order mark, blanks around a name, and empty lines at the end are dropped; an empty line before
// that is a class without a name. INVALID_ARGUMENT when the file cannot be read, is larger than 1
// MiB, or has a line that is not UTF-8 or has a zero byte, as UTF-16 does.
absl::StatusOr<std::vector<std::string>> ReadLabels(const std::filesystem::path& file);

// Adds the class names to `config` when it has none. They are those of the first label_filename;
// without one those of labels.txt in the model's folder; without that file `fallback`, which are
// the model file's own.
//
// Returns each output's labels. They are those of its own label_filename, as in Triton, and empty
// without one. But when a model has only one output and no label_filename, that output has the
// class names.
//
// INVALID_ARGUMENT when a file cannot be read, or a label_filename is not a plain file name.
absl::StatusOr<OutputLabels> AddClassNames(const std::filesystem::path& model_folder,
                                           const std::vector<std::string>& fallback,
                                           inference::ModelConfig& config);

}  // namespace inferpool::modelserver

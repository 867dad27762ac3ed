// Triton's classification extension: an output as its k highest values, named.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proto/model_config.pb.h"
#include "proto/tensor.h"
#include "shared/status.h"

namespace inferpool::modelserver {

struct TopClasses {
  std::vector<std::int64_t> shape;  // [k], or [batch, k]
  std::string raw;                  // BYTES, each element "value:index" or "value:index:label"
};

// The `count` highest values of each row of `output`, highest first, equal ones by index; at most
// as many as a row has. `batches`: the first dimension is the batch. Labels are the configuration's
// class names (class_names.h). Source: Triton's extension_classification.md. INVALID_ARGUMENT for
// an output that is not of numbers, and a count that is not positive.
absl::StatusOr<TopClasses> FindTopClasses(const TensorView& output, std::int64_t count,
                                          bool batches, const inference::ModelConfig& config);

}  // namespace inferpool::modelserver

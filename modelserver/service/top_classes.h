// Triton's classification extension: an output as its k highest values, named.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "proto/tensor.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

struct TopClasses {
  std::vector<std::int64_t> shape;  // [k], or [batch, k]
  std::string raw;                  // BYTES, each element "value:index" or "value:index:label"
};

// The `count` highest values of each row of `output`, highest first, equal ones by index; at most
// as many as a row has. `batches`: the first dimension is the batch. `labels`: the classes' names;
// one that is missing or empty is left out. Source: Triton's extension_classification.md.
// INVALID_ARGUMENT for an output that is not of numbers, and a count that is not positive.
absl::StatusOr<TopClasses> FindTopClasses(const TensorView& output, std::int64_t count,
                                          bool batches, std::span<const std::string> labels);

}  // namespace inferpool::modelserver

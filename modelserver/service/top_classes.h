// Triton's classification extension: returns an output's highest values with the names of their
// classes.
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

// Finds the `count` highest values of each row of `output`, or all of a row when it has fewer. The
// highest comes first; equal values are in the order of their index. With `batches` the first
// dimension is the batch; otherwise the output is one row. `labels` are the classes' names; a name
// that is missing or empty is left out. As in Triton's extension_classification.md.
// INVALID_ARGUMENT when the output does not hold numbers, has over a million elements in a row, or
// `count` is not positive.
absl::StatusOr<TopClasses> FindTopClasses(const TensorView& output, std::int64_t count,
                                          bool batches, std::span<const std::string> labels);

}  // namespace inferpool::modelserver

// Converts a tensor's elements between JSON and the wire's form: little-endian, row-major, each
// BYTES element with its length before it (proto/tensor.h).
//
// JSON has no NaN and no infinities. They are read and written as NaN, Infinity and -Infinity, as
// Triton and Python's json do; Inf and -Inf are read, too.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "proto/tensor.h"
#include "shared/base/patience.h"
#include "shared/base/status.h"

namespace inferpool::kserve_http {

// Reads `json`, an array that is flat or nested as the shape says. Numbers must be of the
// datatype's kind and range; FP32 and FP64 are rounded to the nearest. The result is at most four
// times as long as `json`. INVALID_ARGUMENT for anything else, for FP16 and BF16, and when the
// shape has another number of elements; and the errors of Patience::Check.
absl::StatusOr<std::string> ReadElements(std::string_view json, inference::DataType datatype,
                                         std::span<const std::int64_t> shape,
                                         const Patience& patience = {});

// Appends the elements to `json` as a flat array. Numbers are the shortest that read as the same
// value. INVALID_ARGUMENT for FP16 and BF16, and for BYTES that are not UTF-8: JSON has none of
// them; and the errors of Patience::Check.
absl::Status WriteElements(const TensorView& tensor, std::string& json,
                           const Patience& patience = {});

}  // namespace inferpool::kserve_http

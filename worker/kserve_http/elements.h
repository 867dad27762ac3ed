// A tensor's elements as JSON has them, and as the wire has them: little-endian, row-major, BYTES
// each with its length before it (proto/tensor.h).
//
// JSON knows no NaN and no infinities. As Triton does, and Python's json: they are read and written
// as NaN, Infinity and -Infinity (Inf and -Inf are read, too).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "proto/tensor.h"
#include "shared/base/patience.h"
#include "shared/base/status.h"

namespace inferpool::kserve_http {

// `json`: an array, flat or nested as the shape says. Numbers must be of the datatype's kind and
// range; FP32 and FP64 are rounded to the nearest. The result is at most four times as long as
// `json`. INVALID_ARGUMENT: what cannot be read so, FP16 and BF16, and a shape that is not the
// data's; and the errors of Patience::Check.
absl::StatusOr<std::string> ReadElements(std::string_view json, inference::DataType datatype,
                                         std::span<const std::int64_t> shape,
                                         const Patience& patience = {});

// Appends the elements as a flat array. Numbers are the shortest that read as the same value.
// INVALID_ARGUMENT: FP16 and BF16, and BYTES that are not UTF-8, none of which JSON has; and the
// errors of Patience::Check.
absl::Status WriteElements(const TensorView& tensor, std::string& json,
                           const Patience& patience = {});

}  // namespace inferpool::kserve_http

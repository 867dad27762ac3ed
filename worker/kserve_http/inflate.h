// Bodies that clients have compressed (RFC 1950, RFC 1952).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "shared/base/patience.h"
#include "shared/base/status.h"

namespace inferpool::kserve_http {

// `encoding`: "gzip" or "deflate". OUT_OF_RANGE as soon as there are more than `max_bytes` bytes;
// DATA_LOSS when it is damaged, cut off or has something behind it; UNIMPLEMENTED: another
// encoding; and the errors of Patience::Check.
absl::StatusOr<std::string> Inflate(std::string_view bytes, std::string_view encoding,
                                    std::size_t max_bytes, const Patience& patience = {});

// The most bytes that Inflate would make of it, without unpacking more than a megabyte: never more
// than `max_bytes`. Of gzip it is what its trailer says; of data that have more Inflate unpacks no
// more than that.
std::size_t InflatedBytes(std::string_view bytes, std::string_view encoding, std::size_t max_bytes);

}  // namespace inferpool::kserve_http

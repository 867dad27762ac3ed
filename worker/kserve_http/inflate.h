// Bodies that clients have compressed (RFC 1950, RFC 1952).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "shared/base/patience.h"
#include "shared/base/status.h"

namespace inferpool::rest {

// `encoding`: "gzip" or "deflate". OUT_OF_RANGE as soon as there are more than `most` bytes;
// DATA_LOSS when it is damaged, cut off or has something behind it; UNIMPLEMENTED: another
// encoding; and the errors of Patience::Check.
absl::StatusOr<std::string> Inflate(std::string_view bytes, std::string_view encoding,
                                    std::size_t most, const Patience& patience = {});

// The most bytes that Inflate would make of it, without unpacking more than a megabyte: never more
// than `most`. Of gzip it is what its trailer says; of data that have more Inflate unpacks no more
// than that.
std::size_t InflatedBytes(std::string_view bytes, std::string_view encoding, std::size_t most);

}  // namespace inferpool::rest

// Unpacks bodies that clients have compressed (RFC 1950, RFC 1952).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "shared/base/patience.h"
#include "shared/base/status.h"

namespace inferpool::kserve_http {

// The codings that Inflate knows, as an Accept-Encoding has them.
inline constexpr std::string_view kContentCodings = "gzip, deflate";

// `encoding` is one of kContentCodings; UNIMPLEMENTED for another one. Several gzip members are one
// body. OUT_OF_RANGE as soon as there are more than `max_bytes` bytes; DATA_LOSS when the data are
// damaged, cut off, or have something else behind them; and the errors of Patience::Check.
// http::BodyProblem knows all of these.
absl::StatusOr<std::string> Inflate(std::string_view bytes, std::string_view encoding,
                                    std::size_t max_bytes, const Patience& patience = {});

// An upper bound for the bytes that Inflate returns or allocates, and at most `max_bytes`. It
// unpacks no more than a megabyte to find out. For gzip it is what the trailers of its members
// promise, at which Inflate stops.
std::size_t InflatedBytes(std::string_view bytes, std::string_view encoding, std::size_t max_bytes);

}  // namespace inferpool::kserve_http

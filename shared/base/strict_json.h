// Reading JSON that somebody else wrote (RFC 8259), with nothing tolerated that another reader
// would understand differently. (jsoncpp still lets a number begin with zeros, and a comment be all
// that an object has.)
#pragma once

#include <json/value.h>

#include <cstddef>
#include <string_view>

#include "shared/base/status.h"

namespace inferpool {

// The one value that `text` is. INVALID_ARGUMENT, with where and why: not JSON, comments, a key
// given twice, text behind the value, a zero byte, more than `max_depth` levels of objects and
// arrays, or more than `max_values` values, of which each costs some hundred bytes. Strings may
// hold invalid UTF-8, and cost a small multiple of the text's memory.
absl::StatusOr<Json::Value> ReadStrictJson(std::string_view text, int max_depth,
                                           std::size_t max_values);

}  // namespace inferpool

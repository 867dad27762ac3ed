// Parses the JSON of an inference request into a tree, except for the elements of its tensors,
// which stay text. A tree takes some fifty times the memory of its text, and nearly all of a large
// request are elements.
#pragma once

#include <json/json.h>

#include <string_view>
#include <vector>

#include "shared/base/status.h"

namespace inferpool::kserve_http {

struct JsonHeader {
  Json::Value root;  // an object
  // The text of each `data` in `inputs`: views into what was read. In `root` each has its index
  // here as its value.
  std::vector<std::string_view> data;
};

// The parser is strict: UTF-8, no key twice in an object, no comments, nothing behind the value.
// Apart from the elements, which are not checked, the text may have 32 levels, 16,384 values and 1
// MiB. INVALID_ARGUMENT otherwise.
absl::StatusOr<JsonHeader> ReadJsonHeader(std::string_view text);

}  // namespace inferpool::kserve_http

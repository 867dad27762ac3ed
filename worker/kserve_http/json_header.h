// The JSON of an inference request, taken apart: all of it as a tree but the tensors' elements,
// which stay text. A tree takes some fifty times the memory of its text, and elements are nearly
// all of a large request.
#pragma once

#include <json/json.h>

#include <string_view>
#include <vector>

#include "shared/base/status.h"

namespace inferpool::kserve_http {

struct JsonHeader {
  Json::Value root;  // an object
  // The text of each `data` of `inputs`. In `root`, a number stands for it: its index here.
  std::vector<std::string_view> data;  // views into what was read
};

// Strict: UTF-8, each key once in its object, no comments, nothing behind the value. At most 32
// levels deep, 16,384 values and 1 MiB without the elements, which are not looked at.
// INVALID_ARGUMENT.
absl::StatusOr<JsonHeader> ReadJsonHeader(std::string_view text);

}  // namespace inferpool::kserve_http

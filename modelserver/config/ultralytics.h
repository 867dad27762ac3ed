// Parses the metadata that Ultralytics' exports have in their ONNX file, in Python's notation.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace inferpool::modelserver {

// Parses `names`, a dict: {0: 'person', 1: "driver's"}. Returns the names in class order; a class
// without a name gets its number. Empty when the text is not such a dict in UTF-8, or has a class
// over 9999.
std::vector<std::string> ParseUltralyticsNames(std::string_view text);

struct UltralyticsSize {
  std::int64_t height;
  std::int64_t width;
};

// Parses `imgsz`, a list: [640, 640]. nullopt when the text is not such a list, or a side is not
// one that a picture can have.
std::optional<UltralyticsSize> ParseUltralyticsSize(std::string_view text);

}  // namespace inferpool::modelserver

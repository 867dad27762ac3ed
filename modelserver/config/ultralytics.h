// What Ultralytics' exports say of themselves in the metadata of the ONNX file, in Python's
// notation.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace inferpool::modelserver {

// `names`, a dict: {0: 'person', 1: "driver's"}. A class without a name gets its number. Empty when
// the text is not that in UTF-8, or names a class past 9999.
std::vector<std::string> ParseUltralyticsNames(std::string_view text);

struct UltralyticsSize {
  std::int64_t height;
  std::int64_t width;
};

// `imgsz`, a list: [640, 640]. Nothing when the text is not that, or has a side that no picture
// has.
std::optional<UltralyticsSize> ParseUltralyticsSize(std::string_view text);

}  // namespace inferpool::modelserver

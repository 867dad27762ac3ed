// Parses the metadata that Ultralytics' exports have in their ONNX file, in Python's notation.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace inferpool::modelserver {

struct UltralyticsSize {
  std::int64_t height;
  std::int64_t width;
};

// Parses `imgsz`, a list: [640, 640]. nullopt when the text is not such a list, or a side is not
// one that a picture can have.
std::optional<UltralyticsSize> ParseUltralyticsSize(std::string_view text);

// Whether `args`, a dict of the options of the export, says that the net suppresses duplicates
// itself: {'imgsz': [640, 640], 'nms': True}.
bool SaysNms(std::string_view args);

}  // namespace inferpool::modelserver

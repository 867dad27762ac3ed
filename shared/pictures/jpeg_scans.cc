#include "shared/pictures/jpeg_scans.h"

#include <optional>

#include "shared/pictures/jpeg_segments.h"

namespace inferpool {

int JpegScans(std::string_view jpeg) {
  using vision::JpegSegment;
  int scans = 0;
  vision::JpegSegments segments(jpeg);
  while (const std::optional<JpegSegment> segment = segments.Next()) {
    if (segment->marker == JpegSegment::kEndOfImage) break;
    if (segment->marker == JpegSegment::kStartOfScan) ++scans;
  }
  return scans;
}

}  // namespace inferpool

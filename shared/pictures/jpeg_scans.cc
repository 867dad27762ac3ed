#include "shared/pictures/jpeg_scans.h"

#include <cstddef>

namespace inferpool {

int JpegScans(std::string_view jpeg) {
  int scans = 0;
  std::size_t at = 2;  // behind the start of the image
  while (true) {
    at = jpeg.find('\xff', at);
    if (at == std::string_view::npos) return scans;
    at = jpeg.find_first_not_of('\xff', at);
    if (at == std::string_view::npos) return scans;
    const auto marker = static_cast<unsigned char>(jpeg[at++]);
    if (marker == 0xd9) return scans;
    // A data byte of 0xff, and markers that stand alone.
    if (marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8)) continue;
    if (marker == 0xda) ++scans;
    if (jpeg.size() - at < 2) return scans;
    const std::size_t length = static_cast<std::size_t>(static_cast<unsigned char>(jpeg[at])) << 8 |
                               static_cast<unsigned char>(jpeg[at + 1]);
    at += length < 2 ? 2 : length;
  }
}

}  // namespace inferpool

// The marker segments of a JPEG (ITU-T T.81, B.1), read from front to back without trusting a
// length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace inferpool::vision {

struct JpegSegment {
  // The markers that this walk and its callers look at (table B.1).
  static constexpr std::uint32_t kStartOfImage = 0xd8;
  static constexpr std::uint32_t kEndOfImage = 0xd9;
  static constexpr std::uint32_t kStartOfScan = 0xda;
  static constexpr std::uint32_t kApp1 = 0xe1;  // EXIF

  enum class State {
    kWhole,
    kCutOff,     // the bytes end within the segment
    kBadLength,  // its length is less than the two bytes that hold it
  };

  std::uint32_t marker;
  State state;
  std::string_view data;  // what follows the length; empty unless the segment is whole
};

// Walks the segments. Borrows `jpeg`.
class JpegSegments {
 public:
  // The walk begins after the first two bytes, which are the start of the image.
  explicit JpegSegments(std::string_view jpeg) : jpeg_(jpeg) {}

  // The next segment, or nullopt at the end of the bytes. Bytes between segments are skipped, as
  // libjpeg does, and so are a scan's coded data, fill bytes and the markers that stand alone
  // within a scan. The start and the end of an image are segments without data. The walk goes on
  // behind a segment that is not whole: at the end of the bytes, or behind its bad length.
  std::optional<JpegSegment> Next();

 private:
  std::string_view jpeg_;
  std::size_t at_ = 2;
};

}  // namespace inferpool::vision

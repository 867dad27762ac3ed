#include "shared/pictures/jpeg_segments.h"

#include "shared/pictures/bytes.h"

namespace inferpool::vision {
namespace {

// A stuffed byte of coded data (0x00), TEM and RST0 to RST7.
bool StandsAlone(std::uint32_t marker) {
  return marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd7);
}

}  // namespace

std::optional<JpegSegment> JpegSegments::Next() {
  using State = JpegSegment::State;
  constexpr std::size_t kLengthBytes = 2;
  while (true) {
    at_ = jpeg_.find('\xff', at_);
    if (at_ != std::string_view::npos) at_ = jpeg_.find_first_not_of('\xff', at_);
    if (at_ == std::string_view::npos) return std::nullopt;
    const std::uint32_t marker = Byte(jpeg_, at_++);
    if (StandsAlone(marker)) continue;
    if (marker == JpegSegment::kStartOfImage || marker == JpegSegment::kEndOfImage) {
      return JpegSegment{marker, State::kWhole, {}};
    }
    const std::size_t left = jpeg_.size() - at_;
    const std::size_t length = left < kLengthBytes ? 0 : BigEndian16(jpeg_, at_);
    if (left < kLengthBytes || length > left) {
      at_ = jpeg_.size();
      return JpegSegment{marker, State::kCutOff, {}};
    }
    if (length < kLengthBytes) {
      at_ += kLengthBytes;
      return JpegSegment{marker, State::kBadLength, {}};
    }
    const JpegSegment segment{marker, State::kWhole,
                              jpeg_.substr(at_ + kLengthBytes, length - kLengthBytes)};
    at_ += length;
    return segment;
  }
}

}  // namespace inferpool::vision

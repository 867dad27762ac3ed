// Pictures: what the header says is what decoding gives, at every reduction, or an error; nothing
// once the deadline has passed.
#include <cstdint>

#include "shared/pictures/decode.h"
#include "shared/pictures/header.h"
#include "shared/pictures/jpeg.h"
#include "tests/fuzz/check.h"
#include "worker/vision/reduction.h"

using namespace inferpool;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::int64_t kMaxPixels = 40'000;  // so that decoding is quick
  const std::string_view bytes = fuzz::Text(data, size);
  const auto header = vision::ReadHeader(bytes);
  if (!header.ok()) {
    HOLDS(absl::IsUnimplemented(header.status()) || absl::IsDataLoss(header.status()));
    HOLDS(!header.status().message().empty());
    return 0;
  }
  HOLDS(header->width > 0 && header->height > 0);
  HOLDS(header->orientation >= 1 && header->orientation <= 8);
  if (std::int64_t{header->width} * header->height > kMaxPixels) return 0;

  const cv::Size upright = vision::UprightSize(*header);
  const auto pixels = vision::Decode(bytes, *header);
  HOLDS(pixels.ok() || absl::IsDataLoss(pixels.status()));
  if (pixels.ok()) {
    HOLDS(pixels->size() == upright && pixels->type() == CV_8UC3 && pixels->isContinuous());
  }
  HOLDS(!vision::Decode(bytes, *header, 1, Deadline(TimePoint::min())).ok());
  if (header->format != vision::Format::kJpeg) return 0;
  for (const int reduction : {2, 4, 8}) {
    const auto reduced = vision::Decode(bytes, *header, reduction);
    HOLDS(reduced.ok() == pixels.ok());
    if (reduced.ok()) {
      HOLDS(reduced->size() == vision::Reduced(upright, reduction) && reduced->type() == CV_8UC3);
    }
  }
  return 0;
}

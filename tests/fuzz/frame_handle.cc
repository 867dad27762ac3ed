// The text of a frame's handle: what is let through is safe to use, and says the same again.

#include <fmt/format.h>

#include <cstdint>
#include <string_view>

#include "shared/frames/handle.h"
#include "tests/fuzz/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace frames = inferpool::frames;
  const std::string_view text = inferpool::fuzz::Text(data, size);
  const auto handle = frames::ParseHandle(text);
  if (!handle.ok()) return 0;
  HOLDS(frames::IsSegmentName(handle->segment));
  HOLDS(handle->segment.find('/') == std::string::npos && handle->segment != "..");
  HOLDS(text == fmt::format("{} {} {} {} {} {} {} {} {}", handle->segment, handle->slot,
                            handle->generation, handle->bytes, Name(handle->format), handle->width,
                            handle->height, handle->stride, handle->boot_id));
  if (frames::IsRaw(handle->format)) {
    HOLDS(handle->width > 0 && handle->height > 0);
    HOLDS(handle->bytes >= handle->stride * static_cast<std::size_t>(handle->height - 1));
  }
  return 0;
}

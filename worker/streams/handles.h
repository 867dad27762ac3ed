// From a handle to its frame: the file or the pixels that a producer on this machine has put into
// shared memory.
#pragma once

#include <opencv2/core/mat.hpp>
#include <string>
#include <string_view>

#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "shared/frames/handle.h"
#include "shared/frames/segments.h"

namespace inferpool::streams {

struct SharedFrame {
  std::string file = {};  // of an encoded frame: a copy
  // Of a raw one, 8-bit BGR. A frame that is BGR is not copied: these are the bytes in shared
  // memory, not to be written to, and to be trusted only when the frame is whole after all that was
  // read.
  cv::Mat bgr = {};
  frames::Pin pin = {};  // empty when nothing of the frame lies in shared memory any more

  bool IsWhole() const { return pin.segment() == nullptr || pin.IsWhole(); }
};

// What it costs to have a handle's frame: bytes besides those in shared memory.
std::size_t CopiedBytes(const frames::Handle& handle);

// Pins the frame, and copies or converts it where that is to be done.
//
// NOT_FOUND: it is gone, or was overwritten meanwhile. Other errors as of frames::Segments::Get;
// RESOURCE_EXHAUSTED also when there is no memory.
absl::StatusOr<SharedFrame> TakeFrame(const frames::Handle& handle, frames::Segments& segments,
                                      TimePoint now);

}  // namespace inferpool::streams

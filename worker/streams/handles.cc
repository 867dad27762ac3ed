#include "worker/streams/handles.h"

#include <cstddef>
#include <exception>
#include <opencv2/imgproc.hpp>
#include <utility>

namespace inferpool::streams {
namespace {

// The planes as OpenCV has them, where they lie.
cv::Mat View(const frames::Handle& handle, const frames::Pin& pin) {
  const bool is_colour =
      handle.format == frames::Format::kBgr || handle.format == frames::Format::kRgb;
  const bool has_chroma = handle.format == frames::Format::kNv12;
  // OpenCV has no matrix of what must not be changed.
  auto* data = const_cast<std::byte*>(pin.bytes().data());
  return {has_chroma ? handle.height + handle.height / 2 : handle.height, handle.width,
          is_colour ? CV_8UC3 : CV_8UC1, data, handle.stride};
}

cv::Mat Converted(const frames::Handle& handle, const cv::Mat& view) {
  cv::Mat bgr;
  switch (handle.format) {
    case frames::Format::kRgb:
      cv::cvtColor(view, bgr, cv::COLOR_RGB2BGR);
      break;
    case frames::Format::kGrey:
      cv::cvtColor(view, bgr, cv::COLOR_GRAY2BGR);
      break;
    case frames::Format::kNv12:
      cv::cvtColor(view, bgr, cv::COLOR_YUV2BGR_NV12);
      break;
    default:
      bgr = view;
  }
  return bgr;
}

}  // namespace

std::size_t CopiedBytes(const frames::Handle& handle) {
  if (handle.format == frames::Format::kBgr) return 0;
  if (!frames::IsRaw(handle.format)) return static_cast<std::size_t>(handle.bytes);
  return 3 * static_cast<std::size_t>(handle.width) * static_cast<std::size_t>(handle.height);
}

absl::StatusOr<SharedFrame> TakeFrame(const frames::Handle& handle, frames::Segments& segments,
                                      TimePoint now) {
  ASSIGN_OR_RETURN(frames::Pin pin, segments.Get(handle, now));
  SharedFrame frame;
  try {
    if (frames::IsRaw(handle.format)) {
      frame.bgr = Converted(handle, View(handle, pin));
    } else {
      frame.file.assign(reinterpret_cast<const char*>(pin.bytes().data()), pin.bytes().size());
    }
  } catch (const std::exception& error) {
    return absl::ResourceExhaustedError(error.what());
  }
  if (!pin.IsWhole()) return absl::NotFoundError("the frame was overwritten meanwhile");
  if (handle.format == frames::Format::kBgr) frame.pin = std::move(pin);
  return frame;
}

}  // namespace inferpool::streams

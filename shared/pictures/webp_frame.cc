#include "shared/pictures/webp_frame.h"

#include <webp/decode.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "shared/pictures/too_late.h"

namespace inferpool::vision {
namespace {

struct Delete {
  void operator()(WebPIDecoder* decoder) const { WebPIDelete(decoder); }
};

}  // namespace

absl::Status DecodeWebpFrame(std::string_view bytes, const cv::Mat& pixels, Deadline deadline) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  int width = 0;
  int height = 0;
  if (WebPGetInfo(data, bytes.size(), &width, &height) == 0 ||
      cv::Size(width, height) != pixels.size()) {
    return absl::DataLossError("damaged WebP picture: its frame has another size");
  }
  const auto room = static_cast<std::size_t>(pixels.dataend - pixels.data);
  const std::unique_ptr<WebPIDecoder, Delete> decoder(
      WebPINewRGB(MODE_BGR, pixels.data, room, static_cast<int>(pixels.step)));
  if (!decoder) {
    return absl::ResourceExhaustedError("no memory for a WebP decoder");
  }
  // Each piece makes a lossless picture a little slower to decode.
  const std::size_t piece = std::max<std::size_t>(bytes.size() / 16, 4096);
  VP8StatusCode status = VP8_STATUS_SUSPENDED;
  for (std::size_t given = 0; status == VP8_STATUS_SUSPENDED && given < bytes.size();) {
    if (deadline.Expired(Clock::now())) {
      return TooLate(Format::kWebp);
    }
    given += std::min(piece, bytes.size() - given);
    status = WebPIUpdate(decoder.get(), data, given);
  }
  if (status == VP8_STATUS_OUT_OF_MEMORY) {
    return absl::ResourceExhaustedError("no memory for a WebP picture's frame");
  }
  return status == VP8_STATUS_OK ? absl::OkStatus() : absl::DataLossError("damaged WebP picture");
}

}  // namespace inferpool::vision

#include "shared/pictures/webp_animation.h"

#include <cstddef>
#include <opencv2/core.hpp>
#include <optional>

#include "shared/base/status.h"
#include "shared/pictures/bytes.h"
#include "shared/pictures/chunks.h"
#include "shared/pictures/webp_frame.h"

namespace inferpool::vision {
namespace {

// RFC 9649, 2.7.1.1: half the offsets and the sides less one, in 24 bits each; the duration; flags.
constexpr std::size_t kFrameHeader = 16;

std::optional<std::string_view> FirstFrame(std::string_view bytes) {
  Chunks chunks = Chunks::OfWebp(bytes);
  while (const std::optional<Chunk> chunk = chunks.Next()) {
    if (chunk->type == "ANMF") {
      return chunk->data.size() >= kFrameHeader ? std::optional(chunk->data) : std::nullopt;
    }
  }
  return std::nullopt;
}

cv::Rect PlaceOf(std::string_view frame) {
  const auto read = [frame](std::size_t at) { return static_cast<int>(LittleEndian24(frame, at)); };
  return {2 * read(0), 2 * read(3), read(6) + 1, read(9) + 1};
}

}  // namespace

absl::StatusOr<cv::Mat> DecodeWebpAnimation(std::string_view bytes, const Header& header,
                                            Deadline deadline) {
  const std::optional<std::string_view> frame = FirstFrame(bytes);
  if (!frame) {
    return absl::DataLossError("damaged WebP animation: no frame");
  }
  const cv::Size canvas(header.width, header.height);
  const cv::Rect place = PlaceOf(*frame);
  if ((place & cv::Rect({0, 0}, canvas)) != place) {
    return absl::DataLossError("damaged WebP animation: its first frame is not within it");
  }
  cv::Mat picture = cv::Mat::zeros(canvas, CV_8UC3);
  RETURN_IF_ERROR(DecodeWebpFrame(frame->substr(kFrameHeader), picture(place), deadline));
  return picture;
}

}  // namespace inferpool::vision

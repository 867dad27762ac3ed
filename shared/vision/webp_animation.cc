#include "shared/vision/webp_animation.h"

#include <webp/decode.h>

#include <cstddef>
#include <cstdint>
#include <opencv2/core.hpp>
#include <optional>

#include "shared/vision/bytes.h"
#include "shared/vision/chunks.h"

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

absl::StatusOr<cv::Mat> DecodeWebpAnimation(std::string_view bytes, const Header& header) {
  const std::optional<std::string_view> frame = FirstFrame(bytes);
  if (!frame) {
    return absl::DataLossError("damaged WebP animation: no frame");
  }
  const cv::Size canvas(header.width, header.height);
  const cv::Rect place = PlaceOf(*frame);
  const std::string_view still = frame->substr(kFrameHeader);
  const auto* data = reinterpret_cast<const std::uint8_t*>(still.data());
  int width = 0;
  int height = 0;
  if ((place & cv::Rect({0, 0}, canvas)) != place ||
      WebPGetInfo(data, still.size(), &width, &height) == 0 ||
      cv::Size(width, height) != place.size()) {
    return absl::DataLossError("damaged WebP animation: its first frame has another size");
  }
  cv::Mat picture = cv::Mat::zeros(canvas, CV_8UC3);
  cv::Mat pixels = picture(place);
  const auto room = static_cast<std::size_t>(picture.dataend - pixels.data);
  if (WebPDecodeBGRInto(data, still.size(), pixels.data, room, static_cast<int>(picture.step)) ==
      nullptr) {
    return absl::DataLossError("damaged WebP animation: its first frame cannot be decoded");
  }
  return picture;
}

}  // namespace inferpool::vision

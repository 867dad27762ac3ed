#include "worker/predict/picture_cost.h"

#include <algorithm>

#include "shared/pictures/jpeg_scans.h"
#include "worker/http/header_text.h"

namespace inferpool::predict {
namespace {

constexpr std::uint64_t kLightBytes = std::uint64_t{20} << 20;
// A JPEG of a phone is light, also where only its entropy coding is read in full.
constexpr std::uint64_t kLightPixels = 16'000'000;
constexpr std::uint64_t kLightDrawing = 4'000'000;
constexpr std::uint64_t kBgr = 3;

// Bytes that a decoder takes for each stored pixel besides the result (shared/pictures/decode.h).
std::uint64_t DecoderBytes(std::string_view picture, const vision::Header& header) {
  switch (header.format) {
    case vision::Format::kJpeg: {
      const auto components = static_cast<std::uint64_t>(std::clamp(header.jpeg_components, 1, 4));
      const std::uint64_t coefficients = JpegScans(picture) > 1 ? 2 * components : 0;
      return coefficients + (components == 4 ? 4 : 0);  // and CMYK before it is BGR
    }
    case vision::Format::kPng:
      return 3;  // rows of 16 bits, where it is interlaced
    case vision::Format::kWebp:
      return 4;  // BGRA
    case vision::Format::kGif:
      return 1;  // indices
  }
  return 0;
}

std::uint64_t PixelsOf(cv::Size size) {
  return static_cast<std::uint64_t>(size.width) * static_cast<std::uint64_t>(size.height);
}

}  // namespace

PictureCost ReadingCost(const fcgi::Request& request) {
  if (http::MediaType(request.content_type) != "application/json") {
    return {.bytes = 0, .heavy = false};
  }
  return {.bytes = 2 * std::uint64_t{request.body.size()},
          .heavy = request.body.size() > kLightBytes / 2};
}

PictureCost DecodeCost(std::string_view picture, const vision::Header& header, int reduction) {
  const std::uint64_t stored = PixelsOf({header.width, header.height});
  const auto area = static_cast<std::uint64_t>(reduction) * static_cast<std::uint64_t>(reduction);
  const std::uint64_t turned = header.orientation == 1 ? 1 : 2;
  const std::uint64_t bytes =
      stored / area * kBgr * turned + stored * DecoderBytes(picture, header);
  return {.bytes = bytes, .heavy = bytes > kLightBytes || stored > kLightPixels};
}

PictureCost DrawCost(cv::Size picture, const PictureCost& decoded) {
  const std::uint64_t pixels = PixelsOf(picture);
  // The drawn pixels, and a file that is hardly ever larger.
  return {.bytes = decoded.bytes + 2 * kBgr * pixels,
          .heavy = decoded.heavy || pixels > kLightDrawing};
}

absl::StatusOr<HeavyStep> BeginStep(HeavySteps& steps, const PictureCost& cost,
                                    const Patience& patience) {
  if (!cost.heavy) return HeavyStep();
  return steps.Begin(cost.bytes, patience);
}

}  // namespace inferpool::predict

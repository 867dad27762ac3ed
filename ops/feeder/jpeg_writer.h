// From a decoded picture to a JPEG, or to pixels of the size that is wanted.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "ops/feeder/ffmpeg.h"
#include "shared/base/status.h"

namespace inferpool::feeder {

// The size of a picture after scaling to `most_width` pixels if it is wider, its sides in the same
// proportion; 0: as it is. Pure.
struct PictureSize {
  int width = 0;
  int height = 0;
  bool operator==(const PictureSize&) const = default;
};
PictureSize ScaledSize(PictureSize size, int most_width);

// For one thread at a time; it keeps its memory from one picture to the next.
class JpegWriter {
 public:
  JpegWriter(int most_width, int quality);

  // Writes the picture, of any of FFmpeg's pixel formats, size and colour space, as a JPEG of
  // 4:2:0 into `jpeg`. INTERNAL says why it could not.
  absl::Status Write(const AVFrame& frame, std::string& jpeg);

  // Writes it as rows of BGR without gaps. A writer writes either JPEGs or pixels.
  absl::Status WritePixels(const AVFrame& frame, std::string& pixels);

  // Of the latest picture.
  PictureSize size() const { return size_; }

 private:
  absl::Status PrepareScaler(const AVFrame& frame, AVPixelFormat pixels);

  struct FreeTurbo {
    void operator()(void* handle) const;
  };
  // Size, pixel format, colour space and range: what the scaler was made for.
  using Form = std::tuple<int, int, int, int, int>;

  const int most_width_;
  const int quality_;
  std::unique_ptr<void, FreeTurbo> turbo_;
  Ffmpeg<SwsContext> scaler_;
  Form form_ = {};
  PictureSize size_;
  int stride_ = 0;
  std::vector<std::uint8_t> pixels_;
  std::vector<unsigned char> file_;
};

}  // namespace inferpool::feeder

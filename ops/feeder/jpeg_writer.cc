#include "ops/feeder/jpeg_writer.h"

#include <turbojpeg.h>

extern "C" {
#include <libavutil/pixdesc.h>
}

#include <algorithm>
#include <array>

namespace inferpool::feeder {
namespace {

// The scaler may write so many bytes past the end of a row.
constexpr int kAlignment = 64;

// The formats that say by their name that they use all values from 0 to 255.
bool HasFullRange(const AVFrame& frame) {
  switch (frame.format) {
    case AV_PIX_FMT_YUVJ420P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVJ444P:
    case AV_PIX_FMT_YUVJ440P:
    case AV_PIX_FMT_YUVJ411P:
      return true;
    default:
      return frame.color_range == AVCOL_RANGE_JPEG;
  }
}

int ColourTable(AVColorSpace space) {
  switch (space) {
    case AVCOL_SPC_BT709:
      return SWS_CS_ITU709;
    case AVCOL_SPC_FCC:
      return SWS_CS_FCC;
    case AVCOL_SPC_SMPTE240M:
      return SWS_CS_SMPTE240M;
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL:
      return SWS_CS_BT2020;
    default:
      return SWS_CS_DEFAULT;
  }
}

}  // namespace

PictureSize ScaledSize(PictureSize size, int most_width) {
  if (most_width <= 0 || size.width <= most_width) return size;
  const std::int64_t height =
      (std::int64_t{size.height} * most_width + size.width / 2) / size.width;
  return {.width = most_width, .height = static_cast<int>(std::max<std::int64_t>(height, 1))};
}

void JpegWriter::FreeTurbo::operator()(void* handle) const {
  tjDestroy(handle);
}

JpegWriter::JpegWriter(int most_width, int quality)
    : most_width_(most_width), quality_(quality), turbo_(tjInitCompress()) {}

absl::Status JpegWriter::PrepareScaler(const AVFrame& frame, AVPixelFormat pixels) {
  const bool full = HasFullRange(frame);
  const Form form{frame.width, frame.height, frame.format, ColourTable(frame.colorspace), full};
  if (scaler_ != nullptr && form == form_) return absl::OkStatus();
  size_ = ScaledSize({frame.width, frame.height}, most_width_);
  scaler_.reset(sws_getContext(frame.width, frame.height, static_cast<AVPixelFormat>(frame.format),
                               size_.width, size_.height, pixels, SWS_BILINEAR, nullptr, nullptr,
                               nullptr));
  if (scaler_ == nullptr) {
    return absl::InternalError(
        fmt::format("FFmpeg cannot convert pictures of {} x {} pixels", frame.width, frame.height));
  }
  sws_setColorspaceDetails(scaler_.get(), sws_getCoefficients(ColourTable(frame.colorspace)), full,
                           sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
  stride_ = (size_.width * 4 + kAlignment - 1) / kAlignment * kAlignment;
  pixels_.resize(static_cast<std::size_t>(stride_) * static_cast<std::size_t>(size_.height) +
                 kAlignment);
  file_.resize(tjBufSize(size_.width, size_.height, TJSAMP_420));
  form_ = form;
  return absl::OkStatus();
}

absl::Status JpegWriter::Write(const AVFrame& frame, std::string& jpeg) {
  RETURN_IF_ERROR(PrepareScaler(frame, AV_PIX_FMT_BGR0));
  const std::array<std::uint8_t*, 4> planes = {pixels_.data()};
  const std::array<int, 4> strides = {stride_};
  if (sws_scale(scaler_.get(), frame.data, frame.linesize, 0, frame.height, planes.data(),
                strides.data()) <= 0) {
    return absl::InternalError("FFmpeg could not convert a picture");
  }
  unsigned char* file = file_.data();
  unsigned long length = file_.size();
  if (tjCompress2(turbo_.get(), pixels_.data(), size_.width, stride_, size_.height, TJPF_BGRX,
                  &file, &length, TJSAMP_420, quality_, TJFLAG_NOREALLOC) != 0) {
    return absl::InternalError(
        fmt::format("a JPEG could not be written: {}", tjGetErrorStr2(turbo_.get())));
  }
  jpeg.assign(reinterpret_cast<const char*>(file), length);
  return absl::OkStatus();
}

absl::Status JpegWriter::WritePixels(const AVFrame& frame, std::string& pixels) {
  RETURN_IF_ERROR(PrepareScaler(frame, AV_PIX_FMT_BGR24));
  const int stride = 3 * size_.width;
  const std::size_t bytes =
      static_cast<std::size_t>(stride) * static_cast<std::size_t>(size_.height);
  pixels.resize(bytes + kAlignment);
  const std::array<std::uint8_t*, 4> planes = {reinterpret_cast<std::uint8_t*>(pixels.data())};
  const std::array<int, 4> strides = {stride};
  if (sws_scale(scaler_.get(), frame.data, frame.linesize, 0, frame.height, planes.data(),
                strides.data()) <= 0) {
    return absl::InternalError("FFmpeg could not convert a picture");
  }
  pixels.resize(bytes);
  return absl::OkStatus();
}

}  // namespace inferpool::feeder

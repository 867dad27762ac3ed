#include "shared/pictures/jpeg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <opencv2/imgproc.hpp>

// jpeglib.h needs <cstdio> in front of it.
#include <jerror.h>
#include <jpeglib.h>

#include "shared/base/status.h"
#include "shared/pictures/attempt.h"
#include "shared/pictures/too_late.h"

namespace inferpool::vision {
namespace {

[[noreturn]] void Stop(j_common_ptr jpeg);
void OnMessage(j_common_ptr jpeg, int level);

// libjpeg's state for one picture, gone with it.
struct Decoder {
  Decoder() {
    jpeg.err = jpeg_std_error(&errors);
    errors.error_exit = Stop;
    errors.emit_message = OnMessage;
    jpeg.client_data = this;
  }
  ~Decoder() { jpeg_destroy_decompress(&jpeg); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  std::jmp_buf stop{};
  bool end_missing = false;  // the bytes ended before the end-of-image marker
  bool too_late = false;
};

Decoder& DecoderOf(j_common_ptr jpeg) {
  return *static_cast<Decoder*>(jpeg->client_data);
}

void Stop(j_common_ptr jpeg) {
  std::longjmp(DecoderOf(jpeg).stop, 1);
}

// Whether libjpeg makes up pixels after this warning. The Huffman decoders warn of each missing bit
// (JWRN_HIT_MARKER) and of each missing restart interval (JWRN_MUST_RESYNC), so an early end and
// bytes that were skipped need not count. The arithmetic decoder warns of nothing else.
bool MakesUpPixels(int warning, bool arithmetic) {
  switch (warning) {
    case JWRN_NOT_SEQUENTIAL:
    case JWRN_JFIF_MAJOR:
    case JWRN_ADOBE_XFORM:
      return false;
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JPEG_EOF:
      return arithmetic;
    default:
      return true;
  }
}

void OnMessage(j_common_ptr jpeg, int level) {
  const bool is_warning = level < 0;
  if (!is_warning) return;
  Decoder& decoder = DecoderOf(jpeg);
  const int warning = decoder.errors.msg_code;
  if (warning == JWRN_JPEG_EOF) decoder.end_missing = true;
  if (MakesUpPixels(warning, decoder.jpeg.arith_code != FALSE)) Stop(jpeg);
}

// libjpeg meets a restart marker with another number than the next one's. One or two intervals off,
// it leaves some out or makes them up, and warns. Further off, it takes the number for a mistake
// and goes on, which loses nothing: should intervals be lost, the last ones are missing in the end.
boolean FollowRestart(j_decompress_ptr jpeg, int wanted) {
  constexpr int kFirst = 0xd0;
  constexpr int kNumbers = 8;
  constexpr int kNear = 2;
  const int found = jpeg->unread_marker - kFirst;
  const int ahead = (found - wanted + kNumbers) % kNumbers;
  const bool is_restart = found >= 0 && found < kNumbers;
  if (!is_restart || ahead <= kNear || ahead >= kNumbers - kNear || jpeg->arith_code != FALSE) {
    return jpeg_resync_to_restart(jpeg, wanted);
  }
  jpeg->unread_marker = 0;
  return TRUE;
}

absl::Status Damaged(Decoder& decoder) {
  std::array<char, JMSG_LENGTH_MAX> text{};
  decoder.errors.format_message(reinterpret_cast<j_common_ptr>(&decoder.jpeg), text.data());
  if (decoder.errors.msg_code == JERR_OUT_OF_MEMORY) {
    return absl::ResourceExhaustedError(fmt::format("JPEG decoder: {}", text.data()));
  }
  return absl::DataLossError(fmt::format("damaged JPEG: {}", text.data()));
}

bool HasEveryComponent(const jpeg_decompress_struct& jpeg) {
  return std::all_of(jpeg.comp_info, jpeg.comp_info + jpeg.num_components,
                     [](const jpeg_component_info& info) { return info.quant_table != nullptr; });
}

// Whether the scans so far told all bits of all coefficients.
bool HasEveryBit(const jpeg_decompress_struct& jpeg) {
  if (jpeg.coef_bits == nullptr) return true;  // not progressive
  return std::all_of(jpeg.coef_bits, jpeg.coef_bits + jpeg.num_components, [](const auto& bits) {
    return std::all_of(std::begin(bits), std::end(bits), [](int missing) { return missing == 0; });
  });
}

// Reads scans until nothing is missing any more, or up to the end. An encoder may leave out the
// last bits; then only the end-of-image marker tells that no scan is lost.
absl::Status ReadScans(Decoder& decoder, Deadline deadline) {
  jpeg_decompress_struct& jpeg = decoder.jpeg;
  const bool read = Attempt(decoder.stop, [&] {
    int progress = JPEG_ROW_COMPLETED;
    while (progress != JPEG_REACHED_EOI) {
      decoder.too_late = deadline.Expired(Clock::now());
      if (decoder.too_late) return;
      progress = jpeg_consume_input(&jpeg);
      if (progress == JPEG_SCAN_COMPLETED && HasEveryComponent(jpeg) && HasEveryBit(jpeg)) return;
    }
  });
  if (decoder.too_late) return TooLate(Format::kJpeg);
  if (!read) return Damaged(decoder);
  if (!HasEveryComponent(jpeg) || (decoder.end_missing && !HasEveryBit(jpeg))) {
    return absl::DataLossError("damaged JPEG: scans are missing");
  }
  return absl::OkStatus();
}

// Reads the rows into `pixels`, and nothing behind them.
absl::Status ReadRows(Decoder& decoder, cv::Mat& pixels, Deadline deadline) {
  jpeg_decompress_struct& jpeg = decoder.jpeg;
  const bool read = Attempt(decoder.stop, [&] {
    if (jpeg.buffered_image != FALSE) jpeg_start_output(&jpeg, jpeg.input_scan_number);
    while (jpeg.output_scanline < jpeg.output_height) {
      decoder.too_late = deadline.Expired(Clock::now());
      if (decoder.too_late) return;
      std::array<JSAMPROW, 16> rows;
      JDIMENSION count = 0;
      while (count < rows.size() && jpeg.output_scanline + count < jpeg.output_height) {
        rows[count] = pixels.ptr(static_cast<int>(jpeg.output_scanline + count));
        ++count;
      }
      jpeg_read_scanlines(&jpeg, rows.data(), count);
    }
  });
  if (decoder.too_late) return TooLate(Format::kJpeg);
  return read ? absl::OkStatus() : Damaged(decoder);
}

// Adobe's inverted CMYK: 255 is no ink.
cv::Mat InvertedCmykToBgr(const cv::Mat& cmyk) {
  cv::Mat bgr(cmyk.size(), CV_8UC3);
  const auto scale = [](int value, int white) {
    return static_cast<unsigned char>((value * white + 127) / 255);
  };
  for (int y = 0; y < cmyk.rows; ++y) {
    const auto* from = cmyk.ptr<cv::Vec4b>(y);
    auto* to = bgr.ptr<cv::Vec3b>(y);
    for (int x = 0; x < cmyk.cols; ++x) {
      const cv::Vec4b& ink = from[x];
      to[x] = {scale(ink[2], ink[3]), scale(ink[1], ink[3]), scale(ink[0], ink[3])};
    }
  }
  return bgr;
}

// To grey, or to BGR. CMYK has no way to grey but by way of BGR.
absl::StatusOr<cv::Mat> DecodeTo(bool grey, std::string_view bytes, const Header& header,
                                 int reduction, Deadline deadline) {
  Decoder decoder;
  jpeg_decompress_struct& jpeg = decoder.jpeg;
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  const bool has_header = Attempt(decoder.stop, [&] {
    jpeg_create_decompress(&jpeg);
    jpeg_mem_src(&jpeg, data, bytes.size());
    jpeg.src->resync_to_restart = FollowRestart;
    jpeg_read_header(&jpeg, TRUE);
  });
  if (!has_header) return Damaged(decoder);
  const cv::Size size(static_cast<int>(jpeg.image_width), static_cast<int>(jpeg.image_height));
  if (size != cv::Size(header.width, header.height)) {
    return absl::DataLossError(fmt::format("damaged JPEG: {} x {} in the header, {} x {} decoded",
                                           header.width, header.height, size.width, size.height));
  }

  const bool is_cmyk = jpeg.jpeg_color_space == JCS_CMYK || jpeg.jpeg_color_space == JCS_YCCK;
  jpeg.out_color_space = is_cmyk ? JCS_CMYK : grey ? JCS_GRAYSCALE : JCS_EXT_BGR;
  jpeg.scale_num = 1;
  jpeg.scale_denom = static_cast<unsigned>(reduction);
  const bool started = Attempt(decoder.stop, [&] {
    // Leaves the reading of the scans to us, so that what follows the last one cannot spoil them.
    jpeg.buffered_image = jpeg_has_multiple_scans(&jpeg);
    jpeg_start_decompress(&jpeg);
  });
  if (!started) return Damaged(decoder);
  if (jpeg.buffered_image != FALSE) RETURN_IF_ERROR(ReadScans(decoder, deadline));

  cv::Mat pixels(static_cast<int>(jpeg.output_height), static_cast<int>(jpeg.output_width),
                 is_cmyk ? CV_8UC4
                 : grey  ? CV_8UC1
                         : CV_8UC3);
  RETURN_IF_ERROR(ReadRows(decoder, pixels, deadline));
  // libjpeg rounds up. A last pixel that is mostly padding would shift all others.
  const cv::Mat rounded = pixels(cv::Rect({0, 0}, Reduced(size, reduction)));
  if (!is_cmyk) return rounded;
  cv::Mat bgr = InvertedCmykToBgr(rounded);
  if (!grey) return bgr;
  cv::Mat brightness;
  cv::cvtColor(bgr, brightness, cv::COLOR_BGR2GRAY);
  return brightness;
}

}  // namespace

int ReducedSide(int side, int reduction) {
  return static_cast<int>((std::int64_t{side} + reduction / 2) / reduction);
}

cv::Size Reduced(cv::Size size, int reduction) {
  return {std::max(1, ReducedSide(size.width, reduction)),
          std::max(1, ReducedSide(size.height, reduction))};
}

absl::StatusOr<cv::Mat> DecodeJpeg(std::string_view bytes, const Header& header, int reduction,
                                   Deadline deadline) {
  return DecodeTo(/*grey=*/false, bytes, header, reduction, deadline);
}

absl::StatusOr<cv::Mat> DecodeGreyJpeg(std::string_view bytes, const Header& header, int reduction,
                                       Deadline deadline) {
  return DecodeTo(/*grey=*/true, bytes, header, reduction, deadline);
}

}  // namespace inferpool::vision

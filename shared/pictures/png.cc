#include "shared/pictures/png.h"

#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string>

#include "shared/base/status.h"
#include "shared/pictures/attempt.h"
#include "shared/pictures/bytes.h"
#include "shared/pictures/chunks.h"
#include "shared/pictures/too_late.h"

namespace inferpool::vision {
namespace {

absl::Status Damaged(std::string_view what) {
  return absl::DataLossError(fmt::format("damaged PNG picture: {}", what));
}

// PNG, 5.4: the first letter of a critical chunk's type is a capital.
bool IsCritical(const Chunk& chunk) {
  return (chunk.type[0] & 0x20) == 0;
}

// What the picture is read from.
struct PicturePart {
  std::string_view whole;  // the chunks up to the last IDAT chunk of those that follow each other
  std::string cut_head;    // of an IDAT chunk that is cut off, with the length of what is there
  std::string_view cut_data;  // of that chunk
  std::string_view cut_tail;  // in place of its checksum
};

// An IDAT chunk at `at` that is cut off, within its data or its checksum.
void AddCutChunk(std::string_view bytes, std::size_t at, PicturePart& part) {
  constexpr std::size_t kHead = 8;
  constexpr std::string_view kNoChecksum("\0\0\0\0", 4);
  const std::string_view chunk = bytes.substr(at);
  if (chunk.size() < kHead || chunk.substr(4, 4) != "IDAT") return;
  part.cut_data = chunk.substr(kHead, BigEndian32(chunk, 0));
  const std::size_t length = part.cut_data.size();
  for (const unsigned shift : {24U, 16U, 8U, 0U}) {
    part.cut_head += static_cast<char>(length >> shift & 0xffU);
  }
  part.cut_head += "IDAT";
  part.cut_tail = kNoChecksum;
}

// A chunk that is cut off has no checksum to judge by: its rows tell whether the picture is whole.
absl::StatusOr<PicturePart> FindPicture(std::string_view bytes) {
  Chunks chunks = Chunks::OfPng(bytes);
  std::size_t end = 0;
  std::optional<Chunk> chunk;
  while ((chunk = chunks.Next())) {
    const bool is_data = chunk->type == "IDAT";
    if (!is_data && end != 0) break;
    if (IsCritical(*chunk) && !chunk->HasRightChecksum()) {
      return Damaged("the checksum of a critical chunk is wrong");
    }
    if (is_data) end = chunks.position();
  }
  PicturePart part{.whole = bytes.substr(0, end), .cut_head = {}, .cut_data = {}, .cut_tail = {}};
  if (!chunk) {
    part.whole = bytes.substr(0, chunks.position());
    AddCutChunk(bytes, chunks.position(), part);
  }
  if (end == 0 && part.cut_head.empty()) return Damaged("it is cut off");
  return part;
}

// libpng's state for one picture, gone with it.
struct Decoder {
  Decoder() = default;
  ~Decoder() { png_destroy_read_struct(&png, &info, nullptr); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  png_structp png = nullptr;
  png_infop info = nullptr;
  std::array<std::string_view, 4> rest;  // what libpng has not read yet, one piece after the other
  std::jmp_buf stop{};
  std::array<char, 100> error{};
  bool too_late = false;
};

[[noreturn]] void OnError(png_structp png, png_const_charp text) {
  Decoder& decoder = *static_cast<Decoder*>(png_get_error_ptr(png));
  std::strncpy(decoder.error.data(), text, decoder.error.size() - 1);
  std::longjmp(decoder.stop, 1);
}

void OnWarning(png_structp /*png*/, png_const_charp /*text*/) {}

void Read(png_structp png, png_bytep to, std::size_t wanted) {
  for (std::string_view& piece : static_cast<Decoder*>(png_get_io_ptr(png))->rest) {
    const std::size_t count = std::min(wanted, piece.size());
    to = std::copy_n(piece.begin(), count, to);
    piece.remove_prefix(count);
    wanted -= count;
  }
  if (wanted > 0) png_error(png, "it is cut off");
}

void Configure(png_structp png, const Header& header) {
  png_set_user_limits(png, static_cast<png_uint_32>(header.width),
                      static_cast<png_uint_32>(header.height));
  // All ancillary chunks but tRNS.
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  // FindPicture() has looked at the checksums that matter.
  png_set_crc_action(png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
  png_set_option(png, PNG_IGNORE_ADLER32, PNG_OPTION_ON);
  // Some writers name a smaller window than their data needs.
  png_set_option(png, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON);
}

void ToBgr(png_structp png, png_infop info) {
  png_set_strip_16(png);
  png_set_strip_alpha(png);
  png_set_expand(png);
  png_set_gray_to_rgb(png);
  png_set_bgr(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
}

// libpng reads on behind the last row, and may fail there.
bool HasLastRow(png_structp png, const Header& header) {
  return png_get_current_pass_number(png) >= 7 ||
         png_get_current_row_number(png) >= static_cast<png_uint_32>(header.height);
}

}  // namespace

absl::StatusOr<cv::Mat> DecodePng(std::string_view bytes, const Header& header, Deadline deadline) {
  ASSIGN_OR_RETURN(const PicturePart part, FindPicture(bytes));
  Decoder decoder;
  decoder.rest = {part.whole, part.cut_head, part.cut_data, part.cut_tail};
  const bool has_header = Attempt(decoder.stop, [&] {
    decoder.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoder, OnError, OnWarning);
    if (decoder.png == nullptr) return;
    decoder.info = png_create_info_struct(decoder.png);
    png_set_read_fn(decoder.png, &decoder, Read);
    Configure(decoder.png, header);
    png_read_info(decoder.png, decoder.info);
    ToBgr(decoder.png, decoder.info);
  });
  if (!has_header) return Damaged(decoder.error.data());
  if (decoder.png == nullptr) return absl::ResourceExhaustedError("no memory for a PNG decoder");
  const cv::Size size(static_cast<int>(png_get_image_width(decoder.png, decoder.info)),
                      static_cast<int>(png_get_image_height(decoder.png, decoder.info)));
  if (size != cv::Size(header.width, header.height)) {
    return Damaged(fmt::format("{} x {} in the header, {} x {} decoded", header.width,
                               header.height, size.width, size.height));
  }

  cv::Mat pixels(size, CV_8UC3);
  if (png_get_rowbytes(decoder.png, decoder.info) != pixels.step) {
    return Damaged("its rows have another length");
  }
  const bool read = Attempt(decoder.stop, [&] {
    constexpr int kRowsPerLook = 16;
    for (int pass = png_set_interlace_handling(decoder.png); pass > 0; --pass) {
      for (int row = 0; row < pixels.rows; ++row) {
        decoder.too_late = row % kRowsPerLook == 0 && deadline.Expired(Clock::now());
        if (decoder.too_late) return;
        png_read_row(decoder.png, pixels.ptr(row), nullptr);
      }
    }
  });
  if (decoder.too_late) return TooLate(Format::kPng);
  if (!read && !HasLastRow(decoder.png, header)) return Damaged(decoder.error.data());
  return pixels;
}

}  // namespace inferpool::vision

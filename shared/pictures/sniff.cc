#include "shared/pictures/sniff.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace inferpool::vision {
namespace {

using namespace std::string_view_literals;

struct Magic {
  std::size_t at;
  std::string_view bytes;
  std::string_view name;
};

constexpr std::array kMagics = {
    Magic{0, "BM"sv, "BMP"},
    Magic{0, "II*\0"sv, "TIFF"},
    Magic{0, "MM\0*"sv, "TIFF"},
    Magic{0, "II+\0"sv, "BigTIFF"},
    Magic{0, "%PDF-"sv, "PDF"},
    Magic{0, "\0\0\0\x0cjP  \r\n\x87\n"sv, "JPEG 2000"},
    Magic{0, "\xff\x4f\xff\x51"sv, "JPEG 2000"},
    Magic{0, "\0\0\0\x0cJXL \r\n\x87\n"sv, "JPEG XL"},
    Magic{0, "\xff\x0a"sv, "JPEG XL"},
    Magic{0, "\0\0\1\0"sv, "ICO"},
    Magic{0, "8BPS"sv, "Photoshop"},
    Magic{0, "PK\3\4"sv, "ZIP"},
    Magic{0, "\x1f\x8b"sv, "gzip"},
    Magic{4, "ftypavif"sv, "AVIF"},
    Magic{4, "ftypavis"sv, "AVIF"},
    Magic{4, "ftyphei"sv, "HEIC"},
    Magic{4, "ftyphev"sv, "HEIC"},
    Magic{4, "ftypmif1"sv, "HEIC or AVIF"},
    Magic{4, "ftypmsf1"sv, "HEIC or AVIF"},
    Magic{4, "ftyp"sv, "MP4"},
    Magic{8, "AVI "sv, "AVI"},
    Magic{8, "WAVE"sv, "WAV"},
};

bool IsText(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 ? byte != 0x7f : c == '\t' || c == '\n' || c == '\r';
  });
}

}  // namespace

std::string_view GuessForeignFormat(std::string_view bytes) {
  if (bytes.empty()) {
    return "empty";
  }
  for (const Magic& magic : kMagics) {
    if (bytes.size() >= magic.at && bytes.substr(magic.at).starts_with(magic.bytes)) {
      return magic.name;
    }
  }
  const std::string_view start = bytes.substr(0, 1024);
  if (!IsText(start)) {
    return "";
  }
  if (start.find("<svg"sv) != std::string_view::npos) {
    return "SVG";
  }
  if (start.find("<html"sv) != std::string_view::npos ||
      start.find("<!DOCTYPE html"sv) != std::string_view::npos) {
    return "HTML";
  }
  return "text";
}

}  // namespace inferpool::vision

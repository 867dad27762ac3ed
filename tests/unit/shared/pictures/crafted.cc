#include "tests/unit/shared/pictures/crafted.h"

#include <zlib.h>

#include <cstdlib>
#include <stdexcept>

#include "shared/pictures/decode.h"
#include "shared/pictures/header.h"

namespace inferpool::vision {
namespace {

std::string BigEndian(std::size_t value, int bytes) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    text += static_cast<char>(value >> shift & 0xff);
  }
  return text;
}

std::string LittleEndian16(int value) {
  return {static_cast<char>(value & 0xff), static_cast<char>(value >> 8)};
}

std::string Deflated(const std::string& data) {
  uLongf size = compressBound(data.size());
  std::string packed(size, '\0');
  compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
            reinterpret_cast<const Bytef*>(data.data()), data.size(), 9);
  packed.resize(size);
  return packed;
}

}  // namespace

cv::Mat Scene(cv::Size size) {
  cv::Mat pixels(size, CV_8UC3);
  for (int y = 0; y < size.height; ++y) {
    for (int x = 0; x < size.width; ++x) {
      pixels.at<cv::Vec3b>(y, x) = {static_cast<unsigned char>(x * 3 + y),
                                    static_cast<unsigned char>(y * 5 + x * y / 16),
                                    static_cast<unsigned char>(x + y * 2)};
    }
  }
  return pixels;
}

absl::StatusOr<cv::Mat> Decoded(const std::string& bytes) {
  const auto header = ReadHeader(bytes);
  return header.ok() ? Decode(bytes, *header) : header.status();
}

std::string Inserted(std::string bytes, std::size_t at, std::string_view extra) {
  bytes.insert(at, extra);
  return bytes;
}

std::string EncodedJpeg(const cv::Mat& pixels,
                        const std::function<void(jpeg_compress_struct&)>& configure) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* out = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &out, &size);
  jpeg.image_width = static_cast<JDIMENSION>(pixels.cols);
  jpeg.image_height = static_cast<JDIMENSION>(pixels.rows);
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_EXT_BGR;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 90, TRUE);
  if (configure) configure(jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  for (int y = 0; y < pixels.rows; ++y) {
    auto* row = const_cast<unsigned char*>(pixels.ptr(y));
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  std::string bytes(reinterpret_cast<char*>(out), size);
  std::free(out);
  return bytes;
}

std::vector<Segment> Segments(std::string_view jpeg) {
  std::vector<Segment> segments;
  const auto byte = [jpeg](std::size_t at) { return static_cast<unsigned char>(jpeg.at(at)); };
  for (std::size_t at = 2; at + 1 < jpeg.size();) {
    const unsigned marker = byte(at + 1);
    if (byte(at) != 0xff || marker == 0 || marker == 0xff) {
      ++at;
      continue;
    }
    const bool alone = marker >= 0xd0 && marker <= 0xd9;
    const std::size_t end = at + 2 + (alone ? 0U : byte(at + 2) * 256U + byte(at + 3));
    segments.push_back({marker, at, end});
    if (marker == 0xd9) break;
    at = end;
  }
  return segments;
}

Segment Find(std::string_view jpeg, unsigned marker, std::size_t nth) {
  for (const Segment& segment : Segments(jpeg)) {
    if (segment.marker == marker && nth-- == 0) return segment;
  }
  throw std::runtime_error("no such segment");
}

std::string Without(std::string jpeg, unsigned first, unsigned last) {
  const std::vector<Segment> segments = Segments(jpeg);
  for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
    if (segment->marker >= first && segment->marker <= last) {
      jpeg.erase(segment->begin, segment->end - segment->begin);
    }
  }
  return jpeg;
}

std::size_t WithinScan(std::string_view jpeg, double part) {
  const std::size_t begin = Find(jpeg, 0xda).end;
  std::size_t end = jpeg.size();
  for (const Segment& segment : Segments(jpeg)) {
    const bool restart = segment.marker >= 0xd0 && segment.marker <= 0xd7;
    if (segment.begin >= begin && !restart) {
      end = segment.begin;
      break;
    }
  }
  std::size_t at = begin + static_cast<std::size_t>(static_cast<double>(end - begin) * part);
  while (jpeg.substr(at - 2, 4).find('\xff') != std::string_view::npos) ++at;
  return at;
}

std::string PngChunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  const uLong sum = crc32_z(0, reinterpret_cast<const Bytef*>(body.data()), body.size());
  return BigEndian(data.size(), 4) + body + BigEndian(sum, 4);
}

std::string EncodedPng(const cv::Mat& pixels,
                       const std::function<std::string(std::string)>& change) {
  std::string rows;
  for (int y = 0; y < pixels.rows; ++y) {
    rows += '\0';  // no filter
    for (int x = 0; x < pixels.cols; ++x) {
      const auto& pixel = pixels.at<cv::Vec3b>(y, x);
      for (const int channel : {2, 1, 0}) rows += static_cast<char>(pixel[channel]);
    }
  }
  const std::string head = BigEndian(static_cast<std::size_t>(pixels.cols), 4) +
                           BigEndian(static_cast<std::size_t>(pixels.rows), 4) +
                           std::string("\x08\x02\0\0\0", 5);
  const std::string data = Deflated(rows);
  return "\x89PNG\r\n\x1a\n" + PngChunk("IHDR", head) +
         PngChunk("IDAT", change ? change(data) : data) + PngChunk("IEND", "");
}

std::string EncodedGif(cv::Size size) {
  const std::string sides = LittleEndian16(size.width) + LittleEndian16(size.height);
  std::string gif = "GIF89a" + sides + std::string("\xf7\0\0", 3);
  for (int i = 0; i < 256; ++i) {
    gif += {static_cast<char>(i), static_cast<char>(255 - i), static_cast<char>(i * 7 & 0xff)};
  }
  std::string packed;
  unsigned held = 0;
  unsigned bits = 0;
  const auto add = [&](unsigned code) {
    held |= code << bits;
    for (bits += 9; bits >= 8; bits -= 8) {
      packed += static_cast<char>(held & 0xff);
      held >>= 8;
    }
  };
  constexpr unsigned kClear = 256;
  const cv::Mat pixels = Scene(size);
  unsigned since = kClear - 2;  // after so many codes they would grow
  for (int y = 0; y < pixels.rows; ++y) {
    for (int x = 0; x < pixels.cols; ++x) {
      if (since == kClear - 2) {
        add(kClear);
        since = 0;
      }
      add(pixels.at<cv::Vec3b>(y, x)[1]);
      ++since;
    }
  }
  add(kClear + 1);
  if (bits > 0) packed += static_cast<char>(held & 0xff);
  gif += "," + std::string(4, '\0') + sides + std::string("\0\x08", 2);
  for (std::size_t at = 0; at < packed.size(); at += 255) {
    const std::string block = packed.substr(at, 255);
    gif += static_cast<char>(block.size()) + block;
  }
  return gif + std::string("\0;", 2);
}

}  // namespace inferpool::vision

#include "worker/vision/tensor_writer.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <opencv2/core.hpp>
#include <opencv2/core/hal/intrin.hpp>
#include <opencv2/imgproc.hpp>

namespace inferpool::vision {
namespace {

// A half-precision number's bits. OpenCV converts; C++20 has no type for it.
using HalfBits = std::uint16_t;

// The value of each byte in each of the model's channels.
template <typename Value>
using Table = std::array<std::array<Value, 256>, 3>;

Table<float> FloatTable(const InputLayout& layout) {
  Table<float> table;
  for (std::size_t channel = 0; channel < 3; ++channel) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      table[channel][byte] =
          static_cast<float>(byte) * layout.scale[channel] + layout.offset[channel];
    }
  }
  return table;
}

Table<HalfBits> HalfTable(const InputLayout& layout) {
  Table<float> floats = FloatTable(layout);
  Table<HalfBits> halves;
  cv::Mat converted(3, 256, CV_16F, halves.data());
  cv::Mat(3, 256, CV_32F, floats.data()).convertTo(converted, CV_16F);
  return halves;
}

Table<std::uint8_t> ByteTable() {
  Table<std::uint8_t> table;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    table[0][byte] = table[1][byte] = table[2][byte] = static_cast<std::uint8_t>(byte);
  }
  return table;
}

// Where in a BGR pixel the model's channels are.
std::array<int, 3> ByteOfChannel(const InputLayout& layout) {
  return layout.rgb ? std::array{2, 1, 0} : std::array{0, 1, 2};
}

// How much padding lies around the content.
struct Margins {
  std::size_t left, top, right, bottom;
};

Margins MarginsOf(const Placement& placement) {
  const auto [left, top, width, height] = placement.content;
  return {static_cast<std::size_t>(left), static_cast<std::size_t>(top),
          static_cast<std::size_t>(placement.input.width - left - width),
          static_cast<std::size_t>(placement.input.height - top - height)};
}

// Writes some of a row's pixels from the start on; returns how many.
template <typename Value>
std::ptrdiff_t WriteInBulk(const unsigned char*, std::ptrdiff_t, const InputLayout&,
                           const std::array<Value*, 3>&) {
  return 0;
}

// Sixteen pixels at a time, the only case that is worth it: at the speed of memory, 2.5 times that
// of looking up.
std::ptrdiff_t WriteInBulk(const unsigned char* bgr, std::ptrdiff_t count,
                           const InputLayout& layout, const std::array<float*, 3>& planes) {
  const std::array<int, 3> byte_of_channel = ByteOfChannel(layout);
  std::ptrdiff_t done = 0;
  for (; done + 16 <= count; done += 16) {
    std::array<cv::v_uint8x16, 3> bytes;
    cv::v_load_deinterleave(bgr + 3 * done, bytes[0], bytes[1], bytes[2]);
    for (std::size_t channel = 0; channel < 3; ++channel) {
      const cv::v_float32x4 scale = cv::v_setall_f32(layout.scale[channel]);
      const cv::v_float32x4 offset = cv::v_setall_f32(layout.offset[channel]);
      std::array<cv::v_uint16x8, 2> words;
      cv::v_expand(bytes[static_cast<std::size_t>(byte_of_channel[channel])], words[0], words[1]);
      float* out = planes[channel] + done;
      for (const cv::v_uint16x8& eight : words) {
        std::array<cv::v_uint32x4, 2> fours;
        cv::v_expand(eight, fours[0], fours[1]);
        for (const cv::v_uint32x4& four : fours) {
          cv::v_store(out, cv::v_cvt_f32(cv::v_reinterpret_as_s32(four)) * scale + offset);
          out += 4;
        }
      }
    }
  }
  return done;
}

template <typename Value>
void WritePlanar(const cv::Mat& pixels, const Placement& placement, const InputLayout& layout,
                 const Table<Value>& table, Value* out) {
  const Margins margins = MarginsOf(placement);
  const std::array<int, 3> byte_of_channel = ByteOfChannel(layout);
  const auto width = static_cast<std::size_t>(placement.input.width);
  const auto height = static_cast<std::size_t>(placement.input.height);

  std::array<Value*, 3> planes{out, out + width * height, out + 2 * width * height};
  for (std::size_t channel = 0; channel < 3; ++channel) {
    const std::size_t before = margins.top * width + margins.left;
    planes[channel] = std::fill_n(planes[channel], before, table[channel][kPadding]);
  }
  for (int y = 0; y < pixels.rows; ++y) {
    const unsigned char* bgr = pixels.ptr(y);
    const std::ptrdiff_t bulk = WriteInBulk(bgr, pixels.cols, layout, planes);
    for (std::size_t channel = 0; channel < 3; ++channel) {
      Value* plane = planes[channel];
      const unsigned char* from = bgr + byte_of_channel[channel];
      for (std::ptrdiff_t x = bulk; x < pixels.cols; ++x) {
        plane[x] = table[channel][from[3 * x]];
      }
      const bool last = y + 1 == pixels.rows;
      const std::size_t between = margins.right + (last ? margins.bottom * width : margins.left);
      planes[channel] = std::fill_n(plane + pixels.cols, between, table[channel][kPadding]);
    }
  }
}

template <typename Value>
Value* PadInterleaved(Value* out, std::size_t pixels, const Table<Value>& table) {
  for (std::size_t i = 0; i < pixels; ++i) {
    for (std::size_t channel = 0; channel < 3; ++channel) {
      *out++ = table[channel][kPadding];
    }
  }
  return out;
}

template <typename Value>
void WriteInterleaved(const cv::Mat& pixels, const Placement& placement, const InputLayout& layout,
                      const Table<Value>& table, Value* out) {
  const Margins margins = MarginsOf(placement);
  const auto [first, second, third] = ByteOfChannel(layout);
  const auto width = static_cast<std::size_t>(placement.input.width);

  out = PadInterleaved(out, margins.top * width, table);
  for (int y = 0; y < pixels.rows; ++y) {
    out = PadInterleaved(out, margins.left, table);
    const unsigned char* from = pixels.ptr(y);
    for (int x = 0; x < pixels.cols; ++x, from += 3, out += 3) {
      out[0] = table[0][from[first]];
      out[1] = table[1][from[second]];
      out[2] = table[2][from[third]];
    }
    out = PadInterleaved(out, margins.right, table);
  }
  PadInterleaved(out, margins.bottom * width, table);
}

template <typename Value>
void Write(const cv::Mat& pixels, const Placement& placement, const InputLayout& layout,
           const Table<Value>& table, std::span<std::byte> row) {
  auto* out = reinterpret_cast<Value*>(row.data());
  if (layout.channels_first) {
    WritePlanar(pixels, placement, layout, table, out);
  } else {
    WriteInterleaved(pixels, placement, layout, table, out);
  }
}

// Interleaved bytes stay as they are but for the channels' order.
void CopyBytes(const cv::Mat& pixels, const Placement& placement, const InputLayout& layout,
               std::span<std::byte> row) {
  if (placement.content.size() != placement.input) {
    std::fill(row.begin(), row.end(), std::byte{kPadding});
  }
  cv::Mat input(placement.input, CV_8UC3, row.data());
  cv::Mat content = input(placement.content);
  if (layout.rgb) {
    cv::cvtColor(pixels, content, cv::COLOR_BGR2RGB);
  } else {
    pixels.copyTo(content);
  }
}

}  // namespace

void WriteTensor(const cv::Mat& pixels, const Placement& placement, const InputLayout& layout,
                 std::span<std::byte> row) {
  switch (layout.datatype) {
    case Datatype::kFp32:
      Write(pixels, placement, layout, FloatTable(layout), row);
      return;
    case Datatype::kFp16:
      Write(pixels, placement, layout, HalfTable(layout), row);
      return;
    case Datatype::kUint8:
      if (layout.channels_first) {
        Write(pixels, placement, layout, ByteTable(), row);
      } else {
        CopyBytes(pixels, placement, layout, row);
      }
      return;
  }
}

}  // namespace inferpool::vision

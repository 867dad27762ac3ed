// Mends the checksums of a changed PNG, which would otherwise hide all behind them.
#include <cstring>

#include "tests/fuzz/check.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace {

// PNG, 5.5 and annex D.
std::uint32_t Crc(const std::uint8_t* data, std::size_t size) {
  std::uint32_t crc = 0xffffffff;
  for (std::size_t i = 0; i < size; ++i) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
  }
  return ~crc;
}

std::uint32_t BigEndian(const std::uint8_t* at) {
  return std::uint32_t{at[0]} << 24 | std::uint32_t{at[1]} << 16 | std::uint32_t{at[2]} << 8 |
         at[3];
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, most);
  constexpr std::size_t kSignature = 8;
  constexpr std::size_t kAroundData = 12;
  const bool leave_as_it_is = seed % 8 == 0;
  if (leave_as_it_is || size < kSignature || std::memcmp(data, "\x89PNG", 4) != 0) return size;
  std::size_t at = kSignature;
  while (size - at >= kAroundData && BigEndian(data + at) <= size - at - kAroundData) {
    const std::uint32_t length = BigEndian(data + at);
    std::uint8_t* end = data + at + 8 + length;
    const std::uint32_t crc = Crc(data + at + 4, length + 4);
    for (unsigned i = 0; i < 4; ++i) end[i] = static_cast<std::uint8_t>(crc >> (24 - 8 * i));
    at += kAroundData + length;
  }
  return size;
}

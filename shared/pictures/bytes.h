// Integers at a position of a byte string. The caller has checked that the bytes are there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace inferpool::vision {

inline std::uint32_t Byte(std::string_view bytes, std::size_t at) {
  return static_cast<unsigned char>(bytes[at]);
}

inline std::uint32_t BigEndian16(std::string_view bytes, std::size_t at) {
  return Byte(bytes, at) << 8 | Byte(bytes, at + 1);
}

inline std::uint32_t BigEndian32(std::string_view bytes, std::size_t at) {
  return BigEndian16(bytes, at) << 16 | BigEndian16(bytes, at + 2);
}

inline std::uint32_t LittleEndian16(std::string_view bytes, std::size_t at) {
  return Byte(bytes, at + 1) << 8 | Byte(bytes, at);
}

inline std::uint32_t LittleEndian24(std::string_view bytes, std::size_t at) {
  return Byte(bytes, at + 2) << 16 | LittleEndian16(bytes, at);
}

inline std::uint32_t LittleEndian32(std::string_view bytes, std::size_t at) {
  return LittleEndian16(bytes, at + 2) << 16 | LittleEndian16(bytes, at);
}

}  // namespace inferpool::vision

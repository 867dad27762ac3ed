#include "shared/plain_png.h"

#include <cstddef>
#include <cstdint>

namespace inferpool {
namespace {

constexpr std::size_t kSignature = 8;
constexpr std::size_t kAroundData = 12;  // length, type and checksum

// The size of the whole chunk at the front; 0 when it is not all there.
std::size_t ChunkSize(std::string_view bytes) {
  if (bytes.size() < kAroundData) return 0;
  std::uint32_t length = 0;
  for (const char c : bytes.substr(0, 4)) length = length << 8 | static_cast<unsigned char>(c);
  return length <= bytes.size() - kAroundData ? kAroundData + length : 0;
}

// PNG, 5.4: the first letter of a critical chunk's type is a capital.
bool IsOfThePicture(std::string_view chunk) {
  const std::string_view type = chunk.substr(4, 4);
  return (type[0] & 0x20) == 0 || type == "tRNS" || type == "eXIf";
}

}  // namespace

std::string_view PlainPng(std::string_view png, std::string& storage) {
  storage.clear();
  bool changed = false;
  std::size_t kept = 0;  // what is in `storage` already, or not needed there
  std::size_t at = kSignature < png.size() ? kSignature : png.size();
  while (const std::size_t size = ChunkSize(png.substr(at))) {
    if (!IsOfThePicture(png.substr(at, size))) {
      if (!changed) storage.reserve(png.size());
      changed = true;
      storage.append(png.substr(kept, at - kept));
      kept = at + size;
    }
    at += size;
  }
  if (!changed) return png;
  storage.append(png.substr(kept));
  return storage;
}

}  // namespace inferpool

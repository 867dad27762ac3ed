#include "shared/pictures/gif_blocks.h"

#include <cstdint>

#include "shared/pictures/bytes.h"

namespace inferpool::vision {
namespace {

// What the flags of the screen's or an image's descriptor say of the table that follows.
std::size_t ColourTableBytes(std::uint32_t flags) {
  return (flags & 0x80) != 0 ? std::size_t{3} << ((flags & 7) + 1) : 0;
}

}  // namespace

GifBlocks::GifBlocks(std::string_view bytes) : bytes_(bytes) {
  constexpr std::size_t kFlags = 10;
  constexpr std::size_t kScreenEnd = 13;
  if (!Skip(kScreenEnd) || !Skip(ColourTableBytes(Byte(bytes, kFlags)))) {
    at_ = bytes.size();
  }
}

bool GifBlocks::Skip(std::size_t bytes) {
  if (bytes > bytes_.size() - at_) {
    return false;
  }
  at_ += bytes;
  return true;
}

bool GifBlocks::SkipChain() {
  while (at_ < bytes_.size()) {
    const std::size_t length = Byte(bytes_, at_++);
    if (length == 0) {
      return true;
    }
    if (!Skip(length)) {
      return false;
    }
  }
  return true;
}

std::optional<GifBlock> GifBlocks::Next() {
  while (at_ < bytes_.size() && bytes_[at_] == '\0') ++at_;
  const std::size_t start = at_;
  if (!Skip(1)) {
    return std::nullopt;
  }
  const char kind = bytes_[start];
  if (kind == ';') {
    return GifBlock{.kind = kind, .data = {}};
  }
  if (kind == '!') {
    constexpr std::size_t kLabel = 1;
    return Skip(kLabel) && SkipChain() ? std::optional(GifBlock{.kind = kind, .data = {}})
                                       : std::nullopt;
  }
  constexpr std::size_t kDescriptor = 9;
  constexpr std::size_t kCodeSize = 1;
  if (kind != ',' || !Skip(kDescriptor)) {
    return std::nullopt;
  }
  const std::string_view descriptor = bytes_.substr(start + 1, kDescriptor);
  const std::size_t table = ColourTableBytes(Byte(descriptor, kDescriptor - 1));
  if (!Skip(table + kCodeSize)) {
    return std::nullopt;
  }
  if (SkipChain()) {
    return GifBlock{.kind = kind, .data = descriptor};
  }
  const std::size_t length_at = at_ - 1;
  at_ = bytes_.size();
  return GifBlock{.kind = kind, .data = descriptor, .cut_at = length_at};
}

}  // namespace inferpool::vision

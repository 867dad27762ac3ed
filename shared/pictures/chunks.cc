#include "shared/pictures/chunks.h"

#include <zlib.h>

#include "shared/pictures/bytes.h"

namespace inferpool::vision {

bool Chunk::HasRightChecksum() const {
  const auto add = [](uLong sum, std::string_view bytes) {
    return crc32_z(sum, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  };
  return add(add(0, type), data) == checksum;
}

std::optional<Chunk> Chunks::Next() {
  const std::size_t around = png_ ? 12 : 8;  // length, type and PNG's checksum
  if (at_ > bytes_.size() || bytes_.size() - at_ < around) {
    return std::nullopt;
  }
  const std::size_t length = png_ ? BigEndian32(bytes_, at_) : LittleEndian32(bytes_, at_ + 4);
  if (length > bytes_.size() - at_ - around) {
    return std::nullopt;
  }
  const Chunk chunk{bytes_.substr(png_ ? at_ + 4 : at_, 4), bytes_.substr(at_ + 8, length),
                    png_ ? BigEndian32(bytes_, at_ + 8 + length) : 0};
  const std::size_t padding = png_ ? 0 : length & 1;
  at_ += around + length + padding;
  return chunk;
}

}  // namespace inferpool::vision

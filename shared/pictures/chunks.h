// The chunk lists of PNG and of WebP (RIFF), read from front to back without trusting a length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace inferpool::vision {

struct Chunk {
  std::string_view type;  // four letters
  std::string_view data;
  std::uint32_t checksum = 0;  // PNG's, as it is stored

  // PNG: whether the checksum is that of the type and the data (PNG, 5.5).
  bool HasRightChecksum() const;
};

// Walks the whole chunks. Borrows `bytes`.
class Chunks {
 public:
  // Begins after PNG's eight bytes of signature. Next() does not check the checksums.
  static Chunks OfPng(std::string_view bytes) { return {bytes, 8, /*png=*/true}; }
  // Begins after "RIFF", the length and "WEBP".
  static Chunks OfWebp(std::string_view bytes) { return {bytes, 12, /*png=*/false}; }

  // Returns the next chunk, or nullopt when no whole chunk follows.
  std::optional<Chunk> Next();

  // The position after the last chunk that Next() returned.
  std::size_t position() const { return at_; }

 private:
  Chunks(std::string_view bytes, std::size_t at, bool png) : bytes_(bytes), at_(at), png_(png) {}

  std::string_view bytes_;
  std::size_t at_;
  bool png_;
};

}  // namespace inferpool::vision

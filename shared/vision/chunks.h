// The chunk lists of PNG and of WebP (RIFF), read from front to back without trusting a length.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace inferpool::vision {

struct Chunk {
  std::string_view type;  // four letters
  std::string_view data;
};

// Walks the chunks that are whole. Borrows `bytes`.
class Chunks {
 public:
  // After PNG's eight bytes of signature; the checksums are skipped, not verified.
  static Chunks OfPng(std::string_view bytes) { return {bytes, 8, /*png=*/true}; }
  // After "RIFF", the length and "WEBP".
  static Chunks OfWebp(std::string_view bytes) { return {bytes, 12, /*png=*/false}; }

  // The next chunk; nothing at the end, and nothing when what follows is not a whole chunk.
  std::optional<Chunk> Next();

 private:
  Chunks(std::string_view bytes, std::size_t at, bool png) : bytes_(bytes), at_(at), png_(png) {}

  std::string_view bytes_;
  std::size_t at_;
  bool png_;
};

}  // namespace inferpool::vision

// The blocks of a GIF (its specification, version 89a), read from front to back without trusting a
// length.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace inferpool::vision {

struct GifBlock {
  char kind;              // '!' an extension, ',' an image, ';' the trailer
  std::string_view data;  // an image's descriptor of 9 bytes; otherwise empty
  // Where the length of the image's last data block stands, if the bytes end within that block.
  std::optional<std::size_t> cut_at{};
};

// Walks the whole blocks. Some writers get two things wrong, so zero bytes between blocks are
// skipped, and the end of the bytes counts as the zero byte that ends a chain of data blocks. An
// image may end within its data: what is left may still hold all its pixels. Borrows `bytes`.
class GifBlocks {
 public:
  // Begins after the signature, the logical screen's descriptor and its colour table.
  explicit GifBlocks(std::string_view bytes);

  // Returns the next block, or nullopt when no whole block follows. Stop at the trailer.
  std::optional<GifBlock> Next();

 private:
  // Moves past `bytes` bytes, or past a chain of data blocks. Returns false when they are not
  // there.
  bool Skip(std::size_t bytes);
  bool SkipChain();

  std::string_view bytes_;
  std::size_t at_ = 0;
};

}  // namespace inferpool::vision

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
};

// Walks the blocks that are whole, an image with all its data. Zero bytes between blocks are
// skipped, and the end of the bytes counts as the zero byte that ends a chain of data blocks: some
// writers get these wrong. Borrows `bytes`.
class GifBlocks {
 public:
  // After the signature, the logical screen's descriptor and its colour table.
  explicit GifBlocks(std::string_view bytes);

  // The next block; nothing when what follows is not a whole block. A caller stops at the trailer.
  std::optional<GifBlock> Next();

 private:
  // Moves behind as many bytes, or behind a chain of data blocks; false when they are not there.
  bool Skip(std::size_t bytes);
  bool SkipChain();

  std::string_view bytes_;
  std::size_t at_ = 0;
};

}  // namespace inferpool::vision

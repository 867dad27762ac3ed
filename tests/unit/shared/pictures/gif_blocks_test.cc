#include "shared/pictures/gif_blocks.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>

namespace inferpool::vision {
namespace {

using namespace std::string_literals;

const std::string kScreen = "GIF89a\1\0\1\0\0\0\0"s;
const std::string kImage = ",abcdefgh\0\2\3xyz\1u\0"s;

TEST(GifBlocksTest, WalksExtensionsImagesAndTheTrailer) {
  const std::string bytes = kScreen + "!\xf9\4flag\0"s + kImage + ";";
  GifBlocks blocks(bytes);
  const auto extension = blocks.Next();
  ASSERT_TRUE(extension);
  EXPECT_EQ(extension->kind, '!');
  const auto image = blocks.Next();
  ASSERT_TRUE(image);
  EXPECT_EQ(image->kind, ',');
  EXPECT_EQ(image->data, "abcdefgh\0"s);
  const auto trailer = blocks.Next();
  ASSERT_TRUE(trailer);
  EXPECT_EQ(trailer->kind, ';');
  EXPECT_FALSE(blocks.Next());
}

TEST(GifBlocksTest, SkipsColourTables) {
  std::string bytes =
      kScreen + std::string(6, 'c') + kImage + ",abcdefgh\x81"s + std::string(12, 'c') + "\2\0;"s;
  bytes[10] = '\x80';
  GifBlocks blocks(bytes);
  EXPECT_EQ(blocks.Next()->kind, ',');
  EXPECT_EQ(blocks.Next()->kind, ',');
  EXPECT_EQ(blocks.Next()->kind, ';');
}

TEST(GifBlocksTest, ABlockThatIsCutOffIsNoneButForAnImagesData) {
  const std::string whole = kScreen + kImage;
  const std::size_t data = whole.size() - 7;  // "\3xyz\1u\0"
  for (std::size_t length = 0; length < whole.size(); ++length) {
    // A copy of its own, so that the address sanitizer sees a read past the end.
    const std::string cut(whole, 0, length);
    const auto block = GifBlocks(cut).Next();
    EXPECT_EQ(block.has_value(), length >= data) << length;
    const bool ends_between_data_blocks =
        length == data || length == data + 4 || length == data + 6;
    if (!block) continue;
    EXPECT_EQ(block->cut_at.has_value(), !ends_between_data_blocks) << length;
    if (!block->cut_at) continue;
    EXPECT_EQ(*block->cut_at, length < data + 4 ? data : data + 4);
  }
  EXPECT_FALSE(GifBlocks(kScreen + "!\xfe\3ab"s).Next());
  EXPECT_TRUE(GifBlocks(whole).Next());
  EXPECT_FALSE(GifBlocks(kScreen + "?").Next());
}

TEST(GifBlocksTest, SkipsZeroBytesBetweenBlocks) {
  const std::string bytes = kScreen + "\0\0"s + kImage + "\0"s + kImage + "\0;"s;
  GifBlocks blocks(bytes);
  EXPECT_EQ(blocks.Next()->kind, ',');
  EXPECT_EQ(blocks.Next()->kind, ',');
  EXPECT_EQ(blocks.Next()->kind, ';');
  EXPECT_FALSE(GifBlocks(kScreen + "\0\0"s).Next());
}

}  // namespace
}  // namespace inferpool::vision

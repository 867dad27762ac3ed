#include "shared/base/fixed_text.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <type_traits>

namespace inferpool {
namespace {

TEST(FixedTextTest, HoldsWhatItIsGiven) {
  EXPECT_EQ(FixedText<8>().view(), "");
  EXPECT_EQ(FixedText<8>("").view(), "");
  EXPECT_EQ(FixedText<8>("abc").view(), "abc");
  EXPECT_EQ(FixedText<8>("1234567").view(), "1234567");
}

TEST(FixedTextTest, ALongerTextIsCut) {
  EXPECT_EQ(FixedText<8>("12345678").view(), "1234567");
  EXPECT_EQ(FixedText<8>(std::string(100'000, 'x')).view(), "xxxxxxx");
}

TEST(FixedTextTest, ItEndsAtAZeroByte) {
  EXPECT_EQ(FixedText<8>(std::string_view("ab\0cd", 5)).view(), "ab");
}

TEST(FixedTextTest, ZeroBytesAreAnEmptyText) {
  FixedText<8> text("abc");
  std::memset(static_cast<void*>(&text), 0, sizeof(text));
  EXPECT_EQ(text.view(), "");
  EXPECT_EQ(text, FixedText<8>());
}

TEST(FixedTextTest, AFullOneWithoutAnEndIsReadToItsLastCharacter) {
  FixedText<4> text;
  text.characters.fill('x');  // as a torn or foreign memory may be
  EXPECT_EQ(text.view(), "xxxx");
}

TEST(FixedTextTest, EqualTextsAreEqual) {
  EXPECT_EQ(FixedText<8>("abc"), FixedText<8>("abc"));
  EXPECT_FALSE(FixedText<8>("abc") == FixedText<8>("abd"));
  EXPECT_EQ(FixedText<4>("abcd"), FixedText<4>("abce")) << "as far as they are kept";
}

TEST(FixedTextTest, IsCopiedByteByByte) {
  static_assert(std::is_trivially_copyable_v<FixedText<72>>);
  static_assert(sizeof(FixedText<72>) == 72);
}

}  // namespace
}  // namespace inferpool

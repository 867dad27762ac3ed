#include "worker/kserve_http/inflate.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <stop_token>

namespace inferpool::kserve_http {
namespace {

std::string Compress(std::string_view text, int window_bits, int level = 9) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, level, Z_DEFLATED, window_bits, 9, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(deflateBound(&stream, text.size()) + 100, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}
std::string Gzip(std::string_view text) {
  return Compress(text, MAX_WBITS + 16);
}
std::string Deflate(std::string_view text) {
  return Compress(text, MAX_WBITS);
}

std::string Varied(std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * i >> 3);
  return text;
}

TEST(InflateTest, WhatWasPackedIsUnpacked) {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{3'000'000}}) {
    const std::string text = Varied(bytes);
    EXPECT_EQ(*Inflate(Gzip(text), "gzip", bytes), text);
    EXPECT_EQ(*Inflate(Deflate(text), "deflate", bytes + 1), text);
  }
}

// RFC 1952, section 2.2.
TEST(InflateTest, SeveralGzipMembersAreOneBody) {
  std::string text;
  std::string packed;
  for (const std::size_t bytes : {0, 1, 300'000, 0, 0, 700'000, 5}) {
    text += Varied(bytes);
    packed += Gzip(Varied(bytes));
  }
  EXPECT_EQ(*Inflate(packed, "gzip", text.size()), text);
  EXPECT_EQ(InflatedBytes(packed, "gzip", 10'000'000), text.size());
  EXPECT_TRUE(absl::IsOutOfRange(Inflate(packed, "gzip", text.size() - 1).status()));
  for (const std::string& end : {std::string("x"), std::string(8, '\0'), packed.substr(0, 12),
                                 packed.substr(0, 19), Deflate("x"), std::string("\x1f")}) {
    EXPECT_TRUE(absl::IsDataLoss(Inflate(packed + end, "gzip", 10'000'000).status()));
  }
  EXPECT_TRUE(
      absl::IsDataLoss(Inflate(Deflate("x") + Deflate("y"), "deflate", 10'000'000).status()))
      << "of deflate there is one";
}

TEST(InflateTest, ManySmallMembersTakeNoTime) {
  std::string packed;
  for (int i = 0; i < 200'000; ++i) packed += Gzip(std::string(i % 2, 'x'));
  const Patience patience{.deadline = Deadline::After(std::chrono::seconds(5))};
  EXPECT_EQ(*Inflate(packed, "gzip", 1'000'000, patience), std::string(100'000, 'x'));
}

// Each trailer of each member may lie; what was counted is never exceeded.
TEST(InflateTest, OfMembersWhoseTrailersLieNoMoreAreUnpacked) {
  const std::string large = Gzip(std::string(1'000'000, 'x'));
  for (const bool first : {true, false}) {
    std::string lying = large;
    lying.replace(lying.size() - 4, 4, std::string("\x10\0\0\0", 4));
    const std::string packed = first ? lying + large : large + lying;
    EXPECT_EQ(InflatedBytes(packed, "gzip", 50'000'000), 1'000'016U);
    EXPECT_TRUE(absl::IsDataLoss(Inflate(packed, "gzip", 50'000'000).status()));
  }
}

// The bytes of a header may lie in the data, which then promise too much, and are unpacked as ever.
TEST(InflateTest, WhatOnlyLooksLikeAMemberIsData) {
  const std::string text = std::string(2'000, '\xff') + Gzip("inner") + std::string(2'000, '\xff');
  std::string packed = Compress(text, MAX_WBITS + 16);
  EXPECT_EQ(*Inflate(packed, "gzip", text.size()), text);
  // Stored, not packed: the inner header stands there as it is.
  packed = Compress(text, MAX_WBITS + 16, /*level=*/0);
  EXPECT_EQ(*Inflate(packed, "gzip", 5'000), text);
  EXPECT_EQ(InflatedBytes(packed, "gzip", 5'000), 5'000U);
}

TEST(InflateTest, ABombEndsAtTheLimit) {
  const std::string bomb = Gzip(std::string(100'000'000, '\0'));
  EXPECT_LT(bomb.size(), 200'000U);
  EXPECT_TRUE(absl::IsOutOfRange(Inflate(bomb, "gzip", 1'000'000).status()));
  EXPECT_TRUE(absl::IsOutOfRange(Inflate(Gzip(Varied(1'001)), "gzip", 1'000).status()));
}

TEST(InflateTest, WhatIsNotSoundIsRefused) {
  const std::string text = Varied(10'000);
  const std::string packed = Gzip(text);
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{5}, packed.size() - 1}) {
    EXPECT_TRUE(absl::IsDataLoss(Inflate(packed.substr(0, bytes), "gzip", 20'000).status()));
  }
  EXPECT_TRUE(absl::IsDataLoss(Inflate(packed + "x", "gzip", 20'000).status()));
  EXPECT_TRUE(absl::IsDataLoss(Inflate(text, "gzip", 20'000).status()));
  EXPECT_TRUE(absl::IsDataLoss(Inflate(packed, "deflate", 20'000).status()));
  std::string damaged = packed;
  damaged[packed.size() / 2] ^= 1;
  EXPECT_TRUE(absl::IsDataLoss(Inflate(damaged, "gzip", 20'000).status()));
  EXPECT_TRUE(absl::IsUnimplemented(Inflate(packed, "br", 20'000).status()));
  EXPECT_TRUE(absl::IsUnimplemented(Inflate(packed, "gzip, gzip", 20'000).status()));
}

TEST(InflateTest, ItEndsWithThePatience) {
  const std::string packed = Gzip(std::string(10'000'000, 'x'));
  const Patience over{.deadline = Deadline(Clock::now())};
  EXPECT_TRUE(absl::IsDeadlineExceeded(Inflate(packed, "gzip", 20'000'000, over).status()));
  std::stop_source departed;
  departed.request_stop();
  const Patience left{.departed = departed.get_token()};
  EXPECT_TRUE(absl::IsCancelled(Inflate(packed, "gzip", 20'000'000, left).status()));
}

TEST(InflateTest, TheSizeIsKnownBefore) {
  for (const std::size_t bytes : {0, 1, 1'000, 3'000'000}) {
    const std::string text(bytes, 'x');
    EXPECT_EQ(InflatedBytes(Gzip(text), "gzip", 10'000'000), bytes);
    EXPECT_GE(InflatedBytes(Deflate(text), "deflate", 10'000'000), bytes);
    if (bytes <= 1'000) {
      EXPECT_EQ(InflatedBytes(Deflate(text), "deflate", 10'000'000), bytes);
    }
    EXPECT_LE(InflatedBytes(Gzip(text), "gzip", 500), 500U);
    EXPECT_LE(InflatedBytes(Deflate(text), "deflate", 500), 500U);
  }
  EXPECT_EQ(InflatedBytes("", "gzip", 500), 0U);
}

// Nobody gets more than was counted: all of it would take far longer than this patience.
TEST(InflateTest, OfATrailerThatNamesFewerBytesNoMoreAreUnpacked) {
  std::string packed = Gzip(std::string(400'000'000, 'x'));
  packed.replace(packed.size() - 4, 4, std::string("\x10\0\0\0", 4));
  EXPECT_EQ(InflatedBytes(packed, "gzip", 500'000'000), 16U);
  const Patience short_one{.deadline = Deadline::After(std::chrono::milliseconds(100))};
  const auto text = Inflate(packed, "gzip", 500'000'000, short_one);
  EXPECT_TRUE(absl::IsDataLoss(text.status())) << text.status();
}

}  // namespace
}  // namespace inferpool::kserve_http

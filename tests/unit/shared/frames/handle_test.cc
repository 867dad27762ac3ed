#include "shared/frames/handle.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace inferpool::frames {
namespace {

constexpr std::string_view kBoot = "0b5c1a9e-0001-4242-8888-0123456789ab";
const std::string kGood = fmt::format("inferpool.47-1f 7 42 921600 bgr 640 480 1920 {}", kBoot);

TEST(HandleTest, AllOfIt) {
  const auto handle = ParseHandle(kGood);
  ASSERT_TRUE(handle.ok()) << handle.status();
  EXPECT_EQ(handle->segment, "inferpool.47-1f");
  EXPECT_EQ(handle->slot, 7U);
  EXPECT_EQ(handle->generation, 42U);
  EXPECT_EQ(handle->bytes, 921'600U);
  EXPECT_EQ(handle->format, Format::kBgr);
  EXPECT_EQ(handle->width, 640);
  EXPECT_EQ(handle->height, 480);
  EXPECT_EQ(handle->stride, 1'920U);
  EXPECT_EQ(handle->boot_id, kBoot);
}

TEST(HandleTest, FilesNeedNoSides) {
  EXPECT_TRUE(ParseHandle(fmt::format("inferpool.a 0 2 1 jpeg 0 0 0 {}", kBoot)).ok());
}

TEST(HandleTest, TheLastRowNeedNotBeFull) {
  EXPECT_TRUE(ParseHandle(fmt::format("inferpool.a 0 2 92 grey 12 5 20 {}", kBoot)).ok());
  EXPECT_FALSE(ParseHandle(fmt::format("inferpool.a 0 2 91 grey 12 5 20 {}", kBoot)).ok());
}

TEST(HandleTest, TwoPlanes) {
  EXPECT_TRUE(ParseHandle(fmt::format("inferpool.a 0 2 24 nv12 4 4 4 {}", kBoot)).ok());
  EXPECT_FALSE(ParseHandle(fmt::format("inferpool.a 0 2 23 nv12 4 4 4 {}", kBoot)).ok());
  EXPECT_FALSE(ParseHandle(fmt::format("inferpool.a 0 2 24 nv12 4 3 4 {}", kBoot)).ok());
}

TEST(HandleTest, WhatIsNoneIsRefused) {
  const std::string boot(kBoot);
  const std::vector<std::string> texts = {
      "",
      " ",
      "inferpool.a",
      kGood + " ",
      kGood + " more",
      " " + kGood,
      "inferpool.a  0 2 1 jpeg 0 0 0 " + boot,
      "inferpool.a 0 2 1 jpeg 0 0 0 ",
      "inferpool.a 0 2 1 jpeg 0 0 0 " + boot.substr(1),
      "inferpool.a 0 2 1 jpeg 0 0 0 ../../../../etc/passwd/aaaaaaaaaaaaaa",
      "../etc/passwd 0 2 1 jpeg 0 0 0 " + boot,
      "inferpool./../x 0 2 1 jpeg 0 0 0 " + boot,
      "inferpool. 0 2 1 jpeg 0 0 0 " + boot,
      "inferpool-1234-ab 0 2 1 jpeg 0 0 0 " + boot,
      "inferpool." + std::string(65, 'a') + " 0 2 1 jpeg 0 0 0 " + boot,
      "inferpool.\x01 0 2 1 jpeg 0 0 0 " + boot,
      std::string("inferpool.a\0b 0 2 1 jpeg 0 0 0 ", 31) + boot,
      "inferpool.a 256 2 1 jpeg 0 0 0 " + boot,
      "inferpool.a -1 2 1 jpeg 0 0 0 " + boot,
      "inferpool.a +1 2 1 jpeg 0 0 0 " + boot,
      "inferpool.a 0x1 2 1 jpeg 0 0 0 " + boot,
      "inferpool.a 00 2 1 jpeg 0 0 0 " + boot,
      "inferpool.a 0 0 1 jpeg 0 0 0 " + boot,
      "inferpool.a 0 3 1 jpeg 0 0 0 " + boot,
      "inferpool.a 0 18446744073709551616 1 jpeg 0 0 0 " + boot,
      "inferpool.a 0 2 0 jpeg 0 0 0 " + boot,
      "inferpool.a 0 2 1 gif 0 0 0 " + boot,
      "inferpool.a 0 2 1 JPEG 0 0 0 " + boot,
      "inferpool.a 0 2 1 bgr 0 0 0 " + boot,
      "inferpool.a 0 2 12 bgr 2 2 5 " + boot,
      "inferpool.a 0 2 11 bgr 2 2 6 " + boot,
      "inferpool.a 0 2 99999999999 bgr 2 2 4294967295 " + boot,
      "inferpool.a 0 2 12884508675 bgr 65536 65535 196608 " + boot,
      "inferpool.a 0 2 1 bgr 65535 65535 196605 " + boot,
  };
  for (const std::string& text : texts) {
    EXPECT_EQ(ParseHandle(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace inferpool::frames

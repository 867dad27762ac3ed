#include "shared/plain_png.h"

#include <gtest/gtest.h>

#include <string>

namespace inferpool {
namespace {

constexpr std::string_view kSignature = "\x89PNG\r\n\x1a\n";

std::string Chunk(const std::string& type, const std::string& data) {
  std::string chunk(4, '\0');
  chunk[2] = static_cast<char>(data.size() >> 8U);
  chunk[3] = static_cast<char>(data.size() & 0xffU);
  return chunk + type + data + "sum.";
}

std::string Plain(const std::string& png) {
  std::string storage;
  return std::string(PlainPng(png, storage));
}

TEST(PlainPngTest, AFileOfNothingElseIsItself) {
  const std::string png = std::string(kSignature) + Chunk("IHDR", "13") + Chunk("PLTE", "rgb") +
                          Chunk("tRNS", "a") + Chunk("eXIf", "b") + Chunk("IDAT", "data") +
                          Chunk("IEND", "");
  std::string storage;
  EXPECT_EQ(PlainPng(png, storage).data(), png.data());
  EXPECT_EQ(PlainPng(png, storage).size(), png.size());
}

TEST(PlainPngTest, WhatIsNotOfThePictureIsLeftOut) {
  const std::string head = std::string(kSignature) + Chunk("IHDR", "13");
  const std::string data = Chunk("IDAT", "data");
  const std::string end = Chunk("IDAT", "more") + Chunk("IEND", "");
  EXPECT_EQ(Plain(head + Chunk("zTXt", "text") + Chunk("iCCP", std::string(300, 'p')) + data +
                  Chunk("tEXt", "") + end + Chunk("tIME", "x")),
            head + data + end);
}

TEST(PlainPngTest, WhereAChunkIsNotWholeTheRestStays) {
  const std::string cut = Chunk("zTXt", "text").substr(0, 15);
  EXPECT_EQ(Plain(std::string(kSignature) + Chunk("tEXt", "a") + cut),
            std::string(kSignature) + cut);
  for (const std::string png : {"", "x", "12345678", "12345678901234567890"}) {
    EXPECT_EQ(Plain(png), png);
  }
}

}  // namespace
}  // namespace inferpool

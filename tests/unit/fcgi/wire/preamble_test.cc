#include "fcgi/wire/preamble.h"

#include <gtest/gtest.h>

#include <map>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/unit/fcgi/wire/fastcgi_client.h"

namespace inferpool::fcgi {

// For GoogleTest's messages.
static void PrintTo(Preamble preamble, std::ostream* stream) {
  *stream << (preamble == Preamble::kGood  ? "good"
              : preamble == Preamble::kBad ? "bad"
                                           : "incomplete");
}

namespace {

using test::Encode;
using test::EncodeBegin;
using test::EncodeParameters;
using test::EncodeRequest;
using test::EncodeStream;
using test::Record;

// A preamble with this content in its parameters.
std::string With(const std::string& parameters) {
  return EncodeBegin() + EncodeStream(Record::kParams, parameters) + Encode(Record::kParams, "");
}

TEST(PreambleTest, WhatNginxSendsIsGood) {
  EXPECT_EQ(ValidatePreamble(EncodeRequest("body", {{"REQUEST_URI", "/a?b"}, {"EMPTY", ""}})),
            Preamble::kGood);
  EXPECT_EQ(ValidatePreamble(With("")), Preamble::kGood) << "no parameters at all";
  EXPECT_EQ(
      ValidatePreamble(With(EncodeParameters({{std::string(127, 'n'), std::string(128, 'v')},
                                              {std::string(128, 'n'), std::string(127, 'v')}}))),
      Preamble::kGood);
}

TEST(PreambleTest, IsIncompleteUntilTheEmptyParametersRecordIsWhole) {
  const std::string whole =
      EncodeBegin(true) +
      EncodeStream(Record::kParams, EncodeParameters({{"NAME", "value"}}), 5, 3) +
      Encode(Record::kParams, "", 4);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const std::vector<char> cut(whole.begin(), whole.begin() + static_cast<long>(length));
    EXPECT_EQ(ValidatePreamble({cut.data(), cut.size()}), Preamble::kIncomplete) << length;
  }
  EXPECT_EQ(ValidatePreamble(whole), Preamble::kGood);
}

TEST(PreambleTest, WhatFollowsIsNotLookedAt) {
  EXPECT_EQ(ValidatePreamble(With("") + "garbage"), Preamble::kGood);
  EXPECT_EQ(ValidatePreamble(With("") + std::string(1'000'000, '\xff')), Preamble::kGood);
}

TEST(PreambleTest, AnotherProtocolIsBadFromItsFirstByte) {
  EXPECT_EQ(ValidatePreamble("G"), Preamble::kBad);
  EXPECT_EQ(ValidatePreamble("GET / HTTP/1.1\r\n"), Preamble::kBad);
  EXPECT_EQ(ValidatePreamble(
                Encode(Record::kBegin, std::string("\0\1\0\0\0\0\0\0", 8), 0, 1, /*version=*/2)),
            Preamble::kBad);
}

TEST(PreambleTest, RecordsInAnotherOrderAreBad) {
  EXPECT_EQ(ValidatePreamble(Encode(Record::kParams, "")), Preamble::kBad);
  EXPECT_EQ(ValidatePreamble(Encode(Record::kStdin, "x")), Preamble::kBad);
  EXPECT_EQ(ValidatePreamble(EncodeBegin() + EncodeBegin()), Preamble::kBad);
  EXPECT_EQ(ValidatePreamble(EncodeBegin() + Encode(Record::kStdin, "x")), Preamble::kBad);
  EXPECT_EQ(ValidatePreamble(EncodeBegin() + Encode(Record::kAbort, "")), Preamble::kBad);
}

TEST(PreambleTest, ABeginThatIsNoneIsBad) {
  EXPECT_EQ(
      ValidatePreamble(Encode(Record::kBegin, std::string("\0\1\0\0\0\0\0\0", 8), /*padding=*/8)),
      Preamble::kBad)
      << "libfcgi takes the padding for a record";
  EXPECT_EQ(ValidatePreamble(Encode(Record::kBegin, "abc")), Preamble::kBad);
  EXPECT_EQ(ValidatePreamble(Encode(Record::kBegin, std::string(9, '\0'))), Preamble::kBad);
}

TEST(PreambleTest, ARoleThatIsNotTheRespondersIsBad) {
  for (const int role : {0, 2, 3, 200}) {
    EXPECT_EQ(ValidatePreamble(EncodeBegin(false, role) + Encode(Record::kParams, "")),
              Preamble::kBad)
        << role;
  }
}

TEST(PreambleTest, ARequestWithoutANumberIsBad) {
  const std::string begin(std::string_view("\0\1\0\0\0\0\0\0", 8));
  EXPECT_EQ(ValidatePreamble(Encode(Record::kBegin, begin, 0, /*request=*/1)),
            Preamble::kIncomplete);
  EXPECT_EQ(ValidatePreamble(Encode(Record::kBegin, begin, 0, /*request=*/0)), Preamble::kBad);
}

TEST(PreambleTest, ParametersOfAnotherRequestAreBad) {
  EXPECT_EQ(ValidatePreamble(EncodeBegin() + Encode(Record::kParams, "", 0, /*request=*/2)),
            Preamble::kBad);
}

TEST(PreambleTest, LengthsThatDoNotFitAreBad) {
  for (const std::string_view parameters :
       {std::string_view("\x01\x00", 2), std::string_view("\x00\x01", 2),
        std::string_view("\x05", 1), std::string_view("\x02\x02xyz", 5),
        std::string_view("\x80", 1), std::string_view("\x80\x00\x00\x01\x00", 5),
        std::string_view("\x80\x00\x00", 3), std::string_view("\xff\xff\xff\xff\x7f", 5),
        std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff", 8),
        std::string_view("\x01\x01xy\x01", 5)}) {
    EXPECT_EQ(ValidatePreamble(With(std::string(parameters))), Preamble::kBad)
        << testing::PrintToString(parameters);
  }
}

TEST(PreambleTest, ParametersAreTakenUpToTheLimitAndNotBeyond) {
  const std::string fits = EncodeParameters({{"N", std::string(kMaxParameterBytes - 6, 'v')}});
  ASSERT_EQ(fits.size(), kMaxParameterBytes);
  EXPECT_EQ(ValidatePreamble(With(fits)), Preamble::kGood);
  EXPECT_EQ(ValidatePreamble(With(fits + std::string(2, '\0'))), Preamble::kBad);
  // Without waiting for their end.
  EXPECT_EQ(ValidatePreamble(EncodeBegin() + EncodeStream(Record::kParams, fits + "x")),
            Preamble::kBad);
}

// Whatever has come first: bad stays bad and good stays good, so a verdict may be given at once.
TEST(PreambleTest, MoreBytesTakeNoVerdictBack) {
  const std::string good =
      With(EncodeParameters({{"REQUEST_URI", "/"}, {std::string(130, 'n'), ""}}));
  std::mt19937 random(20'261'121);
  const auto below = [&random](std::size_t end) {
    return std::uniform_int_distribution<std::size_t>(0, end - 1)(random);
  };
  std::map<Preamble, int> verdicts;
  for (int round = 0; round < 5'000; ++round) {
    std::vector<char> bytes(good.begin(), good.end());
    for (std::size_t i = 0; i <= below(3); ++i) {
      bytes[below(bytes.size())] = static_cast<char>(below(256));
    }
    const Preamble whole = ValidatePreamble({bytes.data(), bytes.size()});
    ++verdicts[whole];
    // A copy of its own, so that a sanitizer sees a read beyond the end.
    const std::vector<char> cut(bytes.begin(),
                                bytes.begin() + static_cast<long>(below(bytes.size() + 1)));
    const Preamble first = ValidatePreamble({cut.data(), cut.size()});
    ASSERT_TRUE(first == whole || first == Preamble::kIncomplete)
        << cut.size() << " of " << testing::PrintToString(bytes);
  }
  for (const Preamble each : {Preamble::kGood, Preamble::kBad, Preamble::kIncomplete}) {
    EXPECT_GT(verdicts[each], 10) << "the bytes are too much alike";
  }
}

}  // namespace
}  // namespace inferpool::fcgi

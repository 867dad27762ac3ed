#include "worker/http/multipart.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inferpool::http {
namespace {

using std::string_literals::operator""s;

constexpr const char* kType = "multipart/form-data; boundary=B";

std::string Disposition(const std::string& parameters) {
  return "Content-Disposition: form-data; " + parameters + "\r\n";
}

std::string Part(const std::string& headers, const std::string& content) {
  return "--B\r\n" + headers + "\r\n" + content + "\r\n";
}

std::string Field(const std::string& name, const std::string& content) {
  return Part(Disposition("name=\"" + name + "\""), content);
}

std::string Form(const std::string& parts) {
  return parts + "--B--\r\n";
}

testing::AssertionResult Finds(std::string_view type, std::string_view body,
                               std::string_view wanted) {
  const auto found = FindPart(type, body, "image");
  if (!found.ok()) return testing::AssertionFailure() << found.status();
  if (*found != wanted) return testing::AssertionFailure() << "found \"" << *found << "\"";
  // A view of the body, not a copy.
  if (!found->empty() &&
      (found->data() < body.data() || found->data() + found->size() > body.data() + body.size())) {
    return testing::AssertionFailure() << "found a copy";
  }
  return testing::AssertionSuccess();
}

testing::AssertionResult Finds(std::string_view body, std::string_view wanted) {
  return Finds(kType, body, wanted);
}

testing::AssertionResult Refuses(std::string_view type, std::string_view body,
                                 const std::string& reason = "") {
  const auto found = FindPart(type, body, "image");
  if (found.ok()) return testing::AssertionFailure() << "found \"" << *found << "\"";
  if (!absl::IsInvalidArgument(found.status()) ||
      std::string(Message(found.status())).find(reason) == std::string::npos) {
    return testing::AssertionFailure() << found.status();
  }
  return testing::AssertionSuccess();
}

testing::AssertionResult Refuses(std::string_view body) {
  return Refuses(kType, body);
}

TEST(MultipartTest, FindsTheFieldAmongOthers) {
  EXPECT_TRUE(Finds(Form(Field("image", "CONTENT")), "CONTENT"));
  EXPECT_TRUE(
      Finds(Form(Field("a", "1") + Field("image", "CONTENT") + Field("b", "2")), "CONTENT"));
  EXPECT_TRUE(Finds(
      Form(Part(Disposition("name=\"image\"; filename=\"a.jpg\"") + "Content-Type: image/jpeg\r\n",
                "CONTENT")),
      "CONTENT"));
}

TEST(MultipartTest, FindsTheFieldThatIsAskedFor) {
  const std::string body = Form(Field("a", "1") + Field("b", "2"));
  EXPECT_EQ(*FindPart(kType, body, "a"), "1");
  EXPECT_EQ(*FindPart(kType, body, "b"), "2");
}

TEST(MultipartTest, ReadsTheBoundaryAsTheStandardWritesIt) {
  const std::string body = Form(Field("image", "C"));
  for (const char* type :
       {"multipart/form-data; boundary=B", "multipart/form-data;boundary=B",
        "multipart/form-data; boundary=\"B\"", "multipart/form-data; BOUNDARY=B",
        "multipart/form-data; charset=utf-8; boundary=B", "multipart/form-data; boundary=B; a=b",
        "multipart/form-data; a=\"; boundary=X\"; boundary=B", "multipart/form-data; boundary=B ",
        "multipart/form-data; flag; boundary=B", "Multipart/Form-Data; boundary=\"\\B\""}) {
    EXPECT_TRUE(Finds(type, body, "C")) << type;
  }
}

TEST(MultipartTest, ABoundaryMayHaveEveryCharacterOfTheStandard) {
  const std::string boundary = "0'()+_,-./:=? aZ";
  const std::string body =
      "--" + boundary + "\r\n" + Disposition("name=\"image\"") + "\r\nC\r\n--" + boundary + "--";
  EXPECT_TRUE(Finds("multipart/form-data; boundary=\"" + boundary + "\"", body, "C"));
}

TEST(MultipartTest, ABoundaryHas1To70Characters) {
  const auto body = [](const std::string& boundary) {
    return "--" + boundary + "\r\n" + Disposition("name=\"image\"") + "\r\nC\r\n--" + boundary +
           "--";
  };
  const std::string longest(70, 'b');
  EXPECT_TRUE(Finds("multipart/form-data; boundary=" + longest, body(longest), "C"));
  EXPECT_TRUE(
      Refuses("multipart/form-data; boundary=" + longest + "b", body(longest + "b"), "boundary"));
  EXPECT_TRUE(Refuses("multipart/form-data; boundary=", body(""), "boundary"));
  EXPECT_TRUE(Refuses("multipart/form-data; boundary=\"\"", body(""), "boundary"));
  EXPECT_TRUE(Refuses("multipart/form-data; boundary=\"B", body("B"), "boundary"));
  EXPECT_TRUE(Refuses("multipart/form-data", body("B"), "boundary"));
  EXPECT_TRUE(Refuses("multipart/form-data;", body("B"), "boundary"));
  EXPECT_TRUE(Refuses("multipart/form-data; boundary", body("B"), "boundary"));
}

TEST(MultipartTest, SkipsPreambleAndEpilogue) {
  const std::string form = Form(Field("image", "C"));
  EXPECT_TRUE(Finds("This is a message\r\nwith --B in a line\r\n" + form, "C"));
  EXPECT_TRUE(Finds("\r\n" + form, "C"));
  EXPECT_TRUE(Finds(form + "the end\r\n" + Field("image", "not this"), "C"));
  EXPECT_TRUE(Finds(Field("image", "C") + "--B--", "C")) << "the last line break may be missing";
}

TEST(MultipartTest, BlanksMayFollowABoundary) {
  EXPECT_TRUE(Finds("--B \t\r\n" + Disposition("name=\"image\"") + "\r\nC\r\n--B-- ", "C"));
}

TEST(MultipartTest, TextAfterABoundaryIsRefused) {
  EXPECT_TRUE(Refuses("--BC\r\n" + Disposition("name=\"image\"") + "\r\nC\r\n--BC--"));
  EXPECT_TRUE(Refuses(Form(Field("image", "C\r\n--Bx\r\nD"))));
}

TEST(MultipartTest, ContentIsTakenByteByByte) {
  std::string all;
  for (int i = 0; i < 512; ++i) all += static_cast<char>(static_cast<unsigned char>(i % 256));
  for (const std::string& content :
       {all, "\r\n"s, "\r\n\r\n"s, "\r"s, "\n"s, "a\r\n"s, "\0"s, "-"s, "--"s, "a--Bb"s,
        "a\n--B\nb"s, "a\r--B\rb"s, "a\r\n--b"s, "a\r\n-- B"s, "\r\n--A"s, "--A--\r\n"s,
        Disposition("name=\"image\""), std::string(100'000, '\r')}) {
    EXPECT_TRUE(Finds(Form(Field("image", content)), content)) << content.substr(0, 50);
  }
}

TEST(MultipartTest, AnEmptyFieldIsFoundEmpty) {
  EXPECT_TRUE(Finds(Form(Field("image", "")), ""));
  // The line break that ends the headers closes the part too.
  EXPECT_TRUE(Finds("--B\r\n" + Disposition("name=\"image\"") + "\r\n--B--\r\n", ""));
  EXPECT_TRUE(Finds("--B\r\n" + Disposition("name=\"image\"") + "\r\n--B\r\n" +
                        Disposition("name=\"b\"") + "\r\nx\r\n--B--\r\n",
                    ""));
}

TEST(MultipartTest, APartWithoutHeadersIsNoField) {
  EXPECT_TRUE(Finds(Form(Part("", "nobody") + Field("image", "C")), "C"));
  EXPECT_TRUE(Refuses(kType, Form(Part("", "nobody")), "\"image\""));
}

TEST(MultipartTest, ReadsTheNameAsClientsWriteIt) {
  for (const char* headers :
       {"Content-Disposition: form-data; name=\"image\"\r\n",
        "Content-Disposition: form-data; name=image\r\n",
        "content-disposition:form-data;name=image\r\n",
        "CONTENT-DISPOSITION: FORM-DATA; NAME=\"image\"\r\n",
        "Content-Type: image/jpeg\r\nContent-Disposition: form-data; name=\"image\"\r\n",
        "Content-Disposition: form-data; filename=\"a;name=x.jpg\"; name=\"image\"\r\n",
        "Content-Disposition: form-data; filename=\"a\\\"b\"; name=\"image\"\r\n",
        "Content-Disposition: form-data; name=\"image\"; filename*=UTF-8''a%20b\r\n",
        "Content-Disposition: form-data; name=\"im\\age\"\r\n",
        "No colon here\r\nContent-Disposition: form-data; name=\"image\"\r\n"}) {
    EXPECT_TRUE(Finds(Form(Part(headers, "C")), "C")) << headers;
  }
}

TEST(MultipartTest, WhatOnlyLooksLikeTheFieldIsNot) {
  for (const char* headers :
       {"Content-Disposition: form-data; name=\"Image\"\r\n",
        "Content-Disposition: form-data; name=\"image \"\r\n",
        "Content-Disposition: form-data; name=\"images\"\r\n",
        "Content-Disposition: form-data; filename=\"image\"\r\n",
        "Content-Disposition: form-data; fieldname=\"image\"\r\n",
        "Content-Disposition: form-data; name=\"image\r\n", "Content-Disposition: form-data\r\n",
        "Content-Disposition:\r\n", "Content-Disposition: attachment; name=\"image\"\r\n",
        "X-Content-Disposition: form-data; name=\"image\"\r\n"}) {
    EXPECT_TRUE(Refuses(kType, Form(Part(headers, "C")), "no field \"image\"")) << headers;
  }
}

TEST(MultipartTest, AMissingFieldIsNamed) {
  EXPECT_TRUE(Refuses(kType, Form(Field("file", "C")), "no field \"image\""));
  EXPECT_TRUE(Refuses(kType, "--B--\r\n", "no field \"image\""));
}

TEST(MultipartTest, TwoFieldsOfTheNameAreRefused) {
  EXPECT_TRUE(Refuses(kType, Form(Field("image", "1") + Field("image", "2")), "more than one"));
  EXPECT_TRUE(Refuses(kType, Form(Field("image", "") + Field("a", "x") + Field("image", "")),
                      "more than one"));
}

TEST(MultipartTest, ABodyThatIsNotMadeOfPartsIsRefused) {
  for (const std::string& body : {""s, "\r\n"s, "CONTENT"s, "--"s, "--B"s, "--B\r"s, "--B\r\n"s,
                                  "--B\r\n\r\n"s, "--A--\r\n"s, "\0\0\0\0"s, "x--B--"s}) {
    EXPECT_TRUE(Refuses(body)) << body;
  }
}

TEST(MultipartTest, LinesThatEndWithoutACarriageReturnAreRefused) {
  EXPECT_TRUE(Refuses("--B\n" + ("Content-Disposition: form-data; name=\"image\"\n\nC\n--B--\n"s)));
  EXPECT_TRUE(Refuses("--B\r\nContent-Disposition: form-data; name=\"image\"\n\nC\r\n--B--\r\n"));
}

// Headers that do not end before the next boundary belong to no part.
TEST(MultipartTest, HeadersThatRunIntoTheNextPartAreRefused) {
  EXPECT_TRUE(Refuses("--B\r\n" + Disposition("name=\"image\"") + "--B\r\n" +
                      Disposition("name=\"other\"") + "\r\nNOT THE IMAGE\r\n--B--\r\n"));
  EXPECT_TRUE(Refuses("--B\r\n" + Disposition("name=\"a\"") + "--B--\r\n\r\n\r\n--B--\r\n"));
}

TEST(MultipartTest, TheHeadersOfAPartAreBounded) {
  const std::string filler = "X-Filler: " + std::string(1'000, 'x') + "\r\n";
  std::string some;
  for (int i = 0; i < 10; ++i) some += filler;
  EXPECT_TRUE(Finds(Form(Part(some + Disposition("name=\"image\""), "C")), "C"));
  EXPECT_TRUE(Refuses(Form(Part(some + some + Disposition("name=\"image\""), "C"))));
}

TEST(MultipartTest, AThousandPartsAreLookedAtAndNoMore) {
  std::string parts;
  for (int i = 0; i < 999; ++i) parts += Field("f" + std::to_string(i), "x");
  EXPECT_TRUE(Finds(Form(parts + Field("image", "C")), "C"));
  EXPECT_TRUE(Refuses(kType, Form(parts + Field("one more", "x") + Field("image", "C")), "1000"));
}

// Cut anywhere, a body is an error until its last boundary is there, and never another content.
TEST(MultipartTest, ABodyCutAnywhereNeverGivesAWrongContent) {
  const std::string content = "line one\r\n--not a boundary\r\nline two\r\n\r\n";
  for (const std::string& whole :
       {Form(Field("a", "1") + Field("image", content) + Field("b", "2")),
        Form("preamble\r\n" + Field("image", content)), Form(Field("image", ""))}) {
    const std::string wanted = whole.find("line one") == std::string::npos ? "" : content;
    const std::size_t complete = whole.rfind("--B--") + 5;
    for (std::size_t length = 0; length <= whole.size(); ++length) {
      // An exact copy, so that a sanitizer sees a read beyond its end.
      const std::vector<char> cut(whole.begin(), whole.begin() + static_cast<long>(length));
      const std::string_view body(cut.data(), cut.size());
      const auto found = FindPart(kType, body, "image");
      if (length < complete) {
        ASSERT_FALSE(found.ok()) << "cut to " << length << ": found \"" << *found << "\"";
        ASSERT_TRUE(absl::IsInvalidArgument(found.status()));
      } else {
        ASSERT_TRUE(found.ok()) << found.status();
        ASSERT_EQ(*found, wanted);
      }
    }
  }
}

TEST(MultipartTest, MutatedBodiesNeverCrashOrLeaveTheBody) {
  const std::string good =
      Form("preamble\r\n" + Field("a", "1") +
           Part(Disposition("name=\"image\"; filename=\"x\\\"y.jpg\""), "\r\nCON\0TENT\r\n"s) +
           Part("", "") + Field("b", ""));
  const std::string good_type = "multipart/form-data; charset=\"a\\\"b\"; boundary=\"B\"; c=d";
  const std::vector<std::string> tokens = {"\r\n", "--B", "--B--", "\r", "\n", "\"", "\\",  ";",
                                           "=",    ":",   "\0"s,   " ",  "B",  "-",  "name"};
  std::mt19937 random(20'261'121);
  const auto below = [&random](std::size_t end) {
    return std::uniform_int_distribution<std::size_t>(0, end - 1)(random);
  };
  const auto mutate = [&](std::string text) {
    for (std::size_t i = 0; i <= below(4); ++i) {
      const std::size_t at = below(text.size() + 1);
      switch (below(4)) {
        case 0:
          if (at < text.size()) text[at] = static_cast<char>(below(256));
          break;
        case 1:
          text.insert(at, tokens[below(tokens.size())]);
          break;
        case 2:
          text.erase(at, 1 + below(8));
          break;
        default:
          text.resize(at);
      }
    }
    return text;
  };
  int found_some = 0;
  for (int round = 0; round < 20'000; ++round) {
    const std::string mutated = mutate(good);
    const std::vector<char> exact(mutated.begin(), mutated.end());
    const std::string_view body(exact.data(), exact.size());
    const std::string type = below(3) == 0 ? mutate(good_type) : good_type;
    const auto found = FindPart(type, body, "image");
    if (!found.ok()) {
      ASSERT_TRUE(absl::IsInvalidArgument(found.status()));
      continue;
    }
    ++found_some;
    ASSERT_TRUE(found->empty() || (found->data() >= body.data() &&
                                   found->data() + found->size() <= body.data() + body.size()));
  }
  EXPECT_GT(found_some, 100);
}

// 50 MB are allowed; the worst of them must not take a worker long.
TEST(MultipartTest, TakesTimeInProportionToTheBody) {
  std::string content;
  while (content.size() < 10'000'000) content += "\r\n--C\r\n\r\n--";
  const std::string body = Form(Field("image", content));
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(FindPart(kType, body, "image").ok());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

}  // namespace
}  // namespace inferpool::http

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

// The contents of the fields `name`.
absl::StatusOr<std::vector<std::string_view>> Fields(std::string_view type, std::string_view body,
                                                     std::string_view name) {
  ASSIGN_OR_RETURN(const std::vector<FormPart> parts, ReadForm(type, body));
  std::vector<std::string_view> found;
  for (const FormPart& part : parts) {
    if (part.name == name) found.push_back(part.content);
  }
  return found;
}

// The content of the only one; NOT_FOUND where there is none or another.
absl::StatusOr<std::string_view> FindPart(std::string_view type, std::string_view body,
                                          std::string_view name) {
  ASSIGN_OR_RETURN(const auto found, Fields(type, body, name));
  if (found.size() != 1) return absl::NotFoundError(std::to_string(found.size()));
  return found.front();
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

// The names of a form's parts, with what they hold.
using Named = std::vector<std::pair<std::string, std::string>>;
Named Parts(std::string_view body) {
  const auto parts = ReadForm(kType, body);
  EXPECT_TRUE(parts.ok()) << parts.status();
  Named named;
  if (!parts.ok()) return named;
  for (const FormPart& part : *parts) named.emplace_back(part.name, part.content);
  return named;
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

TEST(MultipartTest, APartWithoutHeadersHasNoName) {
  EXPECT_EQ(Parts(Form(Part("", "nobody") + Field("image", "C"))),
            (Named{{"", "nobody"}, {"image", "C"}}));
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
    EXPECT_EQ(FindPart(kType, Form(Part(headers, "C")), "image").status().message(), "0")
        << headers;
  }
}

TEST(MultipartTest, AFormMayHaveNoPart) {
  EXPECT_EQ(Parts("--B--\r\n"), Named{});
}

TEST(MultipartTest, AllPartsAreGivenInTheirOrder) {
  EXPECT_EQ(Parts(Form(Field("image", "1") + Field("a", "") + Field("image", "2"))),
            (Named{{"image", "1"}, {"a", ""}, {"image", "2"}}));
}

TEST(MultipartTest, FoldedHeadersAreRead) {
  for (const char* headers :
       {"Content-Disposition: form-data;\r\n name=\"image\";\r\n filename=\"a.png\"\r\n",
        "Content-Disposition:\r\n\tform-data; name=image\r\nContent-Type: image/png\r\n",
        "X-Other: a\r\n name=\"b\"\r\nContent-Disposition: form-data; name=\"image\"\r\n"}) {
    EXPECT_TRUE(Finds(Form(Part(headers, "C")), "C")) << headers;
  }
}

TEST(MultipartTest, NamesMayBePercentEncoded) {
  EXPECT_EQ(Parts(Form(Field("images%5B%5D", "1") + Field("a%22b", "2") + Field("50%", "3"))),
            (Named{{"images[]", "1"}, {"a\"b", "2"}, {"50%", "3"}}));
}

TEST(MultipartTest, ANameIsCut) {
  EXPECT_EQ(Parts(Form(Field(std::string(10'000, 'n'), ""))), (Named{{std::string(200, 'n'), ""}}));
}

TEST(MultipartTest, WhatWasNotChosenIsToldFromAnEmptyFile) {
  const auto parts =
      ReadForm(kType, Form(Part(Disposition("name=a; filename=\"\""), "") +
                           Part(Disposition("name=a; filename=\"\""), "x") +
                           Part(Disposition("name=a; filename=\"a.png\""), "") + Field("a", "")));
  ASSERT_TRUE(parts.ok()) << parts.status();
  ASSERT_EQ(parts->size(), 4U);
  EXPECT_TRUE((*parts)[0].is_no_file);
  for (const std::size_t i : {1U, 2U, 3U}) EXPECT_FALSE((*parts)[i].is_no_file) << i;
}

TEST(MultipartTest, APartsTypeIsGivenWithoutParameters) {
  const auto parts = ReadForm(
      kType,
      Form(Part(Disposition("name=a") + "Content-Type: Text/Plain; charset=utf-8\r\n", "x")));
  ASSERT_TRUE(parts.ok()) << parts.status();
  EXPECT_EQ(parts->front().content_type, "text/plain");
}

std::string Mixed(const std::string& name, const std::string& files,
                  const std::string& edge = "M") {
  return Part(Disposition("name=\"" + name + "\"") +
                  "Content-Type: multipart/mixed; boundary=" + edge + "\r\n",
              files);
}

std::string File(const std::string& content) {
  return "--M\r\nContent-Disposition: attachment; filename=\"a\"\r\nContent-Type: "
         "image/png\r\n\r\n" +
         content + "\r\n";
}

TEST(MultipartTest, FilesOfAMixedPartHaveItsName) {
  EXPECT_EQ(Parts(Form(Field("a", "0") + Mixed("images", File("1") + File("") + "--M--") +
                       Field("images", "3"))),
            (Named{{"a", "0"}, {"images", "1"}, {"images", ""}, {"images", "3"}}));
  EXPECT_EQ(Parts(Form(Mixed("images", "\r\n--M\r\n\r\nno headers\r\n--M--\r\n"))),
            (Named{{"images", "no headers"}}));
}

TEST(MultipartTest, AMixedPartIsHeldToTheSameRules) {
  EXPECT_TRUE(Refuses(Form(Mixed("images", File("1")))));
  EXPECT_TRUE(Refuses(Form(Mixed("images", "rubbish"))));
  EXPECT_TRUE(Refuses(kType, Form(Mixed("images", File("1") + "--M--", "")), "boundary"));
  std::string files;
  for (int i = 0; i < 999; ++i) files += File("x");
  EXPECT_EQ(Parts(Form(Mixed("images", files + "--M--"))).size(), 999U);
  EXPECT_TRUE(Refuses(kType, Form(Mixed("images", files + File("x") + "--M--")), "1000"));
  EXPECT_TRUE(Refuses(kType, Form(Field("a", "") + Mixed("images", files + "--M--")), "1000"));
}

// Only once: what would be cut out of a file must not be cut.
TEST(MultipartTest, AMixedPartInAMixedPartIsAFile) {
  const std::string inner =
      "--M\r\nContent-Type: multipart/mixed; boundary=N\r\n\r\n--N\r\n\r\nx\r\n--N--\r\n--M--";
  EXPECT_EQ(Parts(Form(Mixed("images", inner))), (Named{{"images", "--N\r\n\r\nx\r\n--N--"}}));
}

TEST(MultipartTest, AnEncodingThatChangesNothingIsTakenAndOthersAreNot) {
  for (const char* encoding : {"binary", "8bit", "7BIT", "", " Binary "}) {
    EXPECT_TRUE(Finds(
        Form(Part(Disposition("name=image") + "Content-Transfer-Encoding: " + encoding + "\r\n",
                  "C")),
        "C"))
        << encoding;
  }
  for (const char* encoding : {"base64", "quoted-printable", "x-other"}) {
    const std::string part =
        Part(Disposition("name=image") + "Content-Transfer-Encoding: " + encoding + "\r\n", "QQ==");
    const auto parts = ReadForm(kType, Form(part));
    EXPECT_TRUE(absl::IsUnimplemented(parts.status())) << parts.status();
    EXPECT_NE(parts.status().message().find(encoding), std::string_view::npos);
  }
}

TEST(MultipartTest, ABodyThatIsNotMadeOfPartsIsRefused) {
  for (const std::string& body :
       {""s, "\r\n"s, "CONTENT"s, "--"s, "--B"s, "--B\r"s, "--B\r\n"s, "--B\r\n\r\n"s, "--A--\r\n"s,
        "\0\0\0\0"s, "x--B--"s, "\n"s, "--B\n"s, "--B\n\n"s}) {
    EXPECT_TRUE(Refuses(body)) << body;
  }
}

TEST(MultipartTest, LinesMayAllEndInLineFeedAlone) {
  const std::string head = "--B\nContent-Disposition: form-data;\n name=\"image\"\n\n";
  EXPECT_TRUE(Finds(head + "C\n--B--\n", "C"));
  EXPECT_TRUE(Finds(head + "\r\n\r\n--B--", "\r\n\r"));
  EXPECT_TRUE(Finds("\n" + head + "\n--B--\n", ""));
  EXPECT_TRUE(Finds("preamble\n--B\n\nnobody\n" + head + "C\n--B--\n", "C"));
  EXPECT_TRUE(Refuses(head + "C"));
}

// Content may hold either: then only one of them is a line break.
TEST(MultipartTest, LinesThatEndInEitherWayAreRefused) {
  EXPECT_TRUE(Refuses("--B\r\nContent-Disposition: form-data; name=\"image\"\n\nC\r\n--B--\r\n"));
  EXPECT_TRUE(Refuses("--B\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\nC\n--B--\n"));
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
        ASSERT_TRUE(absl::IsInvalidArgument(found.status())) << found.status();
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
           Part("", "") + Mixed("files", File("1") + File("") + "--M--") + Field("b", ""));
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
      ASSERT_TRUE(absl::IsInvalidArgument(found.status()) || absl::IsNotFound(found.status()));
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

#include "worker/http/header_text.h"

#include <gtest/gtest.h>

namespace inferpool::http {
namespace {

TEST(HeaderTextTest, IsTheTypeInLowerCaseWithoutParameters) {
  EXPECT_EQ(MediaType("image/jpeg"), "image/jpeg");
  EXPECT_EQ(MediaType("Image/JPEG"), "image/jpeg");
  EXPECT_EQ(MediaType(" image/png ; q=1"), "image/png");
  EXPECT_EQ(MediaType("multipart/form-data;boundary=B"), "multipart/form-data");
  EXPECT_EQ(MediaType(""), "");
  EXPECT_EQ(MediaType(";"), "");
  EXPECT_EQ(MediaType("text"), "text");
}

TEST(HeaderTextTest, AParameterIsFoundByItsName) {
  EXPECT_EQ(HeaderParameter("a; q=0.5", "q"), "0.5");
  EXPECT_EQ(HeaderParameter("a;Q = 0.5 ;b=c", "q"), "0.5");
  EXPECT_EQ(HeaderParameter("a; name=\"b;c\\\"d\"", "name"), "b;c\"d");
  EXPECT_EQ(HeaderParameter("a; flag; q=1", "q"), "1");
  EXPECT_EQ(HeaderParameter("a; q=", "q"), "");
  EXPECT_EQ(HeaderParameter("a; b=c", "q"), std::nullopt);
  EXPECT_EQ(HeaderParameter("q=1", "q"), std::nullopt) << "before the first ;";
  EXPECT_EQ(HeaderParameter("a; name=\"open", "name"), std::nullopt);
}

TEST(HeaderTextTest, CodingsAreThoseThatDoSomething) {
  for (const auto& [header, coding] : {std::pair("", ""),
                                       {"identity", ""},
                                       {" Identity ", ""},
                                       {"gzip", "gzip"},
                                       {"X-GZip", "gzip"},
                                       {"x-gzip", "gzip"},
                                       {"\tDEFLATE ", "deflate"},
                                       {"identity, gzip", "gzip"},
                                       {",gzip, ,", "gzip"},
                                       {"gzip, x-gzip", "gzip, gzip"},
                                       {"br,gzip", "br, gzip"},
                                       {"x-deflate", "x-deflate"},
                                       {",", ""}}) {
    EXPECT_EQ(ContentCoding(header), coding) << header;
  }
}

}  // namespace
}  // namespace inferpool::http

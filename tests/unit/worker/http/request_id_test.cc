#include "worker/http/request_id.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace inferpool::http {
namespace {

using std::string_literals::operator""s;

TEST(RequestIdTest, ASaneOneOfTheClientIsKept) {
  for (const std::string& id :
       {"a"s, "0"s, "."s, "-"s, "_"s, "7f3c9a1e-4d2b-4c6f-9b8a-0d1e2f3a4b5c"s, "Trace.1_2-3"s,
        std::string(64, 'x'), "ABCXYZabcxyz0189._-"s}) {
    EXPECT_EQ(RequestId(id), id);
  }
}

TEST(RequestIdTest, AnotherIsReplacedByANewSaneOne) {
  for (const std::string& id :
       {""s, std::string(65, 'x'), "a b"s, "a/b"s, "a\"b"s, "a\nb"s, "a\r\nX: y"s, "a\0b"s,
        "caf\xc3\xa9"s, "\xff"s, "{}"s, "a:b"s, "a@b"s, "a[b"s, "a`b"s, "%41"s, "a+b"s, " "s}) {
    const std::string made = RequestId(id);
    EXPECT_NE(made, id);
    EXPECT_EQ(made.size(), 32U) << made;
    EXPECT_EQ(RequestId(made), made) << "a made one is sane itself";
  }
}

TEST(RequestIdTest, NewOnesDiffer) {
  std::set<std::string> seen;
  for (int i = 0; i < 1'000; ++i) EXPECT_TRUE(seen.insert(RequestId("")).second);
}

}  // namespace
}  // namespace inferpool::http

#include "shared/base/http_status.h"

#include <gtest/gtest.h>

#include <set>

namespace inferpool {
namespace {

TEST(HttpStatusTest, EachIsThereOnceAndHasAReason) {
  std::set<int> codes;
  for (const HttpStatus& status : kHttpStatuses) {
    EXPECT_TRUE(codes.insert(status.code).second) << status.code;
    EXPECT_FALSE(status.reason.empty()) << status.code;
    EXPECT_EQ(kHttpStatuses[HttpStatusIndex(status.code)].code, status.code);
  }
}

TEST(HttpStatusTest, AnyOtherCountsAsAFailureOfOurs) {
  EXPECT_EQ(kHttpStatuses[HttpStatusIndex(299)].code, 500);
  EXPECT_EQ(kHttpStatuses[HttpStatusIndex(0)].code, 500);
}

}  // namespace
}  // namespace inferpool

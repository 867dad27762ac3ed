#include "shared/base/status.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace inferpool {
namespace {

absl::StatusOr<std::unique_ptr<int>> Make(int n) {
  if (n < 0) return InvalidArgument("{} is below {}", n, 0);
  return std::make_unique<int>(n);
}

absl::StatusOr<int> Sum(int a, int b) {
  ASSIGN_OR_RETURN(const std::unique_ptr<int> first, Make(a));
  std::unique_ptr<int> second;
  ASSIGN_OR_RETURN(second, Make(b));
  return *first + *second;
}

TEST(Status, InvalidArgumentFormatsItsMessage) {
  const absl::Status status = InvalidArgument("{}: {:.1f}", "size", 1.25);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Message(status), "size: 1.2");
}

TEST(Status, AssignOrReturnGivesTheValueOrReturnsTheError) {
  EXPECT_EQ(*Sum(1, 2), 3);
  EXPECT_EQ(Message(Sum(-1, 2).status()), "-1 is below 0");
  EXPECT_EQ(Message(Sum(1, -2).status()), "-2 is below 0");
}

}  // namespace
}  // namespace inferpool

// For tests of what only root can do. They fail for others: one that is skipped would look as if
// it had passed.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

namespace inferpool::test {

inline testing::AssertionResult IsRoot() {
  if (geteuid() == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "this test has to run as root";
}

}  // namespace inferpool::test

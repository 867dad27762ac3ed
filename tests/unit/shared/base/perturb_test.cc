#include "shared/base/perturb.h"

#include <gmock/gmock.h>

#include <array>
#include <cstdlib>

namespace inferpool {
namespace {

using testing::Each;

// Before the first call, which reads it.
const int kSet = setenv("MALLOC_PERTURB_", "165", 1);

TEST(PerturbTest, FillsAsMallocDoes) {
  ASSERT_EQ(0, kSet);
  std::array<std::byte, 5> memory{};
  Perturb(memory);
  EXPECT_THAT(memory, Each(std::byte{0xff - 165}));
}

}  // namespace
}  // namespace inferpool

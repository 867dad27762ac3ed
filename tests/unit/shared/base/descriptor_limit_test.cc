#include "shared/base/descriptor_limit.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/unit/shared/base/child_process.h"

namespace inferpool {
namespace {

TEST(DescriptorLimitTest, IsRaisedAsFarAsItMayBe) {
  test::ChildProcess child([] {
    const rlimit low{.rlim_cur = 64, .rlim_max = 128};
    if (setrlimit(RLIMIT_NOFILE, &low) != 0) return 2;
    if (MaxDescriptors() != 128) return 3;
    RaiseDescriptorLimit();
    rlimit now{};
    getrlimit(RLIMIT_NOFILE, &now);
    return now.rlim_cur == 128 && now.rlim_max == 128 ? 0 : 4;
  });
  EXPECT_TRUE(child.Exited(0));
}

}  // namespace
}  // namespace inferpool

#include "fcgi/pool/restart_budget.h"

#include <gtest/gtest.h>

namespace inferpool::fcgi {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

class RestartBudgetTest : public testing::Test {
 protected:
  // How long the next token has to be waited for.
  milliseconds Take() {
    return std::chrono::duration_cast<milliseconds>(budget_.Take(milliseconds(100), 3, now_) -
                                                    now_);
  }

  RestartBudget budget_;
  TimePoint now_{hours(1)};
};

TEST_F(RestartBudgetTest, ABurstIsFreeAndWhatFollowsComesOneByOne) {
  for (const long wait : {0, 0, 0, 100, 200, 300}) EXPECT_EQ(Take(), milliseconds(wait));
}

TEST_F(RestartBudgetTest, ItFillsUpAgainAndNeverOver) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Take(), milliseconds(0));
  now_ += milliseconds(100);
  EXPECT_EQ(Take(), milliseconds(0));
  EXPECT_EQ(Take(), milliseconds(100));
  now_ += hours(1);
  for (const long wait : {0, 0, 0, 100}) EXPECT_EQ(Take(), milliseconds(wait));
}

TEST_F(RestartBudgetTest, TakenAtItsPaceItIsNeverWaitedFor) {
  for (int i = 0; i < 1'000; ++i) {
    EXPECT_EQ(Take(), milliseconds(0));
    now_ += milliseconds(100);
  }
}

}  // namespace
}  // namespace inferpool::fcgi

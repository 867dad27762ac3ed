#include "ops/sidecar/pool_status.h"

#include <gtest/gtest.h>
#include <json/json.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/shared/board/occupied_board.h"
#include "tests/unit/worker/http/parsed_json.h"

namespace inferpool::ops {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr TimePoint kNow{std::chrono::hours(50)};

class PoolStatusTest : public testing::Test {
 protected:
  PoolStatusTest() {
    board_.pool().master = 71;
    board_.pool().started_ns = ToNs(kNow - seconds(100));
    board_.pool().roles[kWorkerRole].wanted = 2;
    for (int slot = 0; slot < 2; ++slot) {
      board_.Occupy(slot, /*generation=*/3, /*threads=*/2, kNow - seconds(10));
      board_.slot(slot).process.pid = slot == 0 ? getpid() : 4'000'000;
      board_.slot(slot).process.state = ProcessState::kReady;
    }
  }

  void Serve(int slot, int requests, milliseconds time) const {
    ThreadSlot& thread_slot = board_.thread_slots(slot)[0];
    for (int i = 0; i < requests; ++i) {
      thread_slot.Begin(kNow);
      thread_slot.CountStatus(200);
      thread_slot.CountStage(Stage::kTotal, time);
      thread_slot.End();
    }
  }

  const Scoreboard board_ = std::move(*Scoreboard::Create(4, 2));
};

TEST_F(PoolStatusTest, ListsTheProcessesThatThereAre) {
  const PoolStatus status = ReadStatus(board_, kNow);
  EXPECT_EQ(status.master, 71);
  EXPECT_DOUBLE_EQ(status.up_s, 100);
  ASSERT_EQ(status.workers.size(), 2U);
  EXPECT_EQ(status.workers[1].slot, 1);
  EXPECT_EQ(status.workers[1].pid, 4'000'000);
  EXPECT_EQ(status.workers[1].generation, 3U);
  EXPECT_EQ(status.workers[1].state, ProcessState::kReady);
  EXPECT_DOUBLE_EQ(status.workers[1].age_s, 10);
  EXPECT_GT(status.workers[0].rss_mb, 0);
  EXPECT_EQ(status.workers[1].rss_mb, 0) << "there is no such process";
}

// Whatever kinds of processes the pool's master has put up.
class EveryRoleTest : public PoolStatusTest {
 protected:
  EveryRoleTest() {
    board_.SetRoles(std::array<Scoreboard::RoleRoom, 4>{
        {{"worker", 0}, {"sidecar", 2}, {"beacon", 3}, {"lamp", 1}}});
    Begin(1, 1, 99);
    Begin(2, 0, getpid());
    Begin(2, 2, 97);
    board_.pool().roles[2].wanted = 3;
    board_.pool().roles[2].backing_off = 1;
    board_.CountEnd(2, /*crashed=*/true);
  }

  void Begin(int role, int place, pid_t pid) const {
    board_.Enter(role, place, /*generation=*/5, kNow - seconds(7));
    board_.process(role, place).pid = pid;
    board_.process(role, place).state = ProcessState::kReady;
  }
};

TEST_F(EveryRoleTest, ListsTheProcessesOfEachRole) {
  const PoolStatus status = ReadStatus(board_, kNow);
  ASSERT_EQ(status.others.size(), 3U);
  EXPECT_EQ(status.others[0].role, 1);
  EXPECT_EQ(status.others[0].pid, 99);
  EXPECT_EQ(status.others[2].role, 2);
  EXPECT_EQ(status.others[2].place, 2);
  EXPECT_EQ(status.others[2].generation, 5U);
  EXPECT_EQ(status.others[2].state, ProcessState::kReady);
  EXPECT_DOUBLE_EQ(status.others[2].age_s, 7);
  EXPECT_GT(status.others[1].rss_mb, 0);
}

TEST_F(EveryRoleTest, JsonHasEachRole) {
  const Json::Value roles = test::ParseJson(ToJson(ReadStatus(board_, kNow)))["roles"];
  EXPECT_EQ(roles.getMemberNames(), (std::vector<std::string>{"beacon", "lamp", "sidecar"}))
      << "the workers stand elsewhere, with more";
  EXPECT_EQ(roles["sidecar"]["processes"][0]["pid"], 99);
  EXPECT_EQ(roles["beacon"]["wanted"], 3);
  EXPECT_EQ(roles["beacon"]["ready"], 2);
  EXPECT_EQ(roles["beacon"]["backing_off"], 1);
  EXPECT_EQ(roles["beacon"]["started"], 2);
  EXPECT_EQ(roles["beacon"]["crashed"], 1);
  EXPECT_EQ(roles["beacon"]["processes"][1]["place"], 2);
  EXPECT_EQ(roles["beacon"]["processes"][1]["state"], "ready");
  EXPECT_TRUE(roles["lamp"]["processes"].empty());
}

TEST_F(EveryRoleTest, TheTableHasALineForEachRoleThatIsWantedOrWas) {
  const std::string table = ToTable(ReadStatus(board_, kNow));
  EXPECT_NE(table.find("\nbeacon      2 of 3 ready, 0 starting, 0 draining, 1 backing off; "
                       "2 started, 0 replaced, 1 crashed\n"),
            std::string::npos)
      << table;
  EXPECT_NE(table.find("\nsidecar     1 of 0 ready"), std::string::npos) << table;
  EXPECT_EQ(table.find("lamp"), std::string::npos) << table;
}

TEST_F(PoolStatusTest, AWorkersNumbersAreItsOwnAndNotThoseOfTheTenantBefore) {
  Serve(0, 30, milliseconds(700));
  board_.Vacate(0);
  board_.Occupy(0, 4, 2, kNow - seconds(10));
  board_.slot(0).process.pid = getpid();
  Serve(0, 20, milliseconds(7));
  const WorkerStatus worker = ReadStatus(board_, kNow).workers.at(0);
  EXPECT_EQ(worker.served, 20U);
  EXPECT_DOUBLE_EQ(worker.rate_per_s, 2);
  EXPECT_EQ(worker.times.sum_us, 140'000U);
  EXPECT_LE(Quantile(worker.times, 0.99).value_or(1e9), 10);
}

TEST_F(PoolStatusTest, TheOldestRequestInWorkIsShown) {
  board_.thread_slots(1)[0].Begin(kNow - seconds(3));
  board_.thread_slots(1)[1].Begin(kNow - seconds(8));
  const WorkerStatus worker = ReadStatus(board_, kNow).workers.at(1);
  EXPECT_EQ(worker.in_work, 2);
  EXPECT_DOUBLE_EQ(worker.longest_s, 8);
}

TEST_F(PoolStatusTest, RatesAreOfTheTimeBetweenTwoLooks) {
  Serve(0, 50, milliseconds(1));
  const PoolStatus earlier = ReadStatus(board_, kNow);
  Serve(0, 8, milliseconds(1));
  PoolStatus later = ReadStatus(board_, kNow + seconds(2));
  RatesSince(earlier, later);
  EXPECT_DOUBLE_EQ(later.workers.at(0).rate_per_s, 4);
  EXPECT_DOUBLE_EQ(later.workers.at(1).rate_per_s, 0);
}

TEST_F(PoolStatusTest, AWorkerThatCameInBetweenHasTheRateOfAllThatItServed) {
  const PoolStatus earlier = ReadStatus(board_, kNow);
  board_.Vacate(0);
  board_.Occupy(0, 4, 2, kNow);
  board_.slot(0).process.pid = 555;
  Serve(0, 6, milliseconds(1));
  PoolStatus later = ReadStatus(board_, kNow + seconds(2));
  RatesSince(earlier, later);
  EXPECT_DOUBLE_EQ(later.workers.at(0).rate_per_s, 3);
}

TEST(QuantileTest, OfNothingIsNone) {
  EXPECT_FALSE(Quantile(HistogramTotal(), 0.5));
}

TEST(QuantileTest, LiesOnAStraightLineWithinItsBucket) {
  HistogramTotal times;
  times.buckets[4] = 100;  // from 5 ms to 10 ms
  EXPECT_DOUBLE_EQ(Quantile(times, 0.5).value_or(-1), 7.5);
  EXPECT_DOUBLE_EQ(Quantile(times, 1.0).value_or(-1), 10);
  times.buckets[0] = 100;  // up to 0.5 ms
  EXPECT_DOUBLE_EQ(Quantile(times, 0.25).value_or(-1), 0.25);
  EXPECT_DOUBLE_EQ(Quantile(times, 0.75).value_or(-1), 7.5);
}

TEST(QuantileTest, BeyondTheLastBoundOnlyThatIsKnown) {
  HistogramTotal times;
  times.buckets.back() = 1;
  EXPECT_DOUBLE_EQ(Quantile(times, 0.99).value_or(-1), 10'000);
}

TEST_F(PoolStatusTest, JsonHasAllOfIt) {
  Serve(1, 3, milliseconds(2));
  board_.Record({.at_s = 5,
                 .role = RoleName("ingest"),
                 .place = 1,
                 .pid = 77,
                 .signal = SIGSEGV,
                 .task = {}});
  board_.pool().quarantine.Enter({.digest = DigestOf({}, "p"),
                                  .model = ModelName("m\"x"),
                                  .request_id = RequestName("r"),
                                  .until_ns = ToNs(kNow + seconds(30))});
  const Json::Value json = test::ParseJson(ToJson(ReadStatus(board_, kNow)));
  EXPECT_EQ(json["master"], 71);
  EXPECT_EQ(json["workers"]["wanted"], 2);
  EXPECT_EQ(json["workers"]["ready"], 2);
  EXPECT_EQ(json["requests"]["by_status"]["200"], 3);
  EXPECT_EQ(json["slots"].size(), 2U);
  ASSERT_EQ(json["crashes"].size(), 1U);
  EXPECT_EQ(json["crashes"][0]["role"], "ingest");
  EXPECT_EQ(json["crashes"][0]["place"], 1);
  ASSERT_EQ(json["quarantine"].size(), 1U);
  EXPECT_EQ(json["quarantine"][0]["digest"], ToHex(DigestOf({}, "p")));
  EXPECT_EQ(json["quarantine"][0]["model"], "m\"x");
  EXPECT_NEAR(json["quarantine"][0]["left_s"].asDouble(), 30, 0.01);
}

TEST_F(PoolStatusTest, ACrashIsToldWithTheRoleOfTheProcess) {
  board_.Record({.at_s = 5,
                 .role = RoleName("ingest"),
                 .place = 1,
                 .pid = 77,
                 .signal = SIGSEGV,
                 .task = {}});
  const std::string table = ToTable(ReadStatus(board_, kNow));
  EXPECT_NE(table.find(" ingest 1 (pid 77): SIGSEGV"), std::string::npos) << table;
}

TEST_F(PoolStatusTest, TheTableHasALineForEveryWorker) {
  const std::string table = ToTable(ReadStatus(board_, kNow));
  EXPECT_NE(table.find("4000000"), std::string::npos) << table;
  EXPECT_NE(table.find("2 of 2 ready"), std::string::npos) << table;
}

TEST_F(PoolStatusTest, ALongTimeIsSaidInItsTwoLargestUnits) {
  const std::pair<long, const char*> times[] = {
      {59, "59 s"},         {60, "1 min 0 s"},       {3'599, "59 min 59 s"}, {3'600, "1 h 0 min"},
      {7'530, "2 h 5 min"}, {86'399, "23 h 59 min"}, {93'600, "1 d 2 h"}};
  for (const auto& [time, words] : times) {
    PoolStatus status;
    status.up_s = static_cast<double>(time);
    const std::string table = ToTable(status);
    EXPECT_NE(table.find(std::string(", up ") + words + ", "), std::string::npos) << table;
  }
}

TEST_F(PoolStatusTest, AnEmptyPoolIsShownTooAndNothingDividesByZero) {
  const auto empty = Scoreboard::Create(2, 1);
  ASSERT_TRUE(empty.ok());
  PoolStatus status = ReadStatus(*empty, kNow);
  RatesSince(status, status);
  EXPECT_FALSE(ToTable(status).empty());
  EXPECT_EQ(test::ParseJson(ToJson(status))["slots"].size(), 0U);
}

}  // namespace
}  // namespace inferpool::ops

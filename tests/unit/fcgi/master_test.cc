#include "fcgi/master.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "shared/log.h"
#include "tests/unit/fcgi/child_process.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::ChildProcess;
using test::Eventually;

constexpr Supervisor::Options kOptions{.drain = seconds(1),
                                       .last_drain = seconds(1),
                                       .backoff = milliseconds(20),
                                       .most_backoff = milliseconds(80),
                                       .good = seconds(60)};

void AwaitTerm() {
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  int signal = 0;
  sigwait(&term, &signal);
}

// What the children tell the test, in memory that all share.
struct Shared {
  std::atomic<int> starts;
  std::atomic<int> ready;
  std::atomic<int> next;                  // the order in which they were asked to leave
  std::array<std::atomic<int>, 8> asked;  // by child; 0: not yet
};

class MasterTest : public testing::Test {
 protected:
  MasterTest() {
    void* memory =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared_ = new (memory) Shared{};
  }
  ~MasterTest() override {
    master_.reset();
    munmap(shared_, sizeof(Shared));
  }

  // A child that stays until it is asked to leave.
  ChildRole Staying(std::size_t child, bool first_to_leave, int worker = -1,
                    milliseconds leaving = milliseconds(0)) {
    return {.name = "child " + std::to_string(child),
            .first_to_leave = first_to_leave,
            .worker = worker,
            .run = [this, child, leaving] {
              ++shared_->ready;
              AwaitTerm();
              shared_->asked[child] = ++shared_->next;
              usleep(static_cast<useconds_t>(leaving.count() * 1000));
              return 0;
            }};
  }

  void Start(std::vector<ChildRole> roles) {
    master_ = std::make_unique<ChildProcess>([this, roles = std::move(roles)] {
      fclose(stderr);
      BlockSignals();
      return RunMaster(roles, kOptions, board_);
    });
  }

  bool AllReady(int children) {
    return Eventually([&] { return shared_->ready == children; });
  }

  Shared* shared_ = nullptr;
  const Scoreboard board_{2, 1};
  std::unique_ptr<ChildProcess> master_;
};

TEST_F(MasterTest, StartsAllChildrenAndStopsThemOnSigterm) {
  Start({Staying(0, false), Staying(1, true, 0), Staying(2, true, 1)});
  ASSERT_TRUE(AllReady(3));
  EXPECT_EQ(board_.Sum().worker_starts, 2U) << "only two of them are workers";
  EXPECT_NE(board_.slot(0).pid.load(), board_.slot(1).pid.load());
  master_->Signal(SIGTERM);
  EXPECT_TRUE(master_->Exited(0, milliseconds(900)));
  EXPECT_EQ(shared_->asked[0], 3) << "the last was asked when the first two were gone";
  EXPECT_EQ(board_.slot(0).pid.load(), 0);
}

TEST_F(MasterTest, SigintStopsItToo) {
  Start({Staying(0, true)});
  ASSERT_TRUE(AllReady(1));
  master_->Signal(SIGINT);
  EXPECT_TRUE(master_->Exited(0, milliseconds(900)));
  EXPECT_EQ(shared_->asked[0], 1);
}

TEST_F(MasterTest, TheOthersStayUntilTheFirstHaveDrained) {
  Start({Staying(0, false), Staying(1, true, 0, milliseconds(300))});
  ASSERT_TRUE(AllReady(2));
  master_->Signal(SIGTERM);
  ASSERT_TRUE(Eventually([&] { return shared_->asked[1] != 0; }));
  usleep(100'000);
  EXPECT_EQ(shared_->asked[0], 0);
  EXPECT_TRUE(master_->Exited(0));
  EXPECT_EQ(shared_->asked[0], 2);
}

TEST_F(MasterTest, ACrashedChildIsStartedAgainAndCounted) {
  Start({{.name = "crasher", .first_to_leave = true, .worker = 0, .run = [this] {
            const int start = ++shared_->starts;
            if (start == 1) return 3;
            if (start == 2) raise(SIGKILL);
            if (start == 3) throw std::runtime_error("crash");
            ++shared_->ready;
            AwaitTerm();
            return 0;
          }}});
  ASSERT_TRUE(AllReady(1));
  EXPECT_EQ(board_.Sum().worker_starts, 4U);
  EXPECT_EQ(board_.Sum().worker_crashes, 3U);
  EXPECT_EQ(board_.Sum().worker_recycles, 0U);
  master_->Signal(SIGTERM);
  EXPECT_TRUE(master_->Exited(0));
  EXPECT_EQ(board_.Sum().worker_recycles, 1U);
  EXPECT_EQ(board_.Sum().worker_crashes, 3U);
}

TEST_F(MasterTest, AChildThatLeavesAsPlannedIsStartedAgainAtOnce) {
  const auto before = std::chrono::steady_clock::now();
  Start({{.name = "recycled", .first_to_leave = true, .worker = 0, .run = [this] {
            if (++shared_->starts <= 20) return 0;
            ++shared_->ready;
            AwaitTerm();
            return 0;
          }}});
  ASSERT_TRUE(AllReady(1));
  EXPECT_EQ(board_.Sum().worker_recycles, 20U);
  EXPECT_EQ(board_.Sum().worker_crashes, 0U);
  EXPECT_LT(std::chrono::steady_clock::now() - before, milliseconds(1'000));
}

TEST_F(MasterTest, TheGaugesOfACrashedWorkerAreCleared) {
  Start({{.name = "crasher", .first_to_leave = true, .worker = 0, .run = [this] {
            if (++shared_->starts > 1) {
              ++shared_->ready;
              AwaitTerm();
              return 0;
            }
            board_.slot(0).state = WorkerState::kReady;
            board_.lanes(0)[0].busy = 1;
            board_.lanes(0)[0].CountStatus(200);
            return 1;
          }}});
  ASSERT_TRUE(AllReady(1));
  EXPECT_EQ(board_.Sum().in_work, 0U);
  EXPECT_EQ(board_.slot(0).state.load(), WorkerState::kStarting);
  EXPECT_EQ(board_.Sum().by_status[0], 1U) << "its counts stay";
}

TEST_F(MasterTest, WhoDoesNotLeaveIsKilledAfterTheDrain) {
  Start({{.name = "stubborn", .first_to_leave = true, .worker = 0, .run = [this] {
            ++shared_->ready;
            while (true) pause();
            return 0;
          }}});
  ASSERT_TRUE(AllReady(1));
  const auto before = std::chrono::steady_clock::now();
  master_->Signal(SIGTERM);
  EXPECT_TRUE(master_->Exited(0));
  const auto took = std::chrono::steady_clock::now() - before;
  EXPECT_GE(took, milliseconds(950));
  EXPECT_LT(took, milliseconds(1'900));
}

TEST_F(MasterTest, ASecondSigintKillsAtOnce) {
  Start({{.name = "stubborn",
          .first_to_leave = true,
          .worker = 0,
          .run =
              [this] {
                ++shared_->ready;
                while (true) pause();
                return 0;
              }},
         Staying(1, false)});
  ASSERT_TRUE(AllReady(2));
  master_->Signal(SIGINT);
  usleep(50'000);
  master_->Signal(SIGINT);
  EXPECT_TRUE(master_->Exited(0, milliseconds(700)));
}

TEST_F(MasterTest, SighupStopsNothing) {
  Start({Staying(0, true)});
  ASSERT_TRUE(AllReady(1));
  master_->Signal(SIGHUP);
  EXPECT_FALSE(master_->Wait(milliseconds(100)));
  master_->Signal(SIGTERM);
  EXPECT_TRUE(master_->Exited(0));
}

}  // namespace
}  // namespace inferpool::fcgi

// The master over a table with a row of the test's own.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

#include "fcgi/pool/master.h"
#include "tests/unit/fcgi/pool/master_fixture.h"

namespace inferpool::fcgi {
namespace {

using test::AwaitTerm;
using test::Eventually;

class MasterRolesTest : public test::MasterFixture {
 protected:
  static constexpr int kBeacon = 3;

  MasterRolesTest() {
    roles_.push_back({.name = "beacon",
                      .seats = [](const Config&) { return 2; },
                      .max_seats = 2,
                      .replaced_by = {ReloadEffect::kModels},
                      .policy = {.leave_turn = 2},
                      .run = [this](const ChildContext& context) { return Shine(context); }});
  }

  int Shine(const ChildContext& context) const {
    if (context.row.pid != getpid()) return 1;  // whoever sees that it is ready sees who it is
    context.SayReady();
    AwaitTerm();
    shared_->worker_asked[static_cast<std::size_t>(4 + context.place)] = ++shared_->next;
    return 0;
  }

  RoleTotals Beacons() const { return board_->Sum(Clock::now()).roles[kBeacon]; }
  pid_t Pid(int place) const { return board_->process(kBeacon, place).pid; }
};

TEST_F(MasterRolesTest, ARowOfItsOwnIsStartedReplacedAfterACrashAndStoppedInItsTurn) {
  ASSERT_TRUE(StartAndWait());
  ASSERT_TRUE(Eventually([&] { return CountReady(kBeacon) == 2; }));
  EXPECT_EQ(Beacons().name.view(), "beacon");
  EXPECT_EQ(Beacons().wanted, 2U);
  const pid_t old = Pid(1);
  ASSERT_GT(old, 0);
  kill(old, SIGKILL);
  ASSERT_TRUE(Eventually([&] { return Pid(1) != old && CountReady(kBeacon) == 2; }));
  EXPECT_EQ(Beacons().starts, 3U);
  EXPECT_EQ(Beacons().crashes, 1U);
  master_->Signal(SIGTERM);
  EXPECT_TRUE(master_->Exited(0));
  EXPECT_EQ(shared_->worker_asked[0], 1);
  EXPECT_EQ(shared_->sidecar_asked, 2);
  EXPECT_EQ(shared_->worker_asked[4] + shared_->worker_asked[5], 3 + 4);
  EXPECT_EQ(Beacons().planned_ends, 2U);
}

TEST_F(MasterRolesTest, ANewProgramTakesItOverAndReplacesIt) {
  const pid_t pid = fork();
  if (pid == 0) {
    pause();
    _exit(0);
  }
  Start(Handover{.listener = listener_->get(),
                 .sidecar_listener = -1,
                 .scoreboard = -1,
                 .wakeup = -1,
                 .pid_file = -1,
                 .socket_activated = false,
                 .generation = 1,
                 .at_start = {},
                 .workers = 0,
                 .children = {{.role = kBeacon,
                               .place = 0,
                               .pid = pid,
                               .generation = 1,
                               .ready = true,
                               .leaving = false}}});
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid) << "it was asked to leave";
  EXPECT_TRUE(Eventually([&] { return Beacons().starts == 2; }));
}

}  // namespace
}  // namespace inferpool::fcgi

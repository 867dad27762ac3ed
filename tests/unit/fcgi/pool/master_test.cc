// The master's children: their start, their end, and what it does when they crash or hang.
#include "fcgi/pool/master.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "tests/unit/fcgi/pool/master_fixture.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using test::AwaitTerm;
using test::Eventually;

class MasterTest : public test::MasterFixture {};

TEST_F(MasterTest, StartsAllChildrenAndStopsThoseThatServeFirst) {
  config_.timeouts.drain_s = 600;  // none of which is waited for
  config_.workers = 2;
  config_.modelserver.enabled = true;
  ASSERT_TRUE(StartAndWait());
  ASSERT_TRUE(Eventually([&] { return board_->process(kModelServer, 0).pid != 0; }));
  EXPECT_EQ(board_->Sum(Clock::now()).workers().starts, 2U);
  EXPECT_EQ(board_->Sum(Clock::now()).workers().wanted, 2U);
  EXPECT_EQ(board_->pool().master.load(), master_->pid());
  EXPECT_NE(board_->slot(0).process.pid.load(), board_->slot(1).process.pid.load());
  master_->Signal(SIGTERM);
  EXPECT_TRUE(master_->Exited(0));
  EXPECT_EQ(shared_->worker_asked[0] + shared_->worker_asked[1], 1 + 2);
  EXPECT_EQ(shared_->sidecar_asked + shared_->model_server_asked, 3 + 4);
  EXPECT_EQ(board_->slot(0).process.pid.load(), 0);
  EXPECT_EQ(board_->Sum(Clock::now()).workers().crashes, 0U);
}

TEST_F(MasterTest, SigintStopsItToo) {
  config_.timeouts.drain_s = 600;
  ASSERT_TRUE(StartAndWait());
  master_->Signal(SIGINT);
  EXPECT_TRUE(master_->Exited(0));
  EXPECT_EQ(shared_->worker_asked[0], 1);
}

TEST_F(MasterTest, TheSidecarStaysUntilTheWorkersHaveDrained) {
  programs_.worker = [this](const Config&, const MasterWakeup&, int slot, bool successor) {
    const int status = Stay(slot, successor);
    // It drains for as long as it takes to ask a sidecar, if that is asked too early.
    shared_->seen = Eventually([this] { return shared_->sidecar_asked != 0; }, milliseconds(300));
    return status;
  };
  ASSERT_TRUE(StartAndWait());
  master_->Signal(SIGTERM);
  EXPECT_TRUE(master_->Exited(0));
  EXPECT_EQ(shared_->worker_asked[0], 1);
  EXPECT_EQ(shared_->seen, 0) << "the sidecar was asked while the worker still drained";
  EXPECT_EQ(shared_->sidecar_asked, 2);
}

TEST_F(MasterTest, WhenItStopsTheWorkersAreToldToEmptyTheBacklog) {
  ASSERT_TRUE(StartAndWait());
  EXPECT_EQ(board_->pool().stopping.load(), 0U);
  master_->Signal(SIGTERM);
  EXPECT_TRUE(master_->Exited(0));
  EXPECT_EQ(board_->pool().stopping.load(), 1U);
  EXPECT_FALSE(std::filesystem::exists(config_.listen.socket)) << "nobody new is let in";
}

TEST_F(MasterTest, ASocketOfSystemdsStaysWhenItGoes) {
  socket_activated_ = true;
  ASSERT_TRUE(StartAndWait());
  master_->Signal(SIGTERM);
  EXPECT_TRUE(master_->Exited(0));
  EXPECT_TRUE(std::filesystem::exists(config_.listen.socket));
}

TEST_F(MasterTest, ItsFilesAreThereWhileItRunsAndNoLonger) {
  ASSERT_TRUE(StartAndWait());
  EXPECT_EQ(test::ReadFile(folder_ / "inferpool.pid"), std::to_string(master_->pid()) + "\n");
  EXPECT_TRUE(std::filesystem::exists(ControlPath(folder_.path())));
  master_->Signal(SIGTERM);
  EXPECT_TRUE(master_->Exited(0));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "inferpool.pid"));
  EXPECT_FALSE(std::filesystem::exists(ControlPath(folder_.path())));
}

TEST_F(MasterTest, AStateFolderThatGoesAwayDuringTheStartEndsItAndItsChildren) {
  programs_.worker = [this](const Config&, const MasterWakeup&, int, bool) {
    ++shared_->starts;
    AwaitTerm();  // never ready
    ++shared_->next;
    return 0;
  };
  config_.state = folder_ / "state";
  config_.timeouts.start_s = 30;
  std::filesystem::create_directory(config_.state);
  Start();
  ASSERT_TRUE(Eventually([&] { return shared_->starts == 1; }));
  std::filesystem::rename(config_.state, folder_ / "elsewhere");
  EXPECT_TRUE(master_->Exited(EXIT_FAILURE));
  EXPECT_EQ(shared_->next, 2) << "the worker and the sidecar were asked to leave";
}

TEST_F(MasterTest, AStateFolderThatGoesAwayLaterEndsNothing) {
  config_.state = folder_ / "state";
  std::filesystem::create_directory(config_.state);
  ASSERT_TRUE(StartAndWait());
  // It hears of the worker before it answers the second of these.
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Ask("scale", 1)["ok"].asBool());
  std::filesystem::rename(config_.state, folder_ / "elsewhere");
  EXPECT_FALSE(master_->Wait(std::chrono::milliseconds(1500)));
  master_->Signal(SIGTERM);
  EXPECT_TRUE(master_->Exited(0));
}

TEST_F(MasterTest, AStateFolderThatWasGoneBeforeTheProgramCameEndsNothing) {
  programs_.worker = [this](const Config&, const MasterWakeup&, int, bool) {
    ++shared_->starts;
    AwaitTerm();  // not ready for a while, as after a crash
    return 0;
  };
  config_.state = folder_ / "state";
  config_.timeouts.start_s = 30;
  std::filesystem::create_directory(config_.state);
  Start(Handover{.listener = listener_->get(),
                 .sidecar_listener = -1,
                 .scoreboard = -1,
                 .wakeup = -1,
                 .pid_file = -1,
                 .socket_activated = false,
                 .generation = 1,
                 .at_start = {},
                 .workers = 0,
                 .children = {}});
  ASSERT_TRUE(Eventually([&] { return shared_->starts == 1; }));
  std::filesystem::rename(config_.state, folder_ / "elsewhere");
  EXPECT_FALSE(master_->Wait(std::chrono::milliseconds(1500)));
  master_->Signal(SIGTERM);
  EXPECT_TRUE(master_->Exited(0));
}

TEST_F(MasterTest, ACrashedWorkerIsStartedAgainAndCounted) {
  programs_.worker = [this](const Config&, const MasterWakeup&, int slot, bool) {
    const int start = ++shared_->starts;
    if (start == 1) return 3;
    if (start == 2) raise(SIGKILL);
    if (start == 3) throw std::runtime_error("crash");
    SayReady(slot);
    AwaitTerm();
    return 0;
  };
  ASSERT_TRUE(StartAndWait());
  Totals totals = board_->Sum(Clock::now());
  EXPECT_EQ(totals.workers().starts, 4U);
  EXPECT_EQ(totals.workers().crashes, 3U);
  EXPECT_EQ(totals.workers().planned_ends, 0U);
  ASSERT_EQ(board_->Crashes().size(), 3U);
  EXPECT_EQ(board_->Crashes()[2].exit_status, 3);
  EXPECT_EQ(board_->Crashes()[1].signal, SIGKILL);
  master_->Signal(SIGTERM);
  EXPECT_TRUE(master_->Exited(0));
  totals = board_->Sum(Clock::now());
  EXPECT_EQ(totals.workers().planned_ends, 1U);
  EXPECT_EQ(totals.workers().crashes, 3U);
}

TEST_F(MasterTest, AWorkerThatWaitsForItsRestartIsCountedAsBackingOff) {
  programs_.worker = [this](const Config&, const MasterWakeup&, int slot, bool) {
    if (++shared_->starts <= 4) return 1;
    SayReady(slot);
    AwaitTerm();
    return 0;
  };
  Start();
  EXPECT_TRUE(Eventually([&] { return board_->Sum(Clock::now()).workers().backing_off == 1; }));
  ASSERT_TRUE(WaitForReady(1));
  EXPECT_TRUE(Eventually([&] { return board_->Sum(Clock::now()).workers().backing_off == 0; }));
}

TEST_F(MasterTest, AWorkerThatLeavesByItselfWithAGoodStatusIsNoCrash) {
  programs_.worker = [this](const Config&, const MasterWakeup&, int slot, bool) {
    if (++shared_->starts == 1) return 0;
    SayReady(slot);
    AwaitTerm();
    return 0;
  };
  ASSERT_TRUE(StartAndWait());
  EXPECT_EQ(board_->Sum(Clock::now()).workers().planned_ends, 1U);
  EXPECT_EQ(board_->Sum(Clock::now()).workers().crashes, 0U);
  EXPECT_TRUE(board_->Crashes().empty());
}

TEST_F(MasterTest, TheGaugesOfACrashedWorkerAreCleared) {
  programs_.worker = [this](const Config&, const MasterWakeup&, int slot, bool) {
    if (++shared_->starts > 1) {
      AwaitTerm();
      return 0;
    }
    SayReady(slot);
    board_->thread_slots(slot)[0].Begin(Clock::now());
    board_->thread_slots(slot)[0].CountStatus(200);
    return 1;
  };
  Start();
  ASSERT_TRUE(Eventually([&] { return shared_->starts == 2; }));
  EXPECT_EQ(board_->Sum(Clock::now()).in_work, 0U);
  EXPECT_EQ(board_->slot(0).process.state.load(), ProcessState::kStarting);
  EXPECT_EQ(board_->Sum(Clock::now()).by_status[0], 1U) << "its counts stay";
}

TEST_F(MasterTest, WhoDoesNotLeaveIsKilledAfterTheDrain) {
  programs_.worker = [this](const Config&, const MasterWakeup&, int slot, bool) {
    SayReady(slot);
    while (true) pause();
    return 0;
  };
  ASSERT_TRUE(StartAndWait());
  const auto before = std::chrono::steady_clock::now();
  master_->Signal(SIGTERM);
  EXPECT_TRUE(master_->Exited(0));
  const auto took = std::chrono::steady_clock::now() - before;
  EXPECT_GE(took, milliseconds(950));
  EXPECT_LT(took, milliseconds(1'900));
}

TEST_F(MasterTest, ASecondSigintKillsAtOnce) {
  config_.timeouts.drain_s = 600;
  programs_.worker = [this](const Config&, const MasterWakeup&, int slot, bool) {
    SayReady(slot);
    AwaitTerm();
    ++shared_->seen;
    sleep(120);
    return 0;
  };
  ASSERT_TRUE(StartAndWait());
  master_->Signal(SIGINT);
  ASSERT_TRUE(Eventually([&] { return shared_->seen == 1; })) << "the first one asks it to leave";
  master_->Signal(SIGINT);
  EXPECT_TRUE(master_->Exited(0));
}

TEST_F(MasterTest, AWorkerThatDoesNotGetReadyInTimeIsKilledAndStartedAgain) {
  config_.timeouts.start_s = 1;
  programs_.worker = [this](const Config&, const MasterWakeup&, int slot, bool) {
    if (++shared_->starts > 1) SayReady(slot);
    AwaitTerm();
    return 0;
  };
  ASSERT_TRUE(StartAndWait());
  EXPECT_EQ(shared_->starts, 2);
  EXPECT_EQ(board_->Crashes().at(0).signal, SIGKILL);
}

TEST_F(MasterTest, AWorkerThatIsDueIsReplacedBeforeItIsAskedToLeave) {
  ASSERT_TRUE(StartAndWait());
  const pid_t old = board_->slot(0).process.pid;
  board_->slot(0).due = 1;
  wakeup_.Wake();
  ASSERT_TRUE(Eventually([&] { return shared_->worker_asked[0] == 1; }));
  EXPECT_EQ(shared_->successors, 1) << "it was told that it replaces one that serves";
  EXPECT_EQ(board_->slot(1).process.state.load(), ProcessState::kReady);
  EXPECT_NE(board_->slot(1).process.pid.load(), old);
  EXPECT_TRUE(Eventually([&] { return board_->slot(0).process.pid == 0; }));
  EXPECT_EQ(board_->slot(0).due.load(), 0U);
  EXPECT_EQ(board_->Sum(Clock::now()).workers().planned_ends, 1U);
  EXPECT_EQ(board_->Sum(Clock::now()).workers().crashes, 0U);
}

TEST_F(MasterTest, AStuckWorkerIsReplacedAbortedAndItsPictureQuarantined) {
  config_.timeouts.request_s = 1;
  const Digest digest = DigestOf({}, "poison");
  programs_.worker = [&, this](const Config&, const MasterWakeup&, int slot, bool successor) {
    if (successor) return Stay(slot, successor);
    ThreadSlot& thread_slot = board_->thread_slots(slot)[0];
    thread_slot.Begin(Clock::now() - std::chrono::seconds(10));
    thread_slot.task.Store(
        {.request_id = RequestName("r-1"), .model = ModelName("faces"), .digest = digest});
    thread_slot.thread = getpid();
    SayReady(slot);
    while (true) pause();
    return 0;
  };
  ASSERT_TRUE(StartAndWait());
  // Two seconds of work, seen by looks that are a second apart.
  ASSERT_TRUE(Eventually([&] { return !board_->Crashes().empty(); }, std::chrono::seconds(30)));
  EXPECT_EQ(shared_->successors, 1);
  const CrashRecord crash = board_->Crashes()[0];
  EXPECT_EQ(crash.signal, SIGABRT);
  EXPECT_EQ(crash.stuck, 1U);
  EXPECT_EQ(crash.task.request_id.view(), "r-1");
  EXPECT_TRUE(board_->pool().quarantine.Has(digest, "faces", Clock::now()));
  EXPECT_FALSE(std::filesystem::is_empty(folder_ / "crashes"));
  EXPECT_TRUE(WaitForReady(1));
}

TEST_F(MasterTest, EveryWorkerIsGivenItsQuotaWithinTheJitter) {
  config_.workers = 3;
  config_.recycle.requests = 100;
  config_.recycle.jitter = 10;
  ASSERT_TRUE(StartAndWait());
  for (int slot = 0; slot < 3; ++slot) {
    EXPECT_GE(board_->slot(slot).quota.load(), 100U);
    EXPECT_LE(board_->slot(slot).quota.load(), 110U);
  }
}

}  // namespace
}  // namespace inferpool::fcgi

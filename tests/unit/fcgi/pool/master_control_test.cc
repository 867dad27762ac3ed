// What a running master can be told: reload, scale, and a new program that is none.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <string>

#include "fcgi/pool/master.h"
#include "tests/unit/fcgi/pool/master_fixture.h"

namespace inferpool::fcgi {
namespace {

using test::AwaitTerm;
using test::Eventually;

class MasterControlTest : public test::MasterFixture {
 protected:
  MasterControlTest() {
    // What the file must hold besides what a test changes, so that nothing else differs.
    const ConfigResult loaded = LoadAndWrite("");
    EXPECT_TRUE(loaded.problems.empty()) << Format(loaded.problems[0], "FILE");
    config_ = loaded.config;
  }

  ConfigResult LoadAndWrite(const std::string& more) const {
    const std::string path = folder_ / "inferpool.json";
    test::WriteFile(path, R"({"state": ")" + folder_.path() + R"(",
      "listen": {"socket": "pool.sock"}, "workers_max": 4, "threads": 2,
      "modelserver": {"enabled": false}, "backend": {"targets": ["unix:/nobody"]},
      "timeouts": {"start_s": 1, "drain_s": 1})" +
                              more + "}");
    return LoadConfig(path, {"workers=2"});
  }
  void WriteConfig(const std::string& more) const { LoadAndWrite(R"(, "workers": 2)" + more); }

  static bool Mentions(const Json::Value& answer, const std::string& word) {
    return answer.toStyledString().find(word) != std::string::npos;
  }
};

TEST_F(MasterControlTest, ScaleStartsAndStopsWorkers) {
  ASSERT_TRUE(StartAndWait());
  EXPECT_TRUE(Ask("scale", 4)["ok"].asBool());
  EXPECT_TRUE(WaitForReady(4));
  EXPECT_EQ(board_->Sum(Clock::now()).workers().wanted, 4U);
  EXPECT_TRUE(ReloadEndsAs(ReloadRecord::kDone));
  EXPECT_TRUE(Ask("scale", 1)["ok"].asBool());
  EXPECT_TRUE(Eventually([&] { return board_->Sum(Clock::now()).workers().planned_ends == 3; }));
  EXPECT_TRUE(WaitForReady(1));
  EXPECT_EQ(board_->Sum(Clock::now()).workers().crashes, 0U);
}

TEST_F(MasterControlTest, ScaleBeyondTheMostIsRefused) {
  ASSERT_TRUE(StartAndWait());
  for (const int workers : {5, -1}) {
    const Json::Value answer = Ask("scale", workers);
    EXPECT_FALSE(answer["ok"].asBool());
    EXPECT_TRUE(Mentions(answer, "workers_max")) << answer;
  }
  EXPECT_EQ(board_->Sum(Clock::now()).workers().wanted, 2U);
  EXPECT_EQ(LatestReload().outcome, ReloadRecord::kRefused);
}

TEST_F(MasterControlTest, AFileThatTheWorkersCouldNotUseIsSaidAndChangesNothing) {
  check_files_ = [](const Config& next) {
    return next.limits.body_mb == 7 ? absl::FailedPreconditionError("auth.keys_file is spoilt")
                                    : absl::OkStatus();
  };
  ASSERT_TRUE(StartAndWait());
  WriteConfig(R"(, "limits": {"body_mb": 7})");
  const Json::Value answer = Ask("reload");
  EXPECT_FALSE(answer["ok"].asBool());
  EXPECT_TRUE(Mentions(answer, "auth.keys_file is spoilt")) << answer;
  EXPECT_EQ(LatestReload().outcome, ReloadRecord::kRefused);
  EXPECT_EQ(shared_->successors, 0);
}

TEST_F(MasterControlTest, ReloadReplacesTheWorkersByOnesOfTheNewConfiguration) {
  programs_.worker = [this](const Config& config, const MasterWakeup&, int slot, bool successor) {
    board_->thread_slots(slot)[0].CountBytes(static_cast<std::uint64_t>(config.limits.body_mb), 0);
    return Stay(slot, successor);
  };
  ASSERT_TRUE(StartAndWait());
  WriteConfig(R"(, "limits": {"body_mb": 7})");
  const Json::Value answer = Ask("reload");
  EXPECT_TRUE(answer["ok"].asBool()) << answer;
  EXPECT_TRUE(Mentions(answer, "limits.body_mb"));
  EXPECT_TRUE(ReloadEndsAs(ReloadRecord::kDone));
  EXPECT_EQ(shared_->successors, 2);
  EXPECT_EQ(board_->Sum(Clock::now()).bytes_in, 50U + 50U + 7U + 7U);
  EXPECT_EQ(board_->pool().generation.load(), 2U);
  EXPECT_TRUE(Eventually([&] { return board_->Sum(Clock::now()).workers().planned_ends == 2; }));
  EXPECT_TRUE(WaitForReady(2));
}

TEST_F(MasterControlTest, SighupReloads) {
  ASSERT_TRUE(StartAndWait());
  WriteConfig(R"(, "limits": {"body_mb": 7})");
  master_->Signal(SIGHUP);
  EXPECT_TRUE(ReloadEndsAs(ReloadRecord::kDone));
  EXPECT_EQ(shared_->successors, 2);
}

TEST_F(MasterControlTest, AReloadThatChangesNothingReplacesNobody) {
  ASSERT_TRUE(StartAndWait());
  WriteConfig("");
  EXPECT_TRUE(Ask("reload")["ok"].asBool());
  EXPECT_TRUE(ReloadEndsAs(ReloadRecord::kDone));
  EXPECT_EQ(shared_->starts, 2);
  EXPECT_EQ(board_->pool().generation.load(), 1U);
}

TEST_F(MasterControlTest, AKeyOfTheMastersTakesEffectWithoutANewWorker) {
  ASSERT_TRUE(StartAndWait());
  WriteConfig(R"(, "quarantine": {"ttl_s": 5}, "recycle": {"requests": 9, "jitter": 0})");
  EXPECT_TRUE(Ask("reload")["ok"].asBool());
  EXPECT_TRUE(ReloadEndsAs(ReloadRecord::kDone));
  EXPECT_EQ(shared_->starts, 2);
  EXPECT_EQ(board_->pool().quarantine_ttl_ns.load(), 5'000'000'000U);
  EXPECT_EQ(board_->slot(0).quota.load(), 9U) << "those that run have it too";
}

TEST_F(MasterControlTest, AConfigurationWithProblemsIsRefusedAndNothingChanges) {
  ASSERT_TRUE(StartAndWait());
  WriteConfig(R"(, "limits": {"body_mb": 0}, "threads": "many")");
  const Json::Value answer = Ask("reload");
  EXPECT_FALSE(answer["ok"].asBool());
  EXPECT_GE(answer["problems"].size(), 1U) << answer;
  EXPECT_EQ(LatestReload().outcome, ReloadRecord::kRefused);
  EXPECT_EQ(shared_->starts, 2);
}

TEST_F(MasterControlTest, AKeyThatOnlyANewStartCanChangeIsRefusedByName) {
  ASSERT_TRUE(StartAndWait());
  WriteConfig(R"(, "sidecar": {"port": 9191}, "limits": {"body_mb": 7})");
  const Json::Value answer = Ask("reload");
  EXPECT_FALSE(answer["ok"].asBool());
  EXPECT_TRUE(Mentions(answer, "sidecar.port")) << answer;
  EXPECT_EQ(shared_->starts, 2);
}

TEST_F(MasterControlTest, AGenerationThatDoesNotGetReadyIsGivenUpAndTheOldOneStays) {
  programs_.worker = [this](const Config& config, const MasterWakeup&, int slot, bool successor) {
    if (config.limits.body_mb != 7) return Stay(slot, successor);
    AwaitTerm();
    return 0;
  };
  ASSERT_TRUE(StartAndWait());
  const pid_t first = board_->slot(0).process.pid;
  const pid_t second = board_->slot(1).process.pid;
  WriteConfig(R"(, "limits": {"body_mb": 7})");
  EXPECT_TRUE(Ask("reload")["ok"].asBool());
  EXPECT_TRUE(ReloadEndsAs(ReloadRecord::kGivenUp));
  EXPECT_EQ(board_->slot(0).process.pid.load(), first);
  EXPECT_EQ(board_->slot(1).process.pid.load(), second);
  EXPECT_EQ(Count(ProcessState::kReady), 2U);
  EXPECT_EQ(board_->pool().generation.load(), 1U);
  EXPECT_NE(LatestReload().detail.view().find("generation 1 stays"), std::string::npos)
      << LatestReload().detail.view();
}

TEST_F(MasterControlTest, OneThatIsGivenUpSaysWhatItsProcessWaitedFor) {
  programs_.worker = [this](const Config& config, const MasterWakeup&, int slot, bool successor) {
    if (config.limits.body_mb != 7) return Stay(slot, successor);
    board_->slot(slot).process.not_ready.Store(NotReadyText("the coffee is cold"));
    AwaitTerm();
    return 0;
  };
  ASSERT_TRUE(StartAndWait());
  WriteConfig(R"(, "limits": {"body_mb": 7})");
  EXPECT_TRUE(Ask("reload")["ok"].asBool());
  EXPECT_TRUE(ReloadEndsAs(ReloadRecord::kGivenUp));
  const std::string detail(LatestReload().detail.view());
  EXPECT_NE(detail.find("did not get ready within timeouts.start_s"), std::string::npos) << detail;
  EXPECT_NE(detail.find("the coffee is cold"), std::string::npos) << detail;
}

TEST_F(MasterControlTest, OneThatIsGivenUpSaysWhyItsProcessesEnded) {
  programs_.worker = [this](const Config& config, const MasterWakeup&, int slot, bool successor) {
    if (config.limits.body_mb != 7 && config.limits.body_mb != 8) return Stay(slot, successor);
    if (config.limits.body_mb == 7) {
      board_->slot(slot).process.not_ready.Store(NotReadyText("there is no coffee"));
    }
    return 3;
  };
  ASSERT_TRUE(StartAndWait());
  for (const auto& [body_mb, words] :
       {std::pair(7, "there is no coffee"), std::pair(8, "exit status 3")}) {
    WriteConfig(R"(, "limits": {"body_mb": )" + std::to_string(body_mb) + "}");
    EXPECT_TRUE(Ask("reload")["ok"].asBool());
    EXPECT_TRUE(ReloadEndsAs(ReloadRecord::kGivenUp));
    const std::string detail(LatestReload().detail.view());
    EXPECT_NE(detail.find("ended before it was ready: "), std::string::npos) << detail;
    EXPECT_NE(detail.find(words), std::string::npos) << detail;
    EXPECT_EQ(detail.find("timeouts.start_s"), std::string::npos) << detail;
  }
}

TEST_F(MasterControlTest, TheQuarantineCanBeCleared) {
  ASSERT_TRUE(StartAndWait());
  const Digest digest = DigestOf({}, "poison");
  board_->pool().quarantine.Enter({.digest = digest,
                                   .model = ModelName("m"),
                                   .request_id = RequestName("r"),
                                   .until_ns = ToNs(Clock::now() + std::chrono::hours(1))});
  EXPECT_TRUE(Ask("quarantine clear")["ok"].asBool());
  EXPECT_FALSE(board_->pool().quarantine.Has(digest, "m", Clock::now()));
}

TEST_F(MasterControlTest, AnUnknownCommandIsRefused) {
  ASSERT_TRUE(StartAndWait());
  for (const char* command : {"", "stop", "scale"}) {
    EXPECT_FALSE(Ask(command)["ok"].asBool()) << command;
  }
}

TEST_F(MasterControlTest, AProgramThatDoesNotAcceptTheConfigurationIsNotBecome) {
  ASSERT_TRUE(StartAndWait());
  master_->Signal(SIGUSR2);
  EXPECT_TRUE(ReloadEndsAs(ReloadRecord::kRefused));
  EXPECT_EQ(LatestReload().what.view(), "new program");
  EXPECT_FALSE(master_->Wait(std::chrono::milliseconds(50)));
  EXPECT_EQ(shared_->starts, 2);
}

TEST_F(MasterControlTest, SigusrOneReachesTheChildren) {
  programs_.worker = [this](const Config&, const MasterWakeup&, int slot, bool) {
    SayReady(slot);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    int signal = 0;
    sigwait(&set, &signal);
    ++shared_->starts;
    AwaitTerm();
    return 0;
  };
  ASSERT_TRUE(StartAndWait());
  master_->Signal(SIGUSR1);
  EXPECT_TRUE(Eventually([&] { return shared_->starts == 2; }));
}

}  // namespace
}  // namespace inferpool::fcgi

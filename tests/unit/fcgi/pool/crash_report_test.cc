#include "fcgi/pool/crash_report.h"

#include <gtest/gtest.h>
#include <json/json.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "tests/unit/fcgi/serving/crashing_worker.h"
#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::seconds;
using test::CrashingWorker;

// Wait statuses as waitpid gives them.
constexpr int Exit(int status) {
  return status << 8;
}
constexpr int Signal(int signal) {
  return signal;
}

class CrashReportTest : public CrashingWorker {
 protected:
  CrashReportTest() {
    board_.SetRoles(std::array<Scoreboard::RoleRoom, 2>{{{"worker", 0}, {"ingest", 0, 2}}});
  }
  Crash Of(int wait_status, std::optional<int> stuck_thread_slot = std::nullopt,
           bool same_program = true) const {
    return {.slot = kSlot,
            .pid = 4'711,
            .wait_status = wait_status,
            .stuck_thread_slot = stuck_thread_slot,
            .same_program = same_program};
  }
  // Keeps the log out of the test's output.
  CrashRecord Report(const Crash& crash) {
    testing::internal::CaptureStderr();
    const CrashRecord record = ReportCrash(board_, crash, crashes_, Clock::now());
    log_ = testing::internal::GetCapturedStderr();
    return record;
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(crashes_, error)) {
      files.push_back(entry.path());
    }
    std::ranges::sort(files);
    return files;
  }
  Json::Value OnlyReport() const {
    EXPECT_EQ(Files().size(), 1U);
    Json::Value json;
    if (!Files().empty()) std::istringstream(test::ReadFile(Files()[0])) >> json;
    return json;
  }

  const test::TemporaryFolder folder_;
  const std::string crashes_ = folder_ / "crashes";
  std::string log_;
};

TEST_F(CrashReportTest, SaysWhoDidItOnWhatAndWhere) {
  slot().process.generation = 3;
  const int status = StatusAfter([this] {
    BeginPoison();
    test::ReadNull();
  });
  const CrashRecord record = Report(Of(status));
  EXPECT_EQ(record.role.view(), "worker");
  EXPECT_EQ(record.place, kSlot);
  EXPECT_EQ(record.pid, 4'711);
  EXPECT_EQ(record.signal, SIGSEGV);
  EXPECT_EQ(record.stuck, 0U);
  EXPECT_EQ(record.task.request_id.view(), "request-7");
  EXPECT_EQ(record.task.digest, Poison());

  const Json::Value report = OnlyReport();
  EXPECT_EQ(report["signal"], "SIGSEGV");
  EXPECT_EQ(report["worker"], kSlot);
  EXPECT_EQ(report["pid"], 4'711);
  EXPECT_EQ(report["generation"], 3);
  EXPECT_EQ(report["stuck"], false);
  EXPECT_EQ(report["request_id"], "request-7");
  EXPECT_EQ(report["model"], "faces");
  EXPECT_EQ(report["digest"], ToHex(Poison()));
  EXPECT_EQ(report["crashed_thread"], static_cast<int>(kThreadSlot));
  ASSERT_EQ(report["threads"].size(), 1U);
  EXPECT_EQ(report["threads"][0]["request_id"], "request-7");
  EXPECT_GT(report["threads"][0]["backtrace"].size(), 3U);
  EXPECT_NE(Files()[0].find("-worker-1-4711.json"), std::string::npos) << Files()[0];
  EXPECT_NE(log_.find("worker crashed"), std::string::npos);
  EXPECT_NE(log_.find("backtrace"), std::string::npos);
  EXPECT_NE(log_.find(ToHex(Poison())), std::string::npos);
}

TEST_F(CrashReportTest, AProcessOfAnotherRoleIsCalledByIt) {
  Crash crash = Of(Signal(SIGSEGV));
  crash.slot = board_.SlotOf(/*role=*/1, /*place=*/1).value();
  const CrashRecord record = Report(crash);
  EXPECT_EQ(record.role.view(), "ingest");
  EXPECT_EQ(record.place, 1);
  const Json::Value report = OnlyReport();
  EXPECT_EQ(report["role"], "ingest");
  EXPECT_EQ(report["ingest"], 1);
  EXPECT_FALSE(report.isMember("worker"));
  EXPECT_NE(Files()[0].find("-ingest-1-4711.json"), std::string::npos) << Files()[0];
  EXPECT_NE(log_.find("ingest crashed"), std::string::npos) << log_;
}

TEST_F(CrashReportTest, FramesOfThisProgramHaveNamesAndThoseOfAnotherAddressesAlone) {
  const int status = StatusAfter([] { std::abort(); });
  Report(Of(status));
  const Json::Value named = OnlyReport()["threads"][0]["backtrace"];
  ASSERT_GT(named.size(), 0U);
  EXPECT_TRUE(std::ranges::any_of(named, [](const Json::Value& frame) {
    return frame.asString().find("abort") != std::string::npos;
  })) << named;
  std::filesystem::remove_all(crashes_);
  Report(Of(status, std::nullopt, /*same_program=*/false));
  for (const Json::Value& frame : OnlyReport()["threads"][0]["backtrace"]) {
    EXPECT_TRUE(frame.asString().starts_with("[0x")) << frame;
  }
}

TEST_F(CrashReportTest, OnlyWhatARequestOrTheProgramDidIsReported) {
  for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) {
    EXPECT_TRUE(IsReported(Of(Signal(signal)))) << signal;
  }
  for (const int signal : {SIGKILL, SIGTERM, SIGINT, SIGHUP}) {
    EXPECT_FALSE(IsReported(Of(Signal(signal)))) << signal;
  }
  EXPECT_FALSE(IsReported(Of(Exit(0))));
  EXPECT_FALSE(IsReported(Of(Exit(1))));
  EXPECT_TRUE(IsReported(Of(Signal(SIGKILL), /*stuck_thread_slot=*/1)));
}

TEST_F(CrashReportTest, WhatIsNotReportedIsRecordedAllTheSame) {
  EXPECT_EQ(Report(Of(Exit(3))).exit_status, 3);
  EXPECT_EQ(Report(Of(Exit(3))).signal, 0);
  EXPECT_EQ(Report(Of(Signal(SIGKILL))).signal, SIGKILL);
  EXPECT_GT(Report(Of(Exit(3))).at_s, 1'700'000'000);
  EXPECT_TRUE(Files().empty());
  EXPECT_EQ(log_, "");
}

TEST_F(CrashReportTest, AStuckWorkersCulpritIsWhoWasStuck) {
  for (std::size_t i = 0; i < kThreadSlots; ++i) {
    thread_slot(i).thread = static_cast<pid_t>(100 + i);
    thread_slot(i).Begin(Clock::now() - seconds(i == 1 ? 50 : 60));
    thread_slot(i).task.Store({.request_id = RequestName("request " + std::to_string(i)),
                               .model = ModelName("m"),
                               .digest = DigestOf({}, std::to_string(i))});
  }
  const CrashRecord record = Report(Of(Signal(SIGKILL), /*stuck_thread_slot=*/1));
  EXPECT_EQ(record.stuck, 1U);
  EXPECT_EQ(record.task.request_id.view(), "request 1");
  const Json::Value report = OnlyReport();
  EXPECT_EQ(report["crashed_thread"], 1);
  EXPECT_EQ(report["threads"].size(), 3U);
  EXPECT_GE(report["threads"][1]["busy_s"].asDouble(), 50);
}

TEST_F(CrashReportTest, ASignalFromOutsideBlamesNobody) {
  const auto worker = Worker([this] {
    BeginPoison();
    while (true) pause();
  });
  ASSERT_TRUE(test::Eventually([this] { return thread_slot().task.Load()->digest.known(); }));
  worker->Signal(SIGSEGV);
  const auto status = worker->Wait(seconds(10));
  ASSERT_TRUE(status);
  EXPECT_EQ(Report(Of(*status)).task.request_id.view(), "");
  EXPECT_EQ(OnlyReport()["request_id"], "");
  EXPECT_EQ(OnlyReport()["digest"], "");
}

TEST_F(CrashReportTest, AWorkerThatLeftNothingIsReportedAsFarAsIsKnown) {
  Report(Of(Signal(SIGSEGV)));
  const Json::Value report = OnlyReport();
  EXPECT_EQ(report["signal"], "SIGSEGV");
  EXPECT_TRUE(report["threads"].isArray());
  EXPECT_EQ(report["threads"].size(), 0U);
}

TEST_F(CrashReportTest, ItsOwnRequestsAreCountedAndNotThoseOfTheTenantBefore) {
  for (int i = 0; i < 5; ++i) thread_slot().End();
  board_.Vacate(kSlot);
  board_.Occupy(kSlot, 2, kThreadSlots, Clock::now() - seconds(20));
  for (int i = 0; i < 2; ++i) thread_slot().End();
  Report(Of(Signal(SIGSEGV)));
  EXPECT_EQ(OnlyReport()["served"], 2);
  EXPECT_NEAR(OnlyReport()["age_s"].asDouble(), 20, 5);
}

TEST_F(CrashReportTest, OnlyTheNewestReportsAreKept) {
  std::filesystem::create_directories(crashes_);
  for (int i = 0; i < 80; ++i) {
    test::WriteFile(crashes_ + "/20000101T0000" + std::to_string(10 + i) + "-worker-0-1.json", "");
  }
  test::WriteFile(crashes_ + "/notes.txt", "somebody's");
  Report(Of(Signal(SIGSEGV)));
  const auto files = Files();
  EXPECT_EQ(files.size(), kMaxCrashReports + 1);
  EXPECT_TRUE(std::filesystem::exists(crashes_ + "/notes.txt"));
  EXPECT_FALSE(std::filesystem::exists(crashes_ + "/20000101T000010-worker-0-1.json"));
  EXPECT_TRUE(std::filesystem::exists(crashes_ + "/20000101T000089-worker-0-1.json"));
  EXPECT_TRUE(std::ranges::any_of(files, [](const std::string& file) {
    return file.find("-worker-1-4711.json") != std::string::npos;
  }));
}

TEST_F(CrashReportTest, AFolderThatCannotBeWrittenIsLoggedAndNoMore) {
  test::WriteFile(crashes_, "a file where the folder should be");
  EXPECT_EQ(Report(Of(Signal(SIGSEGV))).signal, SIGSEGV);
  EXPECT_NE(log_.find("cannot write the crash report"), std::string::npos);
}

// A limit on the size of files is a full disk that a test can have.
TEST_F(CrashReportTest, OnAFullDiskThereIsNoPartOfAReport) {
  test::ChildProcess child([this] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit few{.rlim_cur = 40, .rlim_max = 40};
    std::array<int, 2> pair{};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair.data()) != 0) return 1;
    dup2(pair[1], STDERR_FILENO);  // the log has room
    if (setrlimit(RLIMIT_FSIZE, &few) != 0) return 2;
    ReportCrash(board_, Of(Signal(SIGSEGV)), crashes_, Clock::now());
    std::string said(64 * 1024, '\0');
    std::string words;
    for (ssize_t got = 0; (got = recv(pair[0], said.data(), said.size(), MSG_DONTWAIT)) > 0;) {
      words.append(said, 0, static_cast<std::size_t>(got));
    }
    const bool told = words.find("cannot write the crash report") != std::string::npos &&
                      words.find("\"worker crashed\"") != std::string::npos &&
                      words.find(".json\"}") == std::string::npos;
    return told ? 0 : 3;
  });
  EXPECT_TRUE(child.Exited(0));
  EXPECT_EQ(Files(), std::vector<std::string>());
}

TEST_F(CrashReportTest, IsForItsUserAndGroupOnly) {
  const mode_t mask = umask(0);
  Report(Of(Signal(SIGSEGV)));
  umask(mask);
  ASSERT_EQ(Files().size(), 1U);
  struct stat info {};
  ASSERT_EQ(stat(Files()[0].c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0640U);
  ASSERT_EQ(stat(crashes_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0750U);
}

}  // namespace
}  // namespace inferpool::fcgi

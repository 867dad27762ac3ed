// A master in a process of its own, over children that do what a test wants.
#pragma once

#include <gtest/gtest.h>
#include <json/writer.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "fcgi/pool/control.h"
#include "fcgi/pool/handover.h"
#include "fcgi/pool/listener.h"
#include "fcgi/pool/master.h"
#include "fcgi/pool/roles.h"
#include "shared/base/log.h"
#include "tests/unit/shared/base/child_process.h"
#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::test {

// Until the master asks the child to leave.
inline void AwaitTerm() {
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  int signal = 0;
  sigwait(&term, &signal);
}

class MasterFixture : public testing::Test {
 protected:
  // What the children tell the test, in memory that all share.
  struct Shared {
    std::atomic<int> starts;      // of workers
    std::atomic<int> successors;  // of these
    std::atomic<int> next;        // the order in which they were asked to leave
    std::array<std::atomic<int>, 8> worker_asked;
    std::atomic<int> sidecar_asked;
    std::atomic<int> model_server_asked;
    std::atomic<int> seen;  // what the test's own children make of it
  };

  // What a worker does, for tests to change.
  struct Programs {
    std::function<int(const Config&, const fcgi::MasterWakeup&, int slot, bool successor)> worker;
  };

  // In roles_, after the workers.
  static constexpr int kSidecar = 1;
  static constexpr int kModelServer = 2;

  MasterFixture() {
    void* memory =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared_ = new (memory) Shared{};
    config_.state = folder_.path();
    config_.workers = 1;
    config_.workers_max = 4;
    config_.threads = 2;
    config_.listen.socket = folder_ / "pool.sock";
    config_.modelserver.enabled = false;
    config_.timeouts.start_s = 2;
    config_.timeouts.drain_s = 1;
    config_.recycle.requests = 0;
    programs_ = {.worker = [this](const Config&, const fcgi::MasterWakeup&, int slot,
                                  bool successor) { return Stay(slot, successor); }};
    roles_ = {{.name = "worker",
               .seats = [](const Config& config) { return config.workers; },
               .max_seats = 4,
               .replaced_by = {ReloadEffect::kWorkers, ReloadEffect::kClients, ReloadEffect::kAll},
               .run =
                   [this](const fcgi::ChildContext& context) {
                     return programs_.worker(context.config, context.wakeup, context.place,
                                             context.successor);
                   }},
              {.name = "sidecar",
               .seats = [](const Config&) { return 1; },
               .replaced_by = {ReloadEffect::kClients, ReloadEffect::kAll},
               .policy = {.leave_turn = 1, .rolls_last = true},
               .run =
                   [this](const fcgi::ChildContext& context) {
                     context.SayReady();
                     AwaitTerm();
                     shared_->sidecar_asked = ++shared_->next;
                     return 0;
                   }},
              {.name = "modelserver",
               .seats = [](const Config& config) { return config.modelserver.enabled ? 1 : 0; },
               .replaced_by = {ReloadEffect::kModels, ReloadEffect::kAll},
               .other_program = true,
               .policy = {.successor_first = false, .leave_turn = 1},
               .run =
                   [this](const fcgi::ChildContext&) {
                     AwaitTerm();
                     shared_->model_server_asked = ++shared_->next;
                     return 0;
                   }}};
  }
  ~MasterFixture() override {
    master_.reset();
    munmap(shared_, sizeof(Shared));
  }

  // A worker's life: it is ready at once and stays until it is asked to leave.
  int Stay(int slot, bool successor) {
    ++shared_->starts;
    if (successor) ++shared_->successors;
    SayReady(slot);
    AwaitTerm();
    shared_->worker_asked[static_cast<std::size_t>(slot)] = ++shared_->next;
    return 0;
  }
  void SayReady(int slot) const {
    board_->slot(slot).process.state = ProcessState::kReady;
    wakeup_.Wake();
  }

  // `handover`: from the program before.
  void Start(const std::optional<fcgi::Handover>& handover = {}) {
    master_ = std::make_unique<ChildProcess>([this, handover] {
      if (freopen("/dev/null", "w", stderr) == nullptr) return 98;
      fcgi::BlockSignals();
      const auto pid_file = fcgi::PidFile::Take(config_.state);
      if (!pid_file.ok()) return 97;
      return fcgi::RunMaster({.roles = roles_,
                              .config = config_,
                              .config_file = folder_ / "inferpool.json",
                              .overrides = {},
                              .program = program_,
                              .listener = listener_->get(),
                              .sidecar_listener = -1,
                              .socket_activated = socket_activated_,
                              .scoreboard = *board_,
                              .wakeup = wakeup_,
                              .pid_file = *pid_file,
                              .identity = {},
                              .check_files = check_files_,
                              .handover = handover});
    });
  }

  std::uint64_t Count(ProcessState state) const {
    return board_->Sum(Clock::now()).workers().by_state[static_cast<std::size_t>(state)];
  }
  std::uint64_t CountReady(int role) const {
    const RoleTotals totals = board_->Sum(Clock::now()).roles[static_cast<std::size_t>(role)];
    return totals.by_state[static_cast<std::size_t>(ProcessState::kReady)];
  }
  bool WaitForReady(std::uint64_t workers) const {
    return Eventually([&] { return Count(ProcessState::kReady) == workers; });
  }
  bool SidecarIsReady() const {
    return Eventually([&] { return CountReady(kSidecar) == 1; });
  }
  // All are up and the master has heard of it.
  bool StartAndWait() {
    Start();
    return WaitForReady(static_cast<std::uint64_t>(config_.workers)) && SidecarIsReady();
  }

  Json::Value Ask(const std::string& command, int workers = 0) const {
    Json::Value request;
    request["command"] = command;
    if (workers != 0) request["workers"] = workers;
    const auto answer = fcgi::AskMaster(config_.state, request, std::chrono::seconds(5));
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? *answer : Json::Value();
  }
  ReloadRecord LatestReload() const {
    return board_->pool().reload.Load().value_or(ReloadRecord{});
  }
  bool ReloadEndsAs(std::uint32_t outcome) const {
    return Eventually([&] { return LatestReload().outcome == outcome; });
  }

  const TemporaryFolder folder_;
  const absl::StatusOr<FileDescriptor> listener_ = fcgi::ListenUnix(folder_ / "pool.sock", 16);
  const absl::StatusOr<Scoreboard> board_ = Scoreboard::Create(6, 2);
  const fcgi::MasterWakeup wakeup_;
  Config config_;
  std::string program_ = "/bin/false";
  bool socket_activated_ = false;
  Programs programs_;
  fcgi::RoleTable roles_;
  std::function<absl::Status(const Config&)> check_files_ = [](const Config&) {
    return absl::OkStatus();
  };
  Shared* shared_ = nullptr;
  std::unique_ptr<ChildProcess> master_;
};

}  // namespace inferpool::test

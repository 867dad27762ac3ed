// A worker process that crashes, and the scoreboard that it leaves behind.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>

#include "fcgi/serving/crash_handler.h"
#include "fcgi/serving/crash_scope.h"
#include "tests/unit/shared/base/child_process.h"
#include "tests/unit/shared/board/occupied_board.h"

namespace inferpool::test {

class CrashingWorker : public testing::Test {
 protected:
  static constexpr int kSlot = 1;
  static constexpr std::size_t kThreadSlot = 2;
  static constexpr int kThreadSlots = 3;

  CrashingWorker() { board_.pool().quarantine_ttl_ns = 60'000'000'000U; }

  WorkerSlot& slot() const { return board_.slot(kSlot); }
  ThreadSlot& thread_slot(std::size_t index = kThreadSlot) const {
    return board_.thread_slots(kSlot)[index];
  }
  Quarantine& quarantine() const { return board_.pool().quarantine; }
  static Digest Poison() { return DigestOf({}, "poison"); }
  bool PoisonIsQuarantined() const { return quarantine().Has(Poison(), "faces", Clock::now()); }

  // What a thread does that begins a request with the poisonous picture.
  void BeginPoison() const {
    thread_slot().Begin(Clock::now());
    thread_slot().task.Store(
        {.request_id = RequestName("request-7"), .model = ModelName("faces"), .digest = Poison()});
  }

  // A process with the handler, whose thread slot's thread does `body`.
  std::unique_ptr<ChildProcess> Worker(const std::function<void()>& body) {
    auto worker = std::make_unique<ChildProcess>([&, this] {
      PrepareToCrash();
      std::thread([&, this] {
        const fcgi::ThreadCrashScope owner(thread_slot());
        body();
      }).join();
      return 0;
    });
    slot().process.pid = worker->pid();
    return worker;
  }
  void PrepareToCrash() const {
    const rlimit none{};
    setrlimit(RLIMIT_CORE, &none);
    fcgi::InstallCrashHandler(slot(), board_.thread_slots(kSlot), board_.pool());
  }

  // The wait status of a worker that has done `body`.
  int StatusAfter(const std::function<void()>& body) {
    const auto status = Worker(body)->Wait(std::chrono::seconds(10));
    EXPECT_TRUE(status) << "it has not ended";
    return status.value_or(0);
  }
  static testing::AssertionResult DiedOf(int signal, int status) {
    if (WIFSIGNALED(status) && WTERMSIG(status) == signal) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "wait status " << status;
  }

  const Scoreboard board_ = OccupiedBoard(2, kThreadSlots);
};

// A sanitizer would end the process before it crashes.
[[gnu::noinline, gnu::no_sanitize("null")]] inline void ReadNull() {
  volatile const int* volatile nowhere = nullptr;
  [[maybe_unused]] const int value = *nowhere;
}

// Takes all of the stack; that the end might come keeps the compiler from objecting, and the result
// from making a loop of it.
[[gnu::noinline]] inline int OverflowStack(int depth) {
  static volatile bool end = false;
  if (end) return 0;
  volatile char room[4'096];
  room[0] = static_cast<char>(depth);
  return OverflowStack(depth + 1) + room[0];
}

}  // namespace inferpool::test

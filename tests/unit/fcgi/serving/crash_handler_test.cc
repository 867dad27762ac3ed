#include "fcgi/serving/crash_handler.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "fcgi/serving/crash_scope.h"
#include "shared/base/bus_error.h"
#include "shared/base/file_descriptor.h"
#include "tests/unit/fcgi/serving/crashing_worker.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::ChildProcess;
using test::CrashingWorker;
using test::Eventually;

class CrashHandlerTest : public CrashingWorker {};

struct Way {
  std::string name;
  std::function<void()> crash;
  int signal;
};

void PrintTo(const Way& way, std::ostream* stream) {
  *stream << way.name;
}

class CrashTest : public CrashHandlerTest, public testing::WithParamInterface<Way> {};

TEST_P(CrashTest, NamesItsThreadSlotAndQuarantinesItsPicture) {
  const int status = StatusAfter([this] {
    BeginPoison();
    GetParam().crash();
  });
  EXPECT_TRUE(DiedOf(GetParam().signal, status)) << "as if there were no handler";
  EXPECT_EQ(slot().crash_signal.load(), static_cast<std::uint32_t>(GetParam().signal));
  EXPECT_EQ(slot().crash_thread.load(), static_cast<std::int32_t>(kThreadSlot));
  EXPECT_GT(thread_slot().backtrace.count.load(), 0U);
  EXPECT_TRUE(PoisonIsQuarantined());
  const auto list = quarantine().List(Clock::now());
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].request_id.view(), "request-7");
  const auto left = FromNs(list[0].until_ns) - Clock::now();
  EXPECT_GT(left, seconds(40));
  EXPECT_LE(left, seconds(60)) << "for quarantine_ttl_ns";
}

INSTANTIATE_TEST_SUITE_P(CrashHandlerTest, CrashTest,
                         testing::Values(Way{"null", [] { test::ReadNull(); }, SIGSEGV},
                                         Way{"stack", [] { test::OverflowStack(0); }, SIGSEGV},
                                         Way{"abort", [] { std::abort(); }, SIGABRT},
                                         Way{"exception", [] { throw 1; }, SIGABRT},  // NOLINT
                                         Way{"illegal", [] { __builtin_trap(); }, SIGILL},
                                         Way{"bus", [] { raise(SIGBUS); }, SIGBUS},
                                         Way{"arithmetic", [] { raise(SIGFPE); }, SIGFPE}),
                         [](const auto& tested) { return tested.param.name; });

TEST_F(CrashHandlerTest, AHelpersCrashIsItsOwnPicturesDoing) {
  const Digest innocent = DigestOf({}, "innocent");
  const int status = StatusAfter([&, this] {
    thread_slot().Begin(Clock::now());
    thread_slot().task.Store(
        {.request_id = RequestName("request-7"), .model = ModelName("faces"), .digest = innocent});
    std::thread([this] {
      Seqlock<Task> task;
      const HelperCrashScope owner(thread_slot(), task);
      task.Store({.request_id = RequestName("request-7"),
                  .model = ModelName("faces"),
                  .digest = Poison()});
      test::OverflowStack(0);
    }).join();
  });
  EXPECT_TRUE(DiedOf(SIGSEGV, status));
  EXPECT_EQ(slot().crash_thread.load(), static_cast<std::int32_t>(kThreadSlot));
  EXPECT_TRUE(PoisonIsQuarantined());
  EXPECT_FALSE(quarantine().Has(innocent, "faces", Clock::now()));
  EXPECT_EQ(thread_slot().task.Load()->digest, Poison()) << "what the report says";
}

TEST_F(CrashHandlerTest, ACrashInTheBackgroundIsNoRequestsDoing) {
  const Digest innocent = DigestOf({}, "innocent");
  const int status = StatusAfter([&, this] {
    thread_slot().Begin(Clock::now());
    thread_slot().task.Store(
        {.request_id = RequestName("request-7"), .model = ModelName("faces"), .digest = innocent});
    std::thread([] {
      Seqlock<Task> task;
      const BackgroundCrashScope scope(task);
      task.Store({.request_id = RequestName("request-6"),
                  .model = ModelName("faces"),
                  .digest = Poison()});
      test::OverflowStack(0);
    }).join();
  });
  EXPECT_TRUE(DiedOf(SIGSEGV, status));
  EXPECT_EQ(slot().crash_thread.load(), -1);
  EXPECT_TRUE(PoisonIsQuarantined());
  EXPECT_FALSE(quarantine().Has(innocent, "faces", Clock::now()));
}

TEST_F(CrashHandlerTest, GuardedMemoryThatIsTakenAwayIsNoCrash) {
  ChildProcess worker([this] {
    PrepareToCrash();
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const FileDescriptor file(memfd_create("crash_handler_test", MFD_CLOEXEC));
    if (ftruncate(file.get(), static_cast<off_t>(page)) != 0) return 1;
    void* memory = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    const BusErrorGuard guard(memory, page);
    if (ftruncate(file.get(), 0) != 0) return 2;
    const char read = *static_cast<volatile char*>(memory);
    return read == 0 && guard.broken() ? 0 : 3;
  });
  EXPECT_TRUE(worker.Exited(0));
  EXPECT_EQ(slot().crash_signal.load(), 0U);
}

TEST_F(CrashHandlerTest, ABadAddressIsKept) {
  StatusAfter([] {
    volatile char* volatile nowhere = reinterpret_cast<char*>(0x1234);
    *nowhere = 1;
  });
  EXPECT_EQ(slot().crash_address.load(), 0x1234U);
}

TEST_F(CrashHandlerTest, TheSignalOfSomebodyElseSaysNothingOfTheRequest) {
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) {
    slot().crash_signal = 0;
    const auto worker = Worker([this] {
      BeginPoison();
      while (true) pause();
    });
    ASSERT_TRUE(Eventually([this] { return thread_slot().task.Load()->digest.known(); }));
    worker->Signal(signal);
    const auto status = worker->Wait(seconds(10));
    ASSERT_TRUE(status);
    EXPECT_TRUE(DiedOf(signal, *status));
    EXPECT_EQ(slot().crash_signal.load(), static_cast<std::uint32_t>(signal));
    EXPECT_EQ(slot().crash_thread.load(), -1) << signal;
    EXPECT_TRUE(quarantine().List(Clock::now()).empty()) << signal;
    board_.Vacate(kSlot);
    thread_slot().task.Store({});
  }
}

TEST_F(CrashHandlerTest, SigabrtFromTheMasterAsksForTheStacksOfAllThreads) {
  ChildProcess worker([this] {
    PrepareToCrash();
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < kThreadSlots; ++i) {
      threads.emplace_back([this, i] {
        const ThreadCrashScope owner(thread_slot(i));
        thread_slot(i).Begin(Clock::now());
        // The one computes, the others wait.
        volatile unsigned n = 0;
        while (i == 0) n = n + 1;
        while (true) pause();
      });
    }
    threads.clear();
    return 0;
  });
  ASSERT_TRUE(Eventually([this] {
    return std::ranges::all_of(board_.thread_slots(kSlot),
                               [](const ThreadSlot& each) { return each.busy_since_ns != 0; });
  }));
  worker.Signal(SIGABRT);
  const auto status = worker.Wait(seconds(10));
  ASSERT_TRUE(status);
  EXPECT_TRUE(DiedOf(SIGABRT, *status));
  for (const ThreadSlot& each : board_.thread_slots(kSlot))
    EXPECT_GT(each.backtrace.count.load(), 1U);
  EXPECT_TRUE(quarantine().List(Clock::now()).empty());
}

TEST_F(CrashHandlerTest, AThreadThatDoesNotAnswerHoldsUpTheEndOnlyBriefly) {
  ChildProcess worker([this] {
    PrepareToCrash();
    std::jthread deaf([this] {
      const ThreadCrashScope owner(thread_slot(0));
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_BLOCK, &all, nullptr);
      thread_slot(0).Begin(Clock::now());
      while (true) pause();
    });
    deaf.join();
    return 0;
  });
  ASSERT_TRUE(Eventually([this] { return thread_slot(0).busy_since_ns != 0; }));
  worker.Signal(SIGABRT);
  const auto status = worker.Wait(milliseconds(1'800));
  ASSERT_TRUE(status) << "the master kills it after two seconds";
  EXPECT_TRUE(DiedOf(SIGABRT, *status));
  EXPECT_EQ(thread_slot(0).backtrace.count.load(), 0U);
}

TEST_F(CrashHandlerTest, AThreadWithoutAThreadSlotBlamesNoRequest) {
  ChildProcess worker([this] {
    PrepareToCrash();
    std::jthread busy([this] {
      const ThreadCrashScope owner(thread_slot());
      BeginPoison();
      while (true) pause();
    });
    if (!Eventually([this] { return thread_slot().busy_since_ns != 0; })) return 1;
    test::ReadNull();
    return 0;
  });
  const auto status = worker.Wait(seconds(10));
  ASSERT_TRUE(status);
  EXPECT_TRUE(DiedOf(SIGSEGV, *status));
  EXPECT_EQ(slot().crash_signal.load(), static_cast<std::uint32_t>(SIGSEGV));
  EXPECT_EQ(slot().crash_thread.load(), -1);
  EXPECT_GT(slot().backtrace.count.load(), 0U);
  EXPECT_TRUE(quarantine().List(Clock::now()).empty());
}

TEST_F(CrashHandlerTest, ACrashBetweenTwoRequestsIsNotTheLatestOnesDoing) {
  const int status = StatusAfter([this] {
    BeginPoison();
    thread_slot().End();
    test::ReadNull();
  });
  EXPECT_TRUE(DiedOf(SIGSEGV, status));
  EXPECT_EQ(slot().crash_thread.load(), static_cast<std::int32_t>(kThreadSlot));
  EXPECT_FALSE(PoisonIsQuarantined());
}

TEST_F(CrashHandlerTest, ACrashBeforeThePictureIsKnownQuarantinesNothing) {
  StatusAfter([this] {
    BeginPoison();
    thread_slot().End();
    thread_slot().Begin(Clock::now());
    test::ReadNull();
  });
  EXPECT_TRUE(quarantine().List(Clock::now()).empty());
}

TEST_F(CrashHandlerTest, WithoutATimeNothingIsQuarantined) {
  board_.pool().quarantine_ttl_ns = 0;
  const int status = StatusAfter([this] {
    BeginPoison();
    test::ReadNull();
  });
  EXPECT_TRUE(DiedOf(SIGSEGV, status));
  EXPECT_EQ(slot().crash_thread.load(), static_cast<std::int32_t>(kThreadSlot));
  EXPECT_TRUE(quarantine().List(Clock::now()).empty());
}

TEST_F(CrashHandlerTest, SeveralThreadsThatCrashTogetherEndTheProcessOnce) {
  for (int round = 0; round < 20; ++round) {
    ChildProcess worker([this] {
      PrepareToCrash();
      std::atomic<int> waiting = 0;
      std::vector<std::jthread> threads;
      for (std::size_t i = 0; i < kThreadSlots; ++i) {
        threads.emplace_back([this, i, &waiting] {
          const ThreadCrashScope owner(thread_slot(i));
          for (++waiting; waiting < kThreadSlots;) continue;
          test::ReadNull();
        });
      }
      threads.clear();
      return 0;
    });
    const auto status = worker.Wait(seconds(10));
    ASSERT_TRUE(status) << round;
    EXPECT_TRUE(DiedOf(SIGSEGV, *status));
  }
}

TEST_F(CrashHandlerTest, AThreadSlotIsItsOwnersForAsLongAsItLives) {
  ChildProcess worker([this] {
    PrepareToCrash();
    std::thread([this] {
      const ThreadCrashScope owner(thread_slot());
      if (thread_slot().thread != gettid()) _exit(1);
    }).join();
    return thread_slot().thread == 0 ? 0 : 2;
  });
  EXPECT_TRUE(worker.Exited(0));
}

}  // namespace
}  // namespace inferpool::fcgi

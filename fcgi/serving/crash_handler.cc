#include "fcgi/serving/crash_handler.h"

#include <execinfo.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>

#include "fcgi/serving/crash_scope.h"
#include "shared/base/bus_error.h"

namespace inferpool::fcgi {
namespace {

constexpr std::array kCrashSignals = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};
// backtrace() unwinds on this stack; MINSIGSTKSZ would be too small for it.
constexpr std::size_t kStackBytes = std::size_t{64} * 1024;

WorkerSlot* handler_slot = nullptr;
Pool* handler_pool = nullptr;
std::span<ThreadSlot> handler_thread_slots;
thread_local ThreadSlot* own_thread_slot = nullptr;
thread_local const Seqlock<Task>* own_task = nullptr;
std::atomic<pid_t> crashed_thread;

int StackSignal() {
  return SIGRTMIN + 1;
}

void Capture(Backtrace& backtrace) {
  std::array<void*, kMaxFrames> frames{};
  const int count = ::backtrace(frames.data(), static_cast<int>(frames.size()));
  for (int i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    backtrace.addresses[at] = reinterpret_cast<std::uint64_t>(frames[at]);
  }
  backtrace.count.store(static_cast<std::uint32_t>(count), std::memory_order_release);
}

void CaptureOwn() {
  Capture(own_thread_slot != nullptr ? own_thread_slot->backtrace : handler_slot->backtrace);
}

void OnStackSignal(int) {
  CaptureOwn();
}

// Asks every thread slot's thread for its stack and waits a little; one that does not answer has
// none.
void CaptureAll() {
  for (ThreadSlot& thread_slot : handler_thread_slots) {
    if (&thread_slot == own_thread_slot || thread_slot.thread == 0) continue;
    thread_slot.backtrace.count = 0;
    syscall(SYS_tgkill, getpid(), thread_slot.thread.load(), StackSignal());
  }
  CaptureOwn();
  const timespec pause{.tv_sec = 0, .tv_nsec = 10'000'000};
  for (int i = 0; i < 50; ++i) {
    bool all = true;
    for (const ThreadSlot& thread_slot : handler_thread_slots) {
      all = all && (thread_slot.thread == 0 ||
                    thread_slot.backtrace.count.load(std::memory_order_acquire) > 0);
    }
    if (all) return;
    nanosleep(&pause, nullptr);
  }
}

void QuarantineOwnTask() {
  const std::uint64_t ttl = handler_pool->quarantine_ttl_ns;
  if (ttl == 0 || (own_thread_slot != nullptr && own_thread_slot->busy_since_ns == 0)) return;
  const auto task = own_task->Load();
  if (!task) return;
  // The report reads the thread slot's. Its own thread may be at it: then the report knows no task.
  if (own_thread_slot != nullptr && own_task != &own_thread_slot->task) {
    own_thread_slot->task.Store(*task);
  }
  handler_pool->quarantine.Enter({.digest = task->digest,
                                  .model = task->model,
                                  .request_id = task->request_id,
                                  .until_ns = ToNs(Clock::now()) + static_cast<std::int64_t>(ttl)});
}

// Ends the process as if there were no handler, with a core dump where those are allowed.
void DieOf(int signal) {
  ::signal(signal, SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  syscall(SYS_tgkill, getpid(), static_cast<pid_t>(syscall(SYS_gettid)), signal);
  _exit(EXIT_FAILURE);
}

void OnCrash(int signal, siginfo_t* info, void*) {
  if (signal == SIGBUS && info->si_code > 0 && MendBusError(info->si_addr)) return;
  pid_t nobody = 0;
  const auto self = static_cast<pid_t>(syscall(SYS_gettid));
  if (!crashed_thread.compare_exchange_strong(nobody, self)) {
    // The handler itself has crashed: what it wrote so far must do.
    if (nobody == self) DieOf(signal);
    // A second thread crashes while the first one's handler is at work, which ends the process.
    while (true) pause();
  }
  const bool own_doing =
      info->si_code > 0 || (info->si_code == SI_TKILL && info->si_pid == getpid());
  if (own_doing) {
    if (own_thread_slot != nullptr) {
      handler_slot->crash_thread =
          static_cast<std::int32_t>(own_thread_slot - handler_thread_slots.data());
    }
    if (own_task != nullptr) QuarantineOwnTask();
    if (signal == SIGSEGV || signal == SIGBUS) {
      handler_slot->crash_address = reinterpret_cast<std::uint64_t>(info->si_addr);
    }
  }
  handler_slot->crash_signal.store(static_cast<std::uint32_t>(signal), std::memory_order_release);
  if (!own_doing && signal == SIGABRT) {
    CaptureAll();
  } else {
    CaptureOwn();
  }
  DieOf(signal);
}

// Gives the calling thread a stack for the handler, and the handler what it needs to know.
std::unique_ptr<std::byte[]> Enter(ThreadSlot* thread_slot, const Seqlock<Task>& task) {
  auto bytes = std::make_unique<std::byte[]>(kStackBytes);
  const stack_t stack{.ss_sp = bytes.get(), .ss_flags = 0, .ss_size = kStackBytes};
  sigaltstack(&stack, nullptr);
  own_thread_slot = thread_slot;
  own_task = &task;
  return bytes;
}

void Leave() {
  own_thread_slot = nullptr;
  own_task = nullptr;
  const stack_t none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
  sigaltstack(&none, nullptr);
}

}  // namespace

void InstallCrashHandler(WorkerSlot& slot, std::span<ThreadSlot> thread_slots, Pool& pool) {
  handler_slot = &slot;
  handler_pool = &pool;
  handler_thread_slots = thread_slots;
  slot.crash_thread = -1;
  slot.crash_address = 0;
  // The first call loads a library, which a signal handler must not.
  std::array<void*, 1> frame{};
  ::backtrace(frame.data(), 1);

  HandleBusErrorsElsewhere();
  struct sigaction action {};
  action.sa_sigaction = &OnCrash;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  // Nothing may interrupt the handler but another crash.
  sigfillset(&action.sa_mask);
  for (const int signal : kCrashSignals) sigdelset(&action.sa_mask, signal);
  for (const int signal : kCrashSignals) sigaction(signal, &action, nullptr);

  struct sigaction stack {};
  stack.sa_handler = &OnStackSignal;
  stack.sa_flags = SA_ONSTACK | SA_RESTART;
  sigaction(StackSignal(), &stack, nullptr);
}

ThreadCrashScope::ThreadCrashScope(ThreadSlot& thread_slot)
    : stack_(Enter(&thread_slot, thread_slot.task)) {
  thread_slot.thread = static_cast<pid_t>(syscall(SYS_gettid));
}

ThreadCrashScope::~ThreadCrashScope() {
  own_thread_slot->thread = 0;
  Leave();
}

HelperCrashScope::HelperCrashScope(ThreadSlot& thread_slot, const Seqlock<Task>& task)
    : stack_(Enter(&thread_slot, task)) {
  const auto self = static_cast<pid_t>(syscall(SYS_gettid));
  for (std::atomic<pid_t>& helper : thread_slot.helpers) {
    pid_t nobody = 0;
    if (!helper.compare_exchange_strong(nobody, self)) continue;
    entry_ = &helper;
    break;
  }
}

HelperCrashScope::~HelperCrashScope() {
  if (entry_ != nullptr) *entry_ = 0;
  Leave();
}

BackgroundCrashScope::BackgroundCrashScope(const Seqlock<Task>& task)
    : stack_(Enter(nullptr, task)) {}

BackgroundCrashScope::~BackgroundCrashScope() {
  Leave();
}

}  // namespace inferpool::fcgi

// Tells the crash handler (crash_handler.h) what the calling thread works on.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <memory>

#include "shared/board/scoreboard.h"

namespace inferpool::fcgi {

// While it exists, the calling thread is the thread slot's own, and has a stack for the crash
// handler. A crash of the thread is blamed on the thread slot's task. A thread has one scope at a
// time.
class ThreadCrashScope {
 public:
  explicit ThreadCrashScope(ThreadSlot& thread_slot);
  ~ThreadCrashScope();
  ThreadCrashScope(const ThreadCrashScope&) = delete;
  ThreadCrashScope& operator=(const ThreadCrashScope&) = delete;

 private:
  std::unique_ptr<std::byte[]> stack_;
};

// While it exists, the calling thread helps the thread slot's own thread with a part of its
// request. A crash of the helper is blamed on `task`, which must outlive the scope. The master sees
// the helper too: a helper that waits for a processor is not stuck, and neither is its thread slot.
// A thread slot has at most kMaxHelpers at a time.
class HelperCrashScope {
 public:
  HelperCrashScope(ThreadSlot& thread_slot, const Seqlock<Task>& task);
  ~HelperCrashScope();
  HelperCrashScope(const HelperCrashScope&) = delete;
  HelperCrashScope& operator=(const HelperCrashScope&) = delete;

 private:
  std::unique_ptr<std::byte[]> stack_;
  std::atomic<pid_t>* entry_ = nullptr;  // among the thread slot's helpers
};

// While it exists, the calling thread works on something that is no request's: a crash of the
// thread is blamed on `task`, which must outlive the scope, and on no request.
class BackgroundCrashScope {
 public:
  explicit BackgroundCrashScope(const Seqlock<Task>& task);
  ~BackgroundCrashScope();
  BackgroundCrashScope(const BackgroundCrashScope&) = delete;
  BackgroundCrashScope& operator=(const BackgroundCrashScope&) = delete;

 private:
  std::unique_ptr<std::byte[]> stack_;
};

}  // namespace inferpool::fcgi

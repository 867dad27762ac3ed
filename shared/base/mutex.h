// A mutex whose rules the compiler checks: clang's thread safety analysis (-Wthread-safety) refuses
// code that touches a member marked ABSL_GUARDED_BY(mutex_) without the lock, or that calls a
// function marked ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) without it. GCC ignores the marks.
//
//   void Add(int n) {
//     const MutexLock lock(mutex_);
//     total_ += n;
//   }
//   Mutex mutex_;
//   int total_ ABSL_GUARDED_BY(mutex_) = 0;
#pragma once

#include <absl/base/thread_annotations.h>

#include <mutex>

namespace inferpool {

class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }

 private:
  friend class MutexLock;
  std::mutex mutex_;
};

// Holds a mutex from its construction to its destruction, except between Unlock() and Lock().
class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : lock_(mutex.mutex_) {}
  ~MutexLock() ABSL_UNLOCK_FUNCTION() = default;
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { lock_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { lock_.unlock(); }

  // For a condition variable. The mutex is held again when the wait returns, so the analysis sees
  // it as held throughout. A predicate says for itself what it needs:
  //   changed_.wait(lock.native(),
  //                 [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return done_; });
  std::unique_lock<std::mutex>& native() { return lock_; }

 private:
  std::unique_lock<std::mutex> lock_;
};

}  // namespace inferpool

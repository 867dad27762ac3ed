// The threads that serve gRPC's calls, by the leader/followers pattern. One thread, the leader,
// waits at the completion queue and itself serves the call that it gets. Before it blocks, or works
// for long, it promotes another thread to be the leader. So there are as many threads as calls that
// take long, and one more. No thread belongs to a connection, a method or a model.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <map>
#include <thread>
#include <vector>

#include "shared/base/mutex.h"

namespace inferpool::modelserver {

// A tag in gRPC's completion queue: what is to be done when the operation that has this tag is
// complete. gRPC returns each tag once, to one of the threads.
class QueueEvent {
 public:
  // `ok` is what gRPC says of the operation's success.
  virtual void Happened(bool ok) = 0;

 protected:
  ~QueueEvent() = default;
};

// Thread safe.
class LeaderFollowerThreads {
 public:
  // The time after which a thread that is not needed ends. Calls often come many at a time, and to
  // start threads for each such burst would cost more than to keep them.
  static constexpr std::chrono::milliseconds kMaxIdle{10'000};

  // Starts with one thread. All tags of `queue` are Events. `queue` must outlive this. Throws
  // std::system_error when the system has no thread left.
  explicit LeaderFollowerThreads(grpc::ServerCompletionQueue& queue,
                                 std::chrono::milliseconds max_idle = kMaxIdle);

  // To be called when the queue's server has been shut down. Waits until all Counted are gone, then
  // shuts the queue down, serves what is left in it, and joins the threads.
  ~LeaderFollowerThreads();
  LeaderFollowerThreads(const LeaderFollowerThreads&) = delete;
  LeaderFollowerThreads& operator=(const LeaderFollowerThreads&) = delete;

  grpc::ServerCompletionQueue* queue() { return &queue_; }

  // A call that is awaited or in progress. The threads do not end before it does.
  class Counted {
   public:
    explicit Counted(LeaderFollowerThreads& threads) : calls_(threads.calls_) { ++calls_; }
    ~Counted() {
      if (--calls_ == 0) calls_.notify_all();
    }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;

   private:
    std::atomic<std::size_t>& calls_;
  };

 private:
  friend class LeaderTurn;

  // A thread that waits to be promoted. It lies on that thread's stack.
  struct Follower {
    std::condition_variable woken;
    bool promoted = false;
  };

  void Run();
  // The calling thread stops being a leader, after it has made sure that there is another one.
  // False when the system has no thread left; the caller then still is the leader.
  [[nodiscard]] bool LeaveQueue();
  // The calling thread is a leader again.
  void ReturnToQueue();
  // Starts a thread, which is a leader.
  void Start() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes a follower, or a new thread, a leader. False when the system has no thread left.
  [[nodiscard]] bool PromoteFollower() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes the calling leader wait as a follower if there is another leader. True when it is (again)
  // a leader; false when it was not needed for too long, and is to end.
  [[nodiscard]] bool AwaitPromotion();

  grpc::ServerCompletionQueue& queue_;
  const std::chrono::milliseconds max_idle_;
  std::atomic<std::size_t> calls_ = 0;

  Mutex mutex_;
  // Threads that are at the queue, or on their way to it.
  std::size_t leaders_ ABSL_GUARDED_BY(mutex_) = 0;
  // The last one is promoted first, because its memory is in the caches.
  std::vector<Follower*> followers_ ABSL_GUARDED_BY(mutex_);
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::thread::id, std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> ended_ ABSL_GUARDED_BY(mutex_);  // to be joined
};

// What the leader does between two events of the queue. On the leader's stack; `threads` must
// outlive it.
class LeaderTurn {
 public:
  explicit LeaderTurn(LeaderFollowerThreads& threads) : threads_(threads) {}
  ~LeaderTurn() {
    if (yielded_) threads_.ReturnToQueue();
  }
  LeaderTurn(const LeaderTurn&) = delete;
  LeaderTurn& operator=(const LeaderTurn&) = delete;

  // Leaves the queue to another thread for the rest of this turn. To be called by the leader before
  // it blocks or works for long; more calls change nothing. False when the system has no thread
  // left: the caller must then neither block nor work for long.
  [[nodiscard]] bool YieldQueue() {
    yielded_ = yielded_ || threads_.LeaveQueue();
    return yielded_;
  }

 private:
  LeaderFollowerThreads& threads_;
  bool yielded_ = false;
};

}  // namespace inferpool::modelserver

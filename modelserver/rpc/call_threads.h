// The threads that serve gRPC's calls. One is at the completion queue, and serves the call that it
// is handed. Before that takes long, or waits for whatever the call needs, it has another one take
// its place at the queue. So there are as many threads as calls that take long, and one more; none
// of them belongs to a connection, a method or a model.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace inferpool::modelserver {

// What was asked of gRPC, as the tag of that question: it happens once for each, on one of the
// threads. `ok` is gRPC's word for whether what was asked for took place.
class Event {
 public:
  virtual void Happened(bool ok) = 0;

 protected:
  ~Event() = default;
};

// Thread safe.
class CallThreads {
 public:
  // A thread that is not needed any more rests for so long before it ends: calls often come many at
  // a time.
  static constexpr std::chrono::milliseconds kRest{10'000};

  // All tags of `queue`, which must outlive it, are Events. Throws std::system_error when there is
  // no thread to begin with.
  explicit CallThreads(grpc::ServerCompletionQueue& queue, std::chrono::milliseconds rest = kRest);

  // When the queue's server has been shut down. Waits for the calls to end, then shuts the queue
  // down and waits for what is left in it.
  ~CallThreads();
  CallThreads(const CallThreads&) = delete;
  CallThreads& operator=(const CallThreads&) = delete;

  grpc::ServerCompletionQueue* queue() { return &queue_; }

  // A call, awaited or in progress, for which the threads stay.
  class Counted {
   public:
    explicit Counted(CallThreads& threads) : calls_(threads.calls_) { ++calls_; }
    ~Counted() {
      if (--calls_ == 0) calls_.notify_all();
    }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;

   private:
    std::atomic<std::size_t>& calls_;
  };

  // What one of the threads does between two looks at the queue.
  class Turn {
   public:
    explicit Turn(CallThreads& threads) : threads_(threads) {}
    ~Turn() {
      if (away_) threads_.Return();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    // Before it takes long: has another thread look at the queue meanwhile. False: the system has
    // none left. By the thread whose turn it is.
    bool MayTakeLong() {
      away_ = away_ || threads_.Leave();
      return away_;
    }

   private:
    CallThreads& threads_;
    bool away_ = false;
  };

 private:
  // A thread that rests, on its stack.
  struct Rester {
    std::condition_variable woken;
    bool needed = false;
  };

  void Run();
  bool Leave();
  void Return();
  // Both with the lock held:
  void Start();
  // Brings one more thread to the queue. False: the system has none left.
  bool Bring();
  // Lets the calling thread, at the queue, rest if it is one too many there. False: it is not
  // needed any more.
  bool Stay();

  grpc::ServerCompletionQueue& queue_;
  const std::chrono::milliseconds rest_;
  std::atomic<std::size_t> calls_ = 0;

  std::mutex mutex_;
  // Guarded by mutex_.
  std::size_t at_queue_ = 0;
  std::vector<Rester*> resting_;  // the last one, whose memory is in the caches, is brought first
  bool closing_ = false;
  std::map<std::thread::id, std::thread> threads_;
  std::vector<std::thread> left_;  // to be joined
};

}  // namespace inferpool::modelserver

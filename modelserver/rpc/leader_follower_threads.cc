#include "modelserver/rpc/leader_follower_threads.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace inferpool::modelserver {

LeaderFollowerThreads::LeaderFollowerThreads(grpc::ServerCompletionQueue& queue,
                                             std::chrono::milliseconds max_idle)
    : queue_(queue), max_idle_(max_idle) {
  const MutexLock lock(mutex_);
  Start();
}

LeaderFollowerThreads::~LeaderFollowerThreads() {
  for (std::size_t calls = calls_; calls > 0; calls = calls_) calls_.wait(calls);
  queue_.Shutdown();
  MutexLock lock(mutex_);
  closing_ = true;
  for (Follower* follower : followers_) follower->woken.notify_one();
  while (!threads_.empty()) {
    std::thread thread = std::move(threads_.begin()->second);
    threads_.erase(threads_.begin());
    lock.Unlock();
    thread.join();
    lock.Lock();
  }
  for (std::thread& thread : ended_) thread.join();
}

void LeaderFollowerThreads::Run() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
    static_cast<QueueEvent*>(tag)->Happened(ok);
    if (!AwaitPromotion()) return;
  }
}

bool LeaderFollowerThreads::LeaveQueue() {
  const MutexLock lock(mutex_);
  if (leaders_ == 1 && !PromoteFollower()) {
    return false;
  }
  --leaders_;
  return true;
}

void LeaderFollowerThreads::ReturnToQueue() {
  const MutexLock lock(mutex_);
  ++leaders_;
}

void LeaderFollowerThreads::Start() {
  std::thread thread([this] { Run(); });
  const std::thread::id id = thread.get_id();
  threads_.emplace(id, std::move(thread));
  ++leaders_;
}

bool LeaderFollowerThreads::PromoteFollower() {
  if (followers_.empty()) {
    try {
      Start();
    } catch (const std::exception&) {
      return false;
    }
    return true;
  }
  Follower& follower = *followers_.back();
  followers_.pop_back();
  follower.promoted = true;
  follower.woken.notify_one();  // under the lock, because it ends when its thread wakes up
  ++leaders_;
  return true;
}

bool LeaderFollowerThreads::AwaitPromotion() {
  std::vector<std::thread> ended;  // joined without the lock
  MutexLock lock(mutex_);
  // With two threads at the queue, gRPC would wake one for each event that it gives to the other.
  if (leaders_ == 1 || closing_) {
    return true;
  }
  --leaders_;
  Follower self;
  followers_.push_back(&self);
  self.woken.wait_for(lock.native(), max_idle_, [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return self.promoted || closing_;
  });
  if (self.promoted) {
    return true;
  }
  std::erase(followers_, &self);
  const auto thread = threads_.find(std::this_thread::get_id());
  if (thread != threads_.end()) {  // else it is being joined
    ended = std::exchange(ended_, {});
    ended_.push_back(std::move(thread->second));
    threads_.erase(thread);
  }
  lock.Unlock();
  for (std::thread& one : ended) one.join();
  return false;
}

}  // namespace inferpool::modelserver

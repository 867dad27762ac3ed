#include "modelserver/rpc/call_threads.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace inferpool::modelserver {

CallThreads::CallThreads(grpc::ServerCompletionQueue& queue, std::chrono::milliseconds rest)
    : queue_(queue), rest_(rest) {
  const std::lock_guard lock(mutex_);
  Start();
}

CallThreads::~CallThreads() {
  for (std::size_t calls = calls_; calls > 0; calls = calls_) calls_.wait(calls);
  queue_.Shutdown();
  std::unique_lock lock(mutex_);
  closing_ = true;
  for (Rester* rester : resting_) rester->woken.notify_one();
  while (!threads_.empty()) {
    std::thread thread = std::move(threads_.begin()->second);
    threads_.erase(threads_.begin());
    lock.unlock();
    thread.join();
    lock.lock();
  }
  for (std::thread& thread : left_) thread.join();
}

void CallThreads::Run() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
    static_cast<Event*>(tag)->Happened(ok);
    if (!Stay()) return;
  }
}

bool CallThreads::Leave() {
  const std::lock_guard lock(mutex_);
  if (at_queue_ == 1 && !Bring()) {
    return false;
  }
  --at_queue_;
  return true;
}

void CallThreads::Return() {
  const std::lock_guard lock(mutex_);
  ++at_queue_;
}

void CallThreads::Start() {
  std::thread thread([this] { Run(); });
  const std::thread::id id = thread.get_id();
  threads_.emplace(id, std::move(thread));
  ++at_queue_;
}

bool CallThreads::Bring() {
  if (resting_.empty()) {
    try {
      Start();
    } catch (const std::exception&) {
      return false;
    }
    return true;
  }
  Rester& rester = *resting_.back();
  resting_.pop_back();
  rester.needed = true;
  rester.woken.notify_one();  // under the lock: it is gone when its thread wakes
  ++at_queue_;
  return true;
}

bool CallThreads::Stay() {
  std::vector<std::thread> before;  // joined without the lock
  std::unique_lock lock(mutex_);
  // With more than one at the queue, gRPC would wake another for each event that it hands to one.
  if (at_queue_ == 1 || closing_) {
    return true;
  }
  --at_queue_;
  Rester self;
  resting_.push_back(&self);
  self.woken.wait_for(lock, rest_, [&] { return self.needed || closing_; });
  if (self.needed) {
    return true;
  }
  std::erase(resting_, &self);
  const auto thread = threads_.find(std::this_thread::get_id());
  if (thread != threads_.end()) {  // else it is being joined
    before = std::exchange(left_, {});
    left_.push_back(std::move(thread->second));
    threads_.erase(thread);
  }
  lock.unlock();
  for (std::thread& one : before) one.join();
  return false;
}

}  // namespace inferpool::modelserver

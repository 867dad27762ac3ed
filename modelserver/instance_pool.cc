#include "modelserver/instance_pool.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace inferpool::modelserver {
namespace {

// How long a caller that has gone away keeps its place at most.
constexpr std::chrono::milliseconds kCancelCheck{50};

}  // namespace

InstancePool::Lease::~Lease() {
  if (pool_ != nullptr) {
    pool_->Release(*engine_);
  }
}

InstancePool::Lease::Lease(Lease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), engine_(other.engine_) {}

InstancePool::InstancePool(std::vector<std::unique_ptr<Engine>> instances, std::size_t max_waiting)
    : instances_(std::move(instances)), max_waiting_(max_waiting) {
  idle_.reserve(instances_.size());
  for (const std::unique_ptr<Engine>& instance : instances_) {
    idle_.push_back(instance.get());
  }
}

absl::StatusOr<InstancePool::Lease> InstancePool::Acquire(const Deadline& deadline,
                                                          const std::function<bool()>& cancelled) {
  if (deadline.Expired(Clock::now())) {
    return absl::DeadlineExceededError("the deadline was over before the request ran");
  }
  std::unique_lock lock(mutex_);
  if (!idle_.empty()) {
    Engine& engine = *idle_.back();
    idle_.pop_back();
    return Lease(*this, engine);
  }
  if (waiting_.size() >= max_waiting_) {
    return absl::UnavailableError("too many requests wait for this model");
  }
  Waiter self;
  const auto place = waiting_.insert(waiting_.end(), &self);
  while (self.engine == nullptr) {
    const TimePoint now = Clock::now();
    if (deadline.Expired(now)) {
      waiting_.erase(place);
      return absl::DeadlineExceededError("the deadline was over while the request waited");
    }
    self.granted.wait_for(lock, std::min<Clock::duration>(kCancelCheck, deadline.at() - now));
    if (self.engine != nullptr) {
      break;
    }
    lock.unlock();
    const bool gone = cancelled();
    lock.lock();
    if (gone && self.engine == nullptr) {
      waiting_.erase(place);
      return absl::CancelledError("the caller went away while the request waited");
    }
  }
  return Lease(*this, *self.engine);
}

void InstancePool::Release(Engine& engine) {
  const std::lock_guard lock(mutex_);
  if (waiting_.empty()) {
    idle_.push_back(&engine);
    return;
  }
  Waiter& next = *waiting_.front();
  waiting_.pop_front();
  next.engine = &engine;
  next.granted.notify_one();  // under the lock: the waiter's memory goes when it wakes
}

}  // namespace inferpool::modelserver

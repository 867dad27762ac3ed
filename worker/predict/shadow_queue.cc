#include "worker/predict/shadow_queue.h"

#include <utility>

namespace inferpool::predict {

bool ShadowQueue::Put(std::shared_ptr<const ShadowJob> job) {
  {
    const MutexLock lock(mutex_);
    if (job->bytes > max_bytes_ - bytes_) return false;
    bytes_ += job->bytes;
    jobs_.push_back(std::move(job));
  }
  put_.notify_one();
  return true;
}

std::shared_ptr<const ShadowJob> ShadowQueue::Take(const std::stop_token& stop) {
  MutexLock lock(mutex_);
  put_.wait(lock.native(), stop,
            [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !jobs_.empty(); });
  if (stop.stop_requested()) return nullptr;
  std::shared_ptr<const ShadowJob> job = std::move(jobs_.front());
  jobs_.pop_front();
  return job;
}

bool ShadowQueue::Grow(std::size_t bytes) {
  const MutexLock lock(mutex_);
  if (bytes > max_bytes_ - bytes_) return false;
  bytes_ += bytes;
  return true;
}

void ShadowQueue::Done(const ShadowJob& job, std::size_t grown) {
  const MutexLock lock(mutex_);
  bytes_ -= job.bytes + grown;
}

std::size_t ShadowQueue::bytes() const {
  const MutexLock lock(mutex_);
  return bytes_;
}

}  // namespace inferpool::predict

#include "worker/predict/shadow_queue.h"

#include <chrono>
#include <utility>
#include <variant>

namespace inferpool::predict {
namespace {

constexpr std::chrono::seconds kFresh{30};

template <typename Item>
std::size_t BytesOf(const std::vector<Item>& items) {
  return items.size() * sizeof(Item);
}

struct ResultBytes {
  std::size_t operator()(const vision::Detections& detections) const {
    std::size_t bytes = BytesOf(detections);
    for (const vision::Detection& found : detections) {
      bytes += BytesOf(found.corners) + BytesOf(found.keypoints) + BytesOf(found.mask);
      for (const vision::Polygon& polygon : found.mask) bytes += BytesOf(polygon);
      if (found.text) bytes += found.text->size();
    }
    return bytes;
  }
  std::size_t operator()(const vision::TextLines& lines) const {
    std::size_t bytes = BytesOf(lines);
    for (const vision::TextLine& line : lines) bytes += line.text.size();
    return bytes;
  }
  std::size_t operator()(const vision::Classification& found) const {
    return BytesOf(found.scores);
  }
  std::size_t operator()(const vision::Embedding& found) const { return BytesOf(found.values); }
};

}  // namespace

std::size_t OwnBytes(const ShadowJob& job) {
  constexpr std::size_t kNode = 96;  // of a map, its string included
  std::size_t bytes = sizeof(job) + job.route.size() + job.model.name.size() +
                      job.model.version.size() + job.request_id.size() +
                      job.parameters.classes.size() + std::visit(ResultBytes{}, job.answer);
  for (const auto& [name, threshold] : job.parameters.class_confidence) {
    bytes += kNode + name.size();
  }
  return bytes;
}

bool IsStale(const ShadowJob& job, const Config::Routes& routes, TimePoint now) {
  if (now - job.answered_at > kFresh) return true;
  const auto route = routes.find(job.route);
  if (route == routes.end()) return true;
  const auto& shadow = route->second.shadow;
  return !shadow || shadow->model != job.model.name || shadow->version != job.model.version;
}

bool ShadowQueue::Put(std::shared_ptr<const ShadowJob> job) {
  {
    const MutexLock lock(mutex_);
    const void* const memory = job->memory.get();
    const std::size_t bytes = job->bytes + (shared_by_.contains(memory) ? 0 : job->memory_bytes);
    if (jobs_.size() >= kMaxJobs || bytes > max_bytes_ - bytes_) return false;
    bytes_ += bytes;
    ++shared_by_[memory];
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
  const auto shared = shared_by_.find(job.memory.get());
  if (--shared->second > 0) return;
  shared_by_.erase(shared);
  bytes_ -= job.memory_bytes;
}

std::size_t ShadowQueue::bytes() const {
  const MutexLock lock(mutex_);
  return bytes_;
}

}  // namespace inferpool::predict

#include "ops/live/listeners.h"

#include <fmt/format.h>
#include <sys/eventfd.h>

#include <utility>

namespace inferpool::live {

Listener::Listener(Listeners& listeners, std::string camera, std::string key, bool findings_only)
    : listeners_(listeners),
      camera_(std::move(camera)),
      key_(std::move(key)),
      findings_only_(findings_only),
      wakeup_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Listener::~Listener() {
  listeners_.Leave(*this);
}

void Listener::Wake() const {
  eventfd_write(wakeup_.get(), 1);
}

void Listener::Put(const std::shared_ptr<const Answer>& answer) {
  if (findings_only_ && !answer->has_findings) return;
  {
    const MutexLock lock(mutex_);
    if (is_too_slow_) return;
    const bool fits = queue_.empty() || (queue_.size() < kMaxQueued &&
                                         bytes_ + answer->json.size() <= kMaxQueuedBytes);
    if (fits) {
      queue_.push_back(answer);
      bytes_ += answer->json.size();
    } else {
      is_too_slow_ = true;
    }
  }
  Wake();
}

void Listener::End() {
  {
    const MutexLock lock(mutex_);
    is_over_ = true;
  }
  Wake();
}

void Listener::Restart() {
  const MutexLock lock(mutex_);
  queue_.clear();
  bytes_ = 0;
  is_too_slow_ = false;
}

Listener::Taken Listener::Take() {
  eventfd_t ignored = 0;
  eventfd_read(wakeup_.get(), &ignored);
  const MutexLock lock(mutex_);
  Taken taken{
      .answers = {queue_.begin(), queue_.end()}, .is_too_slow = is_too_slow_, .is_over = is_over_};
  queue_.clear();
  bytes_ = 0;
  return taken;
}

absl::StatusOr<std::unique_ptr<Listener>> Listeners::Join(std::string camera, std::string key,
                                                          bool findings_only) {
  std::unique_ptr<Listener> listener;
  const MutexLock lock(mutex_);
  if (is_over_) return absl::UnavailableError("this process is about to end");
  if (by_camera_.size() >= limits_.all) {
    return absl::ResourceExhaustedError(fmt::format(
        "{} follow cameras here, which is the most; try again later", by_camera_.size()));
  }
  if (!key.empty()) {
    const auto of_key = of_key_.find(key);
    if (of_key != of_key_.end() && of_key->second >= limits_.of_a_key) {
      return absl::ResourceExhaustedError(
          fmt::format("{} follow cameras with this API key, which is the most; try again later",
                      of_key->second));
    }
  }
  listener.reset(new Listener(*this, std::move(camera), std::move(key), findings_only));
  by_camera_.emplace(listener->camera_, listener.get());
  CountThem();
  if (!listener->key_.empty()) ++of_key_[listener->key_];
  if (listener->fd() < 0) return absl::UnavailableError("there is no descriptor left");
  return listener;
}

void Listeners::Leave(const Listener& listener) {
  const MutexLock lock(mutex_);
  const auto [begin, end] = by_camera_.equal_range(listener.camera_);
  for (auto one = begin; one != end; ++one) {
    if (one->second != &listener) continue;
    by_camera_.erase(one);
    break;
  }
  CountThem();
  const auto of_key = of_key_.find(listener.key_);
  if (of_key != of_key_.end() && --of_key->second == 0) of_key_.erase(of_key);
}

void Listeners::Put(const std::shared_ptr<const Answer>& answer) {
  const MutexLock lock(mutex_);
  const auto [begin, end] = by_camera_.equal_range(answer->camera);
  for (auto one = begin; one != end; ++one) one->second->Put(answer);
}

void Listeners::CountThem() const {
  if (count_ != nullptr) *count_ = static_cast<std::uint32_t>(by_camera_.size());
}

void Listeners::End() {
  const MutexLock lock(mutex_);
  is_over_ = true;
  for (const auto& [camera, listener] : by_camera_) listener->End();
}

std::size_t Listeners::size() const {
  const MutexLock lock(mutex_);
  return by_camera_.size();
}

}  // namespace inferpool::live

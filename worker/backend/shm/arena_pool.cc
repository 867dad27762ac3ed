#include "worker/backend/shm/arena_pool.h"

#include <unistd.h>

#include <utility>

#include "shared/base/log.h"

namespace inferpool::backend {
namespace {

// Memory that was not there is not asked for with every request.
constexpr std::chrono::seconds kPause{10};

}  // namespace

ArenaPool::ArenaPool(std::string domain, std::size_t arena_bytes)
    : domain_(std::move(domain)), arena_bytes_(arena_bytes) {}

Lease ArenaPool::Allocate(std::size_t bytes, TimePoint now) {
  const MutexLock lock(mutex_);
  if ((arena_ == nullptr || arena_->Worn()) && !closed_) Replace(now);
  return arena_ == nullptr ? Lease() : arena_->Allocate(bytes);
}

void ArenaPool::Replace(TimePoint now) {
  if (now < next_try_) return;
  if (!predecessor_.empty() && access(SegmentPath(predecessor_).c_str(), F_OK) == 0) return;
  absl::StatusOr<std::shared_ptr<Arena>> arena = Arena::Create(domain_, arena_bytes_);
  if (!arena.ok()) {
    next_try_ = now + kPause;
    log::Warning("no shared memory for tensors",
                 {{"bytes", arena_bytes_}, {"reason", Message(arena.status())}});
    return;
  }
  if (arena_ != nullptr) predecessor_ = arena_->name();
  arena_ = *std::move(arena);
}

void ArenaPool::Close() {
  const MutexLock lock(mutex_);
  closed_ = true;
  arena_.reset();
}

}  // namespace inferpool::backend

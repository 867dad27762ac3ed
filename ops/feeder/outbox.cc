#include "ops/feeder/outbox.h"

#include <algorithm>
#include <utility>

namespace inferpool::feeder {

Outbox::Outbox(std::size_t sources, std::size_t most_pictures, std::size_t most_bytes)
    : most_pictures_(most_pictures),
      most_bytes_(most_bytes / std::max<std::size_t>(sources, 1)),
      queues_(sources) {}

bool Outbox::HasRoom(const Queue& queue, std::size_t bytes) const {
  return queue.pictures.empty() ||
         (queue.pictures.size() < most_pictures_ && queue.bytes + bytes <= most_bytes_);
}

void Outbox::Append(Queue& queue, Picture picture) {
  picture.seq = queue.next_seq++;
  queue.bytes += picture.bytes->size();
  queue.pictures.push_back(std::move(picture));
  arrived_.notify_one();
}

Picture Outbox::Remove(Queue& queue) {
  Picture picture = std::move(queue.pictures.front());
  queue.pictures.pop_front();
  queue.bytes -= picture.bytes->size();
  return picture;
}

std::size_t Outbox::PutNewest(std::size_t source, Picture picture) {
  const MutexLock lock(mutex_);
  Queue& queue = queues_[source];
  std::size_t dropped = 0;
  for (; !HasRoom(queue, picture.bytes->size()); ++dropped) Remove(queue);
  Append(queue, std::move(picture));
  return dropped;
}

bool Outbox::PutPatiently(std::size_t source, Picture picture, const std::stop_token& stop) {
  MutexLock lock(mutex_);
  Queue& queue = queues_[source];
  const bool has_room =
      room_.wait(lock.native(), stop, [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return HasRoom(queue, picture.bytes->size());
      });
  if (has_room) Append(queue, std::move(picture));
  return has_room;
}

void Outbox::Close(std::size_t source) {
  const MutexLock lock(mutex_);
  queues_[source].closed = true;
  arrived_.notify_one();
}

std::vector<Parcel> Outbox::Take(const std::vector<bool>& held, Deadline deadline) {
  std::vector<Parcel> parcels;
  MutexLock lock(mutex_);
  arrived_.wait_until(lock.native(), deadline.at(), [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    bool all_closed = true;
    for (std::size_t i = 0; i < queues_.size(); ++i) {
      if (!held[i] && !queues_[i].pictures.empty()) return true;
      all_closed = all_closed && queues_[i].closed && queues_[i].pictures.empty();
    }
    return all_closed;
  });
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    if (!held[i] && !queues_[i].pictures.empty()) parcels.push_back({i, Remove(queues_[i])});
  }
  if (!parcels.empty()) room_.notify_all();
  return parcels;
}

bool Outbox::Finished() const {
  const MutexLock lock(mutex_);
  return std::ranges::all_of(
      queues_, [](const Queue& queue) { return queue.closed && queue.pictures.empty(); });
}

std::size_t Outbox::size() const {
  const MutexLock lock(mutex_);
  std::size_t size = 0;
  for (const Queue& queue : queues_) size += queue.pictures.size();
  return size;
}

}  // namespace inferpool::feeder

// Pictures on their way from the sources to Redis: a short queue a source.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "shared/base/deadline.h"
#include "shared/base/mutex.h"

namespace inferpool::feeder {

struct Picture {
  std::shared_ptr<const std::string> bytes;  // of the file: JPEG, PNG or WebP
  // Of pixels instead of a file: rows of BGR without gaps.
  int width = 0;
  int height = 0;
  std::int64_t captured_ms = 0;  // Unix time
  std::uint64_t seq = 0;         // of its source, from 1 on
};

struct Parcel {
  std::size_t source = 0;
  Picture picture;
};

// Thread safe. A source's pictures leave in the order in which they came, and their numbers are
// given on arrival: one that was dropped leaves a gap.
class Outbox {
 public:
  // Holds up to `most_pictures` of each source, which together have up to `most_bytes`; one of each
  // in any case.
  Outbox(std::size_t sources, std::size_t most_pictures, std::size_t most_bytes);

  // Makes room by dropping the source's oldest pictures. Returns how many it dropped.
  std::size_t PutNewest(std::size_t source, Picture picture);

  // Waits for room. False when `stop` came first.
  bool PutPatiently(std::size_t source, Picture picture, const std::stop_token& stop);

  // The source has no more pictures.
  void Close(std::size_t source);

  // The oldest picture of each source, but for those that `held` says; waits for the first one
  // until `deadline`. One call at a time.
  std::vector<Parcel> Take(const std::vector<bool>& held, Deadline deadline);

  // All sources are closed, and nothing is left.
  bool Finished() const;
  std::size_t size() const;

 private:
  struct Queue {
    std::deque<Picture> pictures;
    std::size_t bytes = 0;
    std::uint64_t next_seq = 1;
    bool closed = false;
  };

  bool HasRoom(const Queue& queue, std::size_t bytes) const;
  void Append(Queue& queue, Picture picture) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static Picture Remove(Queue& queue);

  const std::size_t most_pictures_;
  const std::size_t most_bytes_;  // of one source
  mutable Mutex mutex_;
  std::condition_variable_any room_;
  std::condition_variable_any arrived_;
  std::vector<Queue> queues_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace inferpool::feeder

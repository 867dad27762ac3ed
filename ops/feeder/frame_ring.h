// A source's pictures in shared memory (shared/frames/inferpool_frames.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "ops/feeder/outbox.h"
#include "shared/base/status.h"

struct inferpool_frames;

namespace inferpool::feeder {

// For one thread. Its end takes all segments away.
class FrameRing {
 public:
  // `slots`: of each segment.
  explicit FrameRing(std::uint32_t slots);
  FrameRing(FrameRing&&) noexcept;
  FrameRing& operator=(FrameRing&&) noexcept;
  ~FrameRing();

  // Writes the picture into a slot that nobody reads, and returns its handle. A picture of another
  // size, or a larger file, than there was before gets another segment; the one before it stays
  // until as many pictures as it had slots have come.
  //
  // RESOURCE_EXHAUSTED: the picture is to be dropped; readers have all slots, or there is no room
  // in /dev/shm.
  absl::StatusOr<std::string> Put(const Picture& picture);

 private:
  struct Close {
    void operator()(inferpool_frames* ring) const;
  };
  using Segment = std::unique_ptr<inferpool_frames, Close>;

  absl::Status Prepare(const Picture& picture);

  std::uint32_t slots_;
  Segment now_;
  Segment before_;
  std::uint64_t written_ = 0;  // to now_
  bool is_raw_ = false;
};

}  // namespace inferpool::feeder

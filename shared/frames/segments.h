// Reads frames that producers on this machine have put into rings in shared memory
// (inferpool_frames.h has the protocol).
//
// Nothing in a segment is trusted. Its geometry is read once and held against the file's size; of
// what producers write later only a slot's generation is looked at, and compared. One that shortens
// its file costs its own frames: where the file ends, zeros are read (shared/base/bus_error.h), and
// the frame is not whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "shared/base/deadline.h"
#include "shared/base/mutex.h"
#include "shared/base/status.h"
#include "shared/frames/handle.h"

namespace inferpool::frames {

class Segment;

// A slot that its producer does not write to meanwhile. Movable; its end lets go of the slot. May
// end in any thread.
class Pin {
 public:
  Pin() = default;
  Pin(std::shared_ptr<Segment> segment, const Handle& handle);
  Pin(Pin&& other) noexcept;
  Pin& operator=(Pin&& other) noexcept;
  ~Pin() { End(); }

  // The frame. Its pixels may be read where they are. A file is to be copied first: what parses it
  // may look twice at bytes that a producer, which keeps to no rules, changes in between.
  std::span<const std::byte> bytes() const { return bytes_; }

  // Whether all that was read of it until now belonged to this frame. It is false only after its
  // producer has broken the rules, or shortened the segment.
  bool IsWhole() const;

  // Where it lies; null: it is of no frame.
  const std::shared_ptr<Segment>& segment() const { return segment_; }

 private:
  friend class Segments;
  void End();

  std::shared_ptr<Segment> segment_;
  std::uint32_t slot_ = 0;
  std::uint64_t generation_ = 0;
  std::span<const std::byte> bytes_;
};

// Those that this process has open. Thread safe.
class Segments {
 public:
  // `boot_id`: of this machine; empty: as it says. `folder`: where segments are files.
  explicit Segments(std::string boot_id = {}, std::string folder = "/dev/shm");
  ~Segments();
  Segments(const Segments&) = delete;
  Segments& operator=(const Segments&) = delete;

  // Pins the handle's frame. Of a segment whose name its producer has taken away frames are had as
  // long as it is open here; of a name that leads to another file by now, those of that file.
  //
  // NOT_FOUND: the frame is gone: another one is in its slot, its segment is no more, or it was of
  //   another machine, or before a restart of this one.
  // RESOURCE_EXHAUSTED: for now; there are too many segments, or too many readers of this one.
  // INVALID_ARGUMENT: there is a file of that name, and it is no segment that we read: it belongs
  // to
  //   somebody else than root and us, all may write to it, it is a link, or its size or geometry
  //   cannot be; or the segment has no such slot.
  absl::StatusOr<Pin> Get(const Handle& handle, TimePoint now);

  // Lets go of segments that nobody has pins in: those that were not used for a minute, and what a
  // killed producer left is taken away with them; those without a name after a second. To be called
  // each second.
  void Tidy(TimePoint now);

  std::size_t open() const;

 private:
  struct Entry {
    std::shared_ptr<Segment> segment;
    TimePoint used{};
  };

  absl::StatusOr<std::shared_ptr<Segment>> Find(const std::string& name, TimePoint now);

  const std::string folder_;
  const std::string boot_id_;
  mutable Mutex mutex_;
  std::map<std::string, Entry, std::less<>> open_ ABSL_GUARDED_BY(mutex_);
};

// Names the start of this machine's kernel.
std::string BootId();

}  // namespace inferpool::frames

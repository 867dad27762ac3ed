// How a process works on frames, as the model wants it. Pure: it is told what was seen, and the
// time.
//
//   sync   for a model on this machine: as many threads as this process has processors, each with
//          one frame. More would wait for each other.
//   async  for a server that batches: all threads, each with several frames in one call, and none
//          waits for another.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>

#include "shared/base/deadline.h"
#include "shared/config/config.h"
#include "worker/backend/catalog.h"

namespace inferpool::streams {

struct Width {
  std::size_t threads;  // that work at once
  std::size_t group;    // frames that a thread takes at most
  bool operator==(const Width&) const = default;
};

class Mode {
 public:
  // What streams.mode says; `auto` begins with sync.
  Mode(const Config& config, std::size_t threads, int processors);

  // With `auto`: a model has answered that batches elsewhere, or does not.
  void Saw(bool batches_elsewhere, TimePoint now);

  // What holds now. With `auto` it is async while a model that batches elsewhere has answered
  // within the last ten seconds.
  Width At(TimePoint now) const;

  // The threads that may ever be needed.
  std::size_t most_threads() const;

 private:
  const Width sync_;
  const Width async_;
  std::optional<bool> is_async_;  // nullopt: as was seen
  std::optional<TimePoint> saw_batching_;
};

// Whether the model takes several pictures in a call, on a server that is not the pool's own.
bool BatchesElsewhere(const backend::Model& model, const Config& config);

}  // namespace inferpool::streams

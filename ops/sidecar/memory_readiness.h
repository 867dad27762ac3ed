// Whether a model server takes the workers' shared memory, by what it says when it is asked. Pure.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "shared/base/deadline.h"
#include "shared/base/status.h"

namespace inferpool::ops {

class MemoryReadiness {
 public:
  // `target`: for messages.
  explicit MemoryReadiness(std::string target) : target_(std::move(target)) {}

  // The answer of a SharedMemoryProbe. A server that says no is told what to do about it. One that
  // may say otherwise another time takes none for now; but when it has taken memory within half a
  // minute it is believed to do so still: the workers go on with what they have told it of.
  void Record(const absl::Status& answer, TimePoint now);

  // The server was away, and may be another one when it is back.
  void Forget();

  // OK, or UNAVAILABLE with the reason; none: it is not known.
  const std::optional<absl::Status>& status() const { return status_; }

  // From when on it is to be asked (again).
  TimePoint ask() const { return ask_; }

 private:
  const std::string target_;
  std::optional<absl::Status> status_;
  TimePoint taken_{};  // when it last took some
  TimePoint ask_{};
};

}  // namespace inferpool::ops

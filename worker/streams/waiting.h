// The blocking read, which waits for frames of the cameras that have none. For the thread that
// talks to Redis.
//
// It is given frames without a script that checks the lease. They count as delivered; the script
// that takes them in checks it (taking.h), and one that comes to an owner whose lease has ended
// stays pending, for the next owner to claim.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "shared/config/config.h"
#include "worker/streams/frame.h"
#include "worker/streams/leases.h"
#include "worker/streams/links.h"
#include "worker/streams/schedule.h"

namespace inferpool::streams {

// What a blocking read was given, by camera. They are to be taken in at once.
using Received = std::map<std::string, Frame, std::less<>>;

class Waiting {
 public:
  Waiting(const Config::Streams& settings, const Leases& leases, Schedule& schedule);

  // Waits for all cameras that have no frame, unless it does. A read that waits for too few is
  // stopped, and what it was given at the last moment is returned: then nothing waits.
  absl::StatusOr<Received> Wait(Links& links, TimePoint now);
  // Stops the read, if there is one. Returns what it was given at the last moment.
  absl::StatusOr<Received> Stop(Links& links);
  // The read has an answer.
  absl::StatusOr<Received> Receive(Links& links);
  // The connection is gone, and the read with it.
  void Forget() { cameras_.reset(); }

  bool is_out() const { return cameras_.has_value(); }
  bool WaitsFor(std::string_view camera) const {
    return cameras_ && cameras_->find(camera) != cameras_->end();
  }

 private:
  using Ids = std::set<std::string, std::less<>>;

  // The cameras without a frame.
  Ids Idle(TimePoint now) const;

  const Config::Streams& settings_;
  const Leases& leases_;
  Schedule& schedule_;
  std::optional<Ids> cameras_;  // that the read which is out waits for
};

}  // namespace inferpool::streams

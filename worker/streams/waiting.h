// The blocking read, which waits for frames of the cameras that have none. For the thread that
// talks to Redis.
//
// It is given frames without a script that checks the lease. They count as delivered; the script
// that takes them in checks it (taking.h), and one that comes to an owner whose lease has ended
// stays pending, for the next owner to claim.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "worker/streams/entry.h"
#include "worker/streams/frame.h"
#include "worker/streams/in_work.h"
#include "worker/streams/leases.h"
#include "worker/streams/links.h"
#include "worker/streams/schedule.h"

namespace inferpool::streams {

// What a blocking read was given, by camera. They are to be taken in at once. Redis knows no bound
// for their bytes: one that there is no room for is not kept, has no id here, and is claimed later.
using Received = std::map<std::string, Frame, std::less<>>;

class Waiting {
 public:
  // The references must outlive it.
  Waiting(const FieldNames& fields, const Leases& leases, Schedule& schedule,
          const InWork& in_work);

  // Waits for all cameras that have no frame, unless it does, or rests after a read that was given
  // some: what comes at the same time shall be given together. A read that waits for too few is
  // stopped, but no sooner than pays, and what it was given at the last moment is returned: then
  // nothing waits.
  absl::StatusOr<Received> Wait(Links& links, TimePoint now);
  // Stops the read, if there is one. Returns what it was given at the last moment.
  absl::StatusOr<Received> Stop(Links& links);
  // The read has an answer.
  absl::StatusOr<Received> Receive(Links& links);
  // The connection is gone, and the read with it.
  void Forget() { is_out_ = false; }

  bool is_out() const { return is_out_; }
  bool WaitsFor(const Camera& camera) const { return is_out_ && camera.awaited_by == read_; }
  bool Rests(TimePoint now) const { return !is_out_ && now < rests_until_; }
  // When Wait has something to do if nothing happens; nullopt: never.
  std::optional<TimePoint> NextDue(TimePoint now) const;

 private:
  // The cameras without a frame.
  std::vector<Camera*> Idle(TimePoint now) const;

  const FieldNames& fields_;
  const Leases& leases_;
  Schedule& schedule_;
  const InWork& in_work_;
  bool is_out_ = false;
  std::uint64_t read_ = 0;  // the number of the latest
  TimePoint sent_at_{};
  TimePoint rests_until_{};
  bool waits_for_too_few_ = false;
};

}  // namespace inferpool::streams

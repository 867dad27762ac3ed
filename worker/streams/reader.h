// The thread of an ingest process that talks to Redis: it keeps the leases, takes frames, and
// publishes answers.
//
// It calls scripts on one connection, as many as there are in one trip. On a second it waits for
// frames of the cameras that have none, and on a third for what other processes say of their
// comings and goings. So nothing polls: it sleeps until a frame comes, an answer is ready, another
// process says something, or a lease is due. Its parts:
//
//   links.h      the connections             trip.h       a round trip of scripts
//   ownership.h  heartbeat and leases        cameras.h    which cameras there are
//   schedule.h   whose turn it is            waiting.h    the blocking read
//   taking.h     frames in                   in_work.h    how many there may be
//   answers.h    answers out, retries        counts.h     what the scoreboard is told
#pragma once

#include <atomic>
#include <optional>

#include "shared/base/deadline.h"
#include "shared/base/pauses.h"
#include "shared/base/status.h"
#include "worker/streams/answers.h"
#include "worker/streams/cameras.h"
#include "worker/streams/entry.h"
#include "worker/streams/frame_queue.h"
#include "worker/streams/in_work.h"
#include "worker/streams/ingest.h"
#include "worker/streams/links.h"
#include "worker/streams/looks.h"
#include "worker/streams/mode.h"
#include "worker/streams/ownership.h"
#include "worker/streams/schedule.h"
#include "worker/streams/taking.h"
#include "worker/streams/waiting.h"

namespace inferpool::streams {

class Reader {
 public:
  // `mode.most_threads()` threads take frames out of `queue`.
  Reader(const IngestContext& context, FrameQueue& queue, Mode mode);

  // Works until Stop was called and everything in work is done.
  void Run();
  void Stop();

 private:
  absl::Status Connect();
  void Disconnect(const absl::Status& why);
  void PauseUntilNextTry();

  // All that is due now, in one round.
  absl::Status Turn();
  absl::Status LookForCameras(TimePoint now);
  absl::Status Beat(TimePoint now);
  absl::Status KeepLeases(TimePoint now);
  absl::Status Wait(TimePoint now);
  absl::Status StopWaiting(TimePoint now);
  absl::Status Leave();
  // Until something happens, or is due.
  void Sleep();

  const IngestContext& context_;
  const Config::Streams& settings_;
  FrameQueue& queue_;
  std::atomic<bool> stopping_ = false;

  std::optional<Links> redis_;
  Pauses pauses_;
  bool away_was_logged_ = false;
  bool left_ = false;

  Mode mode_;
  const FieldNames fields_;
  Schedule schedule_;
  Looks looks_;
  Cameras cameras_;
  Ownership ownership_;
  InWork in_work_;
  Answers answers_;
  Waiting waiting_;
  Taking taking_;
};

}  // namespace inferpool::streams

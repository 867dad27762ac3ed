// The thread of an ingest process that talks to Redis: it keeps the leases, takes frames, and
// publishes answers.
//
// It has three connections. On the first it calls scripts, as many as there are in one trip. On the
// second it waits for frames of the cameras that have none, in one blocking read, and on the third
// for what other processes say of their comings and goings. So nothing polls: it sleeps until a
// frame comes, an answer is ready, another process says something, or a lease is due.
//
// A blocking read is given frames without a script that checks the lease. They count as delivered;
// the script that takes them in checks it, and one that comes to an owner whose lease has ended
// stays pending, for the next owner to claim.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "shared/base/deadline.h"
#include "shared/base/pauses.h"
#include "shared/base/status.h"
#include "shared/board/stream_counts.h"
#include "shared/redis/redis.h"
#include "worker/streams/frame.h"
#include "worker/streams/frame_queue.h"
#include "worker/streams/ingest.h"
#include "worker/streams/leases.h"
#include "worker/streams/looks.h"
#include "worker/streams/schedule.h"

namespace inferpool::streams {

class Reader {
 public:
  // `threads`: that take frames out of `queue`.
  Reader(const IngestContext& context, FrameQueue& queue, std::size_t threads);

  // Works until Stop was called and everything in work is done.
  void Run();
  void Stop();

 private:
  struct Connections {
    Redis work;
    Redis waits;
    Redis hears;
    std::string waits_id;  // its name for CLIENT UNBLOCK
  };
  // A trip's calls, and the texts that they view.
  class Trip;
  // A frame that shall be tried again.
  struct Retry {
    TimePoint at;
    Frame frame;
  };

  absl::Status Connect();
  void Disconnect(const absl::Status& why);
  void PauseUntilNextTry();

  // All that is due now, in one round.
  absl::Status Turn();
  absl::Status Beat(TimePoint now);
  absl::Status LookForCameras(TimePoint now);
  absl::Status SeeWhoLooks(TimePoint now);
  absl::Status StoreSnapshots();
  absl::Status KeepLeases(TimePoint now);
  absl::Status Settle();
  absl::Status LookAndTake(TimePoint now);
  absl::Status Look(TimePoint now);
  absl::Status Take(const std::vector<Camera*>& cameras, TimePoint now);
  absl::Status ReadLedgers();
  // The cameras that the blocking read shall wait for: those without a frame.
  std::set<std::string> Idle(TimePoint now);
  absl::Status Wait(TimePoint now);
  absl::Status StopWaiting();
  // The blocking read has an answer.
  absl::Status Receive();
  absl::Status Hear();
  absl::Status Leave();
  void Sleep();

  void SetCameras();
  CameraOptions OptionsOf(const std::string& id) const;
  void Lose(int shard, TimePoint now);
  void Collect();
  void Retried(TimePoint now);
  bool SettlingIsDue(TimePoint now) const;
  bool HasRoom() const;
  void Begin(Camera& camera, Frame frame);
  void End(const Frame& frame, std::size_t bytes);
  Frame FrameOf(const Camera& camera, Reply id, Reply fields, bool claimed) const;
  int CrashesOf(const Frame& frame) const;
  void CountAnswer(const Outcome& outcome);
  std::string_view FieldName(std::string_view field) const;
  StreamShard& Counts(int shard) const;

  const IngestContext& context_;
  const Config::Streams& config_;
  FrameQueue& queue_;
  const std::size_t threads_;
  const std::string name_;  // among the consumers
  std::atomic<bool> stopping_ = false;

  std::optional<Connections> redis_;
  Pauses pauses_;
  bool away_was_logged_ = false;
  bool left_ = false;

  Leases leases_;
  Schedule schedule_;
  Looks looks_;
  std::set<std::string> camera_set_;  // as it was looked at last
  std::size_t processes_ = 1;
  TimePoint next_beat_{};
  TimePoint next_cameras_{};
  bool wakes_others_ = false;

  // The blocking read that is out: the cameras that it waits for.
  std::optional<std::set<std::string>> waits_for_;
  std::map<std::string, Frame> received_;  // by camera: what a blocking read got

  std::size_t in_work_ = 0;
  std::size_t bytes_in_work_ = 0;
  double frame_us_ = 20'000;  // of a thread, by those seen
  std::vector<Outcome> outcomes_;
  std::optional<TimePoint> first_outcome_;
  TimePoint settle_after_{};
  std::vector<Retry> retries_;
};

}  // namespace inferpool::streams

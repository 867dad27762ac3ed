// From the outbox into the cameras' streams in Redis.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "ops/feeder/entry_ids.h"
#include "ops/feeder/frame_ring.h"
#include "ops/feeder/outbox.h"
#include "ops/feeder/progress.h"
#include "ops/feeder/settings.h"
#include "shared/base/pauses.h"
#include "shared/redis/redis.h"

namespace inferpool::feeder {

// For one thread. Each camera gets the pictures of its source in their order, and each once: one
// whose fate is unknown because the connection broke is sent again under the same id, which Redis
// refuses if it has it. Pictures for shared memory are written there first, once for all cameras of
// their source.
class Publisher {
 public:
  // All but `settings` must live as long as the publisher.
  Publisher(const Settings& settings, const std::vector<Source>& sources, Outbox& outbox,
            Counters& counters);

  // Until the outbox is finished and empty, and, for ten seconds at most, until pictures in shared
  // memory have been answered; after `stop` for two more seconds at most. While Redis
  // is away it tries to connect, with growing pauses. PERMISSION_DENIED: Redis never let us in.
  // INVALID_ARGUMENT: its address is none.
  absl::Status Run(const std::stop_token& stop);

 private:
  struct CameraState {
    std::size_t source = 0;
    std::string id;
    std::string key;
    EntryIds ids = {};
    std::int64_t length = 0;  // of the stream, when it was last heard of; of sources that wait
    bool refused = false;     // the latest picture was
  };
  struct Entry {
    std::size_t camera = 0;
    Picture picture;
    std::string handle;  // of a picture in shared memory
    std::string id;
    std::string seq;
    std::string time;
    bool tried = false;  // it was sent, and no answer came
    bool done = false;
  };
  struct SourceState {
    std::size_t first = 0;  // of its cameras
    std::size_t cameras = 0;
    int wait = 0;
    std::optional<FrameRing> ring = {};  // of pictures in shared memory
    bool full = false;                   // the latest picture found no room there
  };

  absl::Status Connect();
  absl::Status Join();
  absl::Status Work();
  void Enqueue(std::vector<Parcel> parcels);
  absl::Status SendEntries();
  absl::Status Send(std::size_t begin, std::size_t end);
  // True when nothing can be stored now, so that it has to be tried again.
  bool Settle(Entry& entry, const absl::Status& said);
  absl::Status FollowStream(Entry& entry);
  absl::Status ReadLengths(bool all);
  void UpdateHeld();
  // Where the picture lies in shared memory; nullopt: it is dropped.
  std::optional<std::string> PutInMemory(SourceState& source, const Picture& picture);
  // How many entries the streams still have whose pictures are in our memory; none while Redis is
  // away.
  std::int64_t LeftInMemory();
  void Leave();
  void ReportAway(const absl::Status& status);

  const streams::RedisAddress address_;
  const std::string camera_set_;
  const bool remove_;
  const std::string most_frames_;
  const std::string epoch_;
  Outbox& outbox_;
  Counters& counters_;
  std::vector<CameraState> cameras_;
  std::vector<SourceState> sources_;
  std::optional<streams::Redis> redis_;
  bool was_connected_ = false;
  bool is_away_ = false;
  Pauses pauses_;
  std::vector<Entry> entries_;  // taken from the outbox, at most one a camera
  std::vector<bool> held_;      // sources whose streams are too long
  bool any_held_ = false;
  bool any_waits_ = false;
  std::chrono::milliseconds held_pause_{0};  // between looks at streams that are too long
};

}  // namespace inferpool::feeder

// What requests ask Redis. Thread safe: one connection serves one question at a time.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ops/live/event_stream.h"
#include "shared/base/deadline.h"
#include "shared/base/mutex.h"
#include "shared/base/status.h"
#include "shared/redis/redis.h"

namespace inferpool::live {

// What became of a camera's frames, as its shard's ledger has it.
inline constexpr std::array<std::string_view, 8> kLedgerFields = {
    "produced", "published", "superseded", "stale", "trimmed", "overwritten", "failed", "pending"};
using Ledger = std::array<std::int64_t, kLedgerFields.size()>;

// A camera in Redis. What it has not is nullopt.
struct Counts {
  std::optional<Ledger> ledger;
  std::optional<std::int64_t> waiting;  // frames in its stream
};

// An error of any question: UNAVAILABLE while Redis is away, or what Redis says against it. Once it
// was found away, questions fail at once for half a second.
class Questions {
 public:
  Questions(streams::RedisAddress address, int shards, std::string camera_set)
      : address_(std::move(address)), shards_(shards), camera_set_(std::move(camera_set)) {}

  // The members of the set of cameras, of which at most `most`.
  absl::StatusOr<std::vector<std::string>> Members(std::size_t most);
  absl::StatusOr<bool> IsMember(std::string_view camera);

  // Of each of the cameras.
  absl::StatusOr<std::vector<Counts>> CountsOf(std::span<const std::string> cameras);

  // Says that somebody looks at the camera, which makes its owner keep a snapshot for ten seconds;
  // and the snapshot's bytes. Empty: there is none (yet).
  absl::StatusOr<std::string> Snapshot(std::string_view camera);

  // The camera's answers after `after`: what one look at its shard's stream finds.
  absl::StatusOr<HistoryPage> History(std::string_view camera, EntryId after);

 private:
  absl::StatusOr<std::vector<streams::OwnedReply>> Ask(
      std::span<const streams::Arguments> commands);

  const streams::RedisAddress address_;
  const int shards_;
  const std::string camera_set_;
  Mutex mutex_;
  std::optional<streams::Redis> redis_ ABSL_GUARDED_BY(mutex_);
  TimePoint away_until_ ABSL_GUARDED_BY(mutex_);
};

// An entry of a stream of results; nullopt when it is none of ours.
std::optional<Answer> AnswerOf(const streams::Reply& entry);

}  // namespace inferpool::live
